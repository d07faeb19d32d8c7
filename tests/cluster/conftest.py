# SPDX-License-Identifier: Apache-2.0
"""Real raftd processes on this machine: single members, clusters, clusters whose network can be cut."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))

import network  # noqa: E402
import servers  # noqa: E402

# How often the tests that repeat themselves do: a handful always, more on demand (RAFTFS_ROUNDS=100).
ROUNDS_ASKED = int(os.environ.get("RAFTFS_ROUNDS", "0"))


def rounds(handful):
    return ROUNDS_ASKED or handful


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
