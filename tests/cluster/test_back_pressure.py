# SPDX-License-Identifier: Apache-2.0
"""What waits is bounded, and what is beyond is refused in words; nothing grows instead."""

import contextlib
import struct

import h2c
import kv
import servers
from h2raw import RST_STREAM, RawConnection, frame

UNKNOWN = 2
TOO_MANY = "etcdserver: too many requests"
LIMIT = 256 << 20  # WAITING_READS_BYTES_MAX
KEY = b"k" * 1_000_000
FIT = LIMIT // (len(KEY) + 4)  # requests
PATIENT = ["--election-timeout=20000"]  # so long, twice, and 5 s more, a read waits for a leader


def test_reads_that_wait_for_a_quorum_are_bounded_in_bytes(raftd, tmp_path):
    """One member of three, alone: linearizable reads wait for a leader, each with its request."""
    node = servers.Cluster(raftd, 3, tmp_path, PATIENT)[0]
    request = h2c.grpc_frame(h2c.field(1, KEY))
    try:
        node.start(wait=False)
        while not can_connect(node):
            assert node.is_running(), node.log_tail()
        with contextlib.ExitStack() as stack:
            raws = [stack.enter_context(RawConnection(node.client_port, timeout_seconds=30)) for _ in range(FIT + 10)]
            streams = []
            for raw in raws:
                streams.append(raw.open(kv.RANGE, request))
                assert raw.ping()  # one after the other
            # Each of those beyond is refused at once, and none of the others.
            for raw, stream in list(zip(raws, streams))[FIT:]:
                answer = raw.answer(stream)
                assert (answer.code, answer.text) == (UNKNOWN, TOO_MANY)
            assert not any(answer.ended for raw in raws[:FIT] for answer in raw.answers.values())
            # Whoever leaves makes room.
            raws[0].send(frame(RST_STREAM, 0, streams[0], struct.pack(">I", 8)))
            assert raws[0].ping()
            again = raws[-1].open(kv.RANGE, request)
            assert raws[-1].ping()
            assert not raws[-1].answers[again].ended
    finally:
        node.close()


def can_connect(node):
    try:
        node.channel(1).close()
        return True
    except h2c.CallFailed:
        return False
