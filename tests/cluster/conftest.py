# SPDX-License-Identifier: Apache-2.0
"""Real raftd processes on this machine: single members, clusters, clusters whose network can be cut."""

import os
import pathlib
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))

import h2c  # noqa: E402
import network  # noqa: E402
import servers  # noqa: E402

# How often the tests that repeat themselves do: a handful always, more on demand (RAFTFS_ROUNDS=100).
ROUNDS_ASKED = int(os.environ.get("RAFTFS_ROUNDS", "0"))


def rounds(handful):
    return ROUNDS_ASKED or handful

REQUEST_SECONDS = 7  # a server gives up on a request after 5 s and two election timeouts


def refused_in_time(node, *calls):
    """All of (method, message) at once to a node without a quorum: each is answered, with an error. Returns how long that took."""
    begin, channels = time.monotonic(), []
    for path, message in calls:
        channels.append(node.channel(4 * REQUEST_SECONDS))
        channels[-1].send(path, message)
    for channel in channels:
        with channel, pytest.raises(h2c.CallFailed):
            try:
                channel.receive()
            except OSError as error:
                raise AssertionError("the server never answered") from error
    return time.monotonic() - begin


@pytest.fixture(scope="session")
def raftd():
    program = servers.find_raftd()
    if not program:
        pytest.skip("no raftd: set RAFTD, or build it first")
    return program


@pytest.fixture
def node(raftd, tmp_path):
    """One ready member."""
    with servers.Node(raftd, tmp_path) as node:
        yield node


@pytest.fixture
def cluster(raftd, tmp_path):
    """Three ready members."""
    with servers.Cluster(raftd, 3, tmp_path) as cluster:
        yield cluster


@pytest.fixture
def split_cluster(raftd, tmp_path):
    """Three ready members on hosts whose cables can be pulled."""
    reason = network.why_not()
    if reason:
        pytest.skip(reason)
    with network.Network(3) as net, servers.Cluster(raftd, 3, tmp_path, hosts=net.hosts) as cluster:
        yield cluster


@pytest.fixture
def network_of_five(raftd, tmp_path):
    """(five ready members, the network between them)"""
    reason = network.why_not_one_way()
    if reason:
        pytest.skip(reason)
    with network.Network(5) as net, servers.Cluster(raftd, 5, tmp_path, hosts=net.hosts) as cluster:
        yield cluster, net
