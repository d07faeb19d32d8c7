# SPDX-License-Identifier: Apache-2.0
"""Clients that do one thing at a time: while they say that they have room, they do not read."""

import bulk
import h2c
import servers

KEYS = 10_000
VALUE = b"v" * 1000


def test_a_client_that_writes_before_it_reads_gets_a_large_answer(raftd, tmp_path):
    """Over a Unix socket there is little room for what is on its way, in either direction: nobody may wait for the other to read."""
    path = tmp_path / "client.sock"
    with servers.Node(raftd, tmp_path) as node:
        bulk.load(node, ((b"k/%08d" % i, VALUE) for i in range(KEYS)))
        node.stop()
        node.flags = ["--listen-client-urls", f"{node.client_url},unix://{path}"]
        node.start()
        with h2c.Channel(path, None, 60) as channel:
            answer = channel.call(servers.RANGE, h2c.field(1, b"k/") + h2c.field(2, b"k0"))
    assert h2c.parse(answer)[4] == [KEYS]
