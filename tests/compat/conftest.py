# SPDX-License-Identifier: Apache-2.0
"""The servers under comparison: a fresh raftd and the reference, etcd 3.7.1. What is missing is a skip with its reason.

Where Go is missing, and with it etcd 3.7.1, Debian's etcd-server (3.4) stands in for what both answer alike.
"""

import pathlib
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))

import servers  # noqa: E402

HOW = "tests/peers/build builds it"


def peer_or_skip(name):
    program = servers.find_peer(name)
    if not program:
        pytest.skip(f"{name} is not in {servers.peers_directory()}; {HOW}")
    return program


def reference_or_skip():
    """(program, version) of the etcd to compare with."""
    program = servers.find_peer("etcd-3.7.1")
    if program:
        return program, (3, 7)
    program = shutil.which("etcd")
    if program and "etcd Version: 3.4." in subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout:
        return program, (3, 4)
    pytest.skip(f"etcd-3.7.1 is not in {servers.peers_directory()} ({HOW}), and no etcd 3.4 is installed (Debian: etcd-server)")


def raftd_or_skip():
    program = servers.find_raftd()
    if not program:
        pytest.skip("no raftd: set RAFTD, or build it first")
    return program


@pytest.fixture(scope="module")
def start_node(tmp_path_factory):
    """start_node(program, name, **options of Node): a ready single member of its own directory, ended with the module."""
    nodes = []

    def start(program, name, **options):
        node = servers.Node(program, tmp_path_factory.mktemp(name), **options)
        nodes.append(node)
        node.start()
        return node

    yield start
    for node in nodes:
        node.close()
