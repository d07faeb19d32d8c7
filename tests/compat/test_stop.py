# SPDX-License-Identifier: Apache-2.0
"""Ends: a server that is asked to stop answers whom it has to answer, and a client that says goodbye gets what it asked for."""

import socket
import struct
import time

import pytest
from conftest import raftd_or_skip
from h2c import field, grpc_frame
from h2raw import GOAWAY, NO_ERROR, RawConnection, WINDOW_UPDATE, frame

import servers

KV, WATCH = "/etcdserverpb.KV/", "/etcdserverpb.Watch/Watch"
OK, UNAVAILABLE = 0, 14
VALUE = "x" * 60_000
KEYS = 200
RANGE = field(1, "large/") + field(2, "large0")
GROW = struct.pack(">I", 1 << 30)


@pytest.fixture(scope="module")
def node(start_node):
    """raftd with 12 MB below large/."""
    server = start_node(raftd_or_skip(), "stop")
    with RawConnection(server.client_port) as raw:
        for at in range(KEYS):
            assert raw.call(KV + "Put", field(1, f"large/{at:03}") + field(2, VALUE)).code == OK
    return server


@pytest.fixture
def running(node):
    if not node.is_running():
        node.start()
    return node


def ask_and_grant(raw, window=GROW):
    """A range of 12 MB under way; the client reads slowly."""
    stream = raw.open(KV + "Range", grpc_frame(RANGE))
    raw.send(frame(WINDOW_UPDATE, 0, 0, window) + frame(WINDOW_UPDATE, 0, stream, window))
    raw.read_until(lambda: stream in raw.answers and raw.answers[stream].body)
    return stream


def assert_whole(raw, stream):
    answer = raw.answer(stream)
    assert answer.code == OK, answer
    assert len(answer.body) > KEYS * len(VALUE)


def test_an_answer_under_way_is_finished_before_the_end(running):
    with RawConnection(running.client_port, receive_buffer=65536) as raw:
        stream = ask_and_grant(raw)
        running.process.terminate()
        assert_whole(raw, stream)
        raw.read_until_closed()
        assert raw.goaway[0] == NO_ERROR
    assert running.process.wait(servers.STOP_SECONDS) == 0


def test_watches_are_told_and_others_go_at_once(running):
    with RawConnection(running.client_port) as raw, RawConnection(running.client_port) as idle, RawConnection(running.client_port, hello=False) as mute:
        stream = raw.open(WATCH, grpc_frame(field(1, field(1, "k"))), end=False)
        raw.read_until(lambda: stream in raw.answers and raw.answers[stream].body)
        assert idle.ping()
        begun = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - begun < 0.9  # it did not wait for anybody: for those that do not end it would wait a second
        answer = raw.answer(stream)
        assert (answer.code, answer.text) == (UNAVAILABLE, "etcdserver: server stopped")
        for connection in (raw, idle, mute):
            connection.read_until_closed()


def test_who_does_not_take_an_answer_holds_nobody_up(running):
    with RawConnection(running.client_port) as raw:
        ask_and_grant(raw, struct.pack(">I", 1))
        assert running.stop() == 0


def test_a_client_that_says_goodbye_gets_what_it_asked_for(running):
    """All is in frames when the session ends, more than a socket takes at once."""
    with RawConnection(running.client_port, receive_buffer=4096) as raw:
        stream = ask_and_grant(raw)
        raw.send(frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)))
        time.sleep(0.2)
        assert_whole(raw, stream)
        raw.read_until_closed()


def test_clients_that_vanish_while_they_are_written_to(running):
    """With a reset, at different points of an answer that the socket does not take at once."""
    for at in range(20):
        with RawConnection(running.client_port, receive_buffer=4096) as raw:
            ask_and_grant(raw)
            time.sleep(0.002 * (at % 5))
            raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert running.is_ready()
