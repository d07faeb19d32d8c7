# SPDX-License-Identifier: Apache-2.0
"""What etcdctl cannot ask: nested transactions, raw watch streams, concurrency, odd requests. compat-client (tests/compat/go) asks
etcd 3.7.1 and raftd, one section at a time, and prints transcripts that must be equal."""

import difflib
import subprocess

import pytest
from conftest import peer_or_skip, raftd_or_skip

SECTIONS = ["bigrange", "cluster", "concurrent", "grpc", "nested", "range", "txn", "watch", "watchbig", "watcherror"]
SECTION_SECONDS = 60


@pytest.fixture(scope="module")
def nodes(start_node):
    programs = peer_or_skip("etcd-3.7.1"), raftd_or_skip()
    return [start_node(program, "server") for program in programs]


def transcripts(client, nodes, section):
    running = [
        subprocess.Popen([client, node.client_url, section], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        for node in nodes
    ]
    try:
        return [process.communicate(timeout=SECTION_SECONDS)[0].splitlines() for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()


def test_every_section_is_here():
    listed = subprocess.run([peer_or_skip("compat-client"), "--list"], capture_output=True, text=True, check=True).stdout.split()
    assert listed == SECTIONS


@pytest.mark.parametrize("section", SECTIONS)
def test_section(nodes, section):
    client = peer_or_skip("compat-client")
    if not nodes[1].is_running():
        nodes[1].start()  # a section that ends it fails; the others are asked all the same
    expected, got = transcripts(client, nodes, section)
    assert expected and not [line for line in expected if "FAILED" in line], "the reference itself fails; see its transcript"
    if expected != got:
        lines = [line[:600] for line in difflib.unified_diff(expected, got, "etcd", "raftd", lineterm="", n=1)]
        again = f"compat-client {nodes[1].client_url} {section}"
        pytest.fail("\n".join([again, *lines[:120], f"({len(lines)} lines)"]), pytrace=False)
