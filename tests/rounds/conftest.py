# SPDX-License-Identifier: Apache-2.0
"""Rounds of faults against a real cluster and its mounts, recorded and judged by porcupine (rounds, built by tests/peers/build)."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))

import mounts  # noqa: E402
import network  # noqa: E402
import servers  # noqa: E402

ROUNDS_ASKED = int(os.environ.get("RAFTFS_ROUNDS", "0"))


@pytest.fixture(scope="session")
def program():
    """The Go program that records and judges."""
    found = servers.find_peer("rounds")
    if not found:
        pytest.skip(f"rounds is not in {servers.peers_directory()}; tests/peers/build builds it")
    return found


@pytest.fixture(scope="session")
def raftd():
    found = servers.find_raftd()
    if not found:
        pytest.skip("no raftd: set RAFTD, or build it first")
    return found


@pytest.fixture(scope="session")
def raftfs():
    found = mounts.find_raftfs()
    if not found:
        pytest.skip("no raftfs: set RAFTFS, or build it first")
    if mounts.why_not():
        pytest.skip(mounts.why_not())
    return found


@pytest.fixture(scope="session")
def cuttable():
    """The network can be cut one way."""
    if network.why_not_one_way():
        pytest.skip(network.why_not_one_way())
