# SPDX-License-Identifier: Apache-2.0
"""Answers that take many turns of the server's loop to read and to send."""

import pytest

import h2c
import servers

TXN = "/etcdserverpb.KV/Txn"
KEYS = 20_000  # many slices of a range, some 20 MB with their values
OPS = 100
VALUE = b"v" * 1000


def key(number):
    return b"key/%08d" % number


@pytest.fixture(scope="module")
def loaded(raftd, tmp_path_factory):
    """A member with KEYS keys; tests may add others."""
    with servers.Node(raftd, tmp_path_factory.mktemp("loaded")) as node:
        load(node)
        yield node


def load(node):
    with h2c.Channel("127.0.0.1", node.client_port, 30) as channel:
        for first in range(0, KEYS, OPS):
            puts = (h2c.field(1, key(i)) + h2c.field(2, VALUE) for i in range(first, first + OPS))
            channel.call(TXN, b"".join(h2c.field(2, h2c.field(2, put)) for put in puts))


def keys_of(answer):
    return [h2c.parse(kv)[1][0] for kv in h2c.parse(answer).get(2, [])]


class Pinging(h2c.Channel):
    """Measures the round trip all the time, as gRPC's clients do: while data comes, a ping is always under way."""

    pings = 0

    def _next_frame(self):
        kind, flags, payload = super()._next_frame()
        if kind == h2c.DATA and self.pings == self.pongs:
            self._sock.sendall(self._frame(h2c.PING, 0, 0, b"12345678"))
            self.pings += 1
        return kind, flags, payload


@pytest.mark.parametrize("order", ["ascending", "descending"])
def test_a_long_range_is_one_revision_however_long_it_takes(loaded, order):
    with Pinging("127.0.0.1", loaded.client_port, 30, window_bytes=h2c.WINDOW_BYTES) as channel:
        request = h2c.field(1, b"key/") + h2c.field(2, b"key0") + h2c.field(5, 2 if order == "descending" else 0)
        answer = channel.call(servers.RANGE, request)
        assert channel.pings > 200, "the answer was too short to show anything"
    expected = [key(i) for i in range(KEYS)]
    assert keys_of(answer) == (expected if order == "ascending" else expected[::-1])
    assert h2c.parse(answer)[4] == [KEYS]


def parts_of(stream):
    """The RangeResponses of a RangeStream: gRPC messages, the first without its prefix, of one field each."""
    parts = []
    while stream:
        size = shift = 0
        at = 1
        while True:
            byte = stream[at]
            size |= (byte & 127) << shift
            shift += 7
            at += 1
            if byte < 128:
                break
        parts.append(stream[at : at + size])
        stream = stream[at + size + 5 :]
    return parts


@pytest.mark.parametrize("limit", [0, 5000])
def test_a_stream_of_ranges_has_all_keys_in_parts(loaded, limit):
    request = h2c.field(1, b"key/") + h2c.field(2, b"key0") + h2c.field(3, limit)
    # A small window: the server has to wait for its client time and again.
    with Pinging("127.0.0.1", loaded.client_port, 30, window_bytes=h2c.WINDOW_BYTES) as channel:
        parts = parts_of(channel.call("/etcdserverpb.KV/RangeStream", request))
    assert len(parts) > 3
    assert [k for part in parts for k in keys_of(part)] == [key(i) for i in range(limit or KEYS)]
    assert all(set(h2c.parse(part)) == {2} for part in parts[:-1]), "header, more and count are the last one's"
    last = h2c.parse(parts[-1])
    assert (last[4], last.get(3)) == ([KEYS], [1] if limit else None)
    assert h2c.parse(last[1][0])[3] == [1 + KEYS // OPS]


def test_long_ranges_share_the_server_and_forget_clients_that_leave(loaded):
    request = h2c.field(1, b"key/") + h2c.field(2, b"key0")
    channels = [h2c.Channel("127.0.0.1", loaded.client_port, 30) for _ in range(5)]
    for channel in channels[:3]:
        # Asked, and gone before the answer.
        channel._stream = 1
        headers = b"".join(
            h2c._literal(name, value)
            for name, value in (
                (":method", "POST"),
                (":scheme", "http"),
                (":path", servers.RANGE),
                (":authority", "test"),
                ("content-type", "application/grpc"),
                ("te", "trailers"),
            )
        )
        body = h2c.grpc_frame(request)
        channel._sock.sendall(
            channel._frame(h2c.HEADERS, h2c.END_HEADERS, 1, headers) + channel._frame(h2c.DATA, h2c.END_STREAM, 1, body)
        )
        channel.close()
    for channel in channels[3:]:
        assert len(keys_of(channel.call(servers.RANGE, request))) == KEYS
        channel.close()
    assert loaded.stop() == 0
