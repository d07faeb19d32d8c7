# SPDX-License-Identifier: Apache-2.0
"""What no client sends: broken frames, broken calls, broken messages. raftd refuses each with a word, and serves everybody else.

Run it against a build with sanitizers: their findings end the process, and so the test.
"""

import contextlib
import random
import struct

import h2c
import pytest
from conftest import raftd_or_skip
from h2c import field, grpc_frame, varint
from h2raw import (
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FRAME_SIZE_ERROR, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY,
    PRIORITY_FLAG, PROTOCOL_ERROR, PUSH_PROMISE, REFUSED_STREAM, RST_STREAM, SETTINGS, WINDOW_UPDATE, RawConnection, frame, header_block, request_headers,
)

KV, WATCH = "/etcdserverpb.KV/", "/etcdserverpb.Watch/Watch"
SERVED = [
    KV + "Range", KV + "RangeStream", KV + "Put", KV + "DeleteRange", KV + "Txn", WATCH, "/etcdserverpb.Cluster/MemberList",
    "/etcdserverpb.Maintenance/Status", "/etcdserverpb.Maintenance/Alarm", "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch",
]  # fmt: skip
LATER = {
    "etcdserverpb.KV": ["Compact"],
    "etcdserverpb.Lease": ["LeaseGrant", "LeaseRevoke", "LeaseKeepAlive", "LeaseTimeToLive", "LeaseLeases"],
    "etcdserverpb.Maintenance": ["Defragment", "Snapshot", "Downgrade"],
    "etcdserverpb.Auth": [
        "AuthEnable", "AuthDisable", "AuthStatus", "Authenticate", "UserAdd", "UserGet", "UserList", "UserDelete", "UserChangePassword",
        "UserGrantRole", "UserRevokeRole", "RoleAdd", "RoleGet", "RoleList", "RoleDelete", "RoleGrantPermission", "RoleRevokePermission",
    ],  # fmt: skip
    "v3lockpb.Lock": ["Lock", "Unlock"],
    "v3electionpb.Election": ["Campaign", "Proclaim", "Leader", "Observe", "Resign"],
}
OK, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, OUT_OF_RANGE, UNIMPLEMENTED, INTERNAL, RESOURCE_EXHAUSTED = 0, 2, 3, 4, 11, 12, 13, 8
MESSAGE_BYTES_MAX = 1572864 + 524288
RANGE_OF_K = field(1, "k")


@pytest.fixture(scope="module")
def server(start_node):
    return start_node(raftd_or_skip(), "malformed")


@pytest.fixture
def node(server):
    """raftd, before and after the test the same process, and answering."""
    if not server.is_running():
        server.start()
    yield server
    assert server.is_running(), f"it ended{server.log_tail(60)}"
    assert server.is_ready(), f"it does not answer{server.log_tail()}"


@pytest.fixture
def connection(node):
    with RawConnection(node.client_port) as raw:
        yield raw


# ---- bytes ----


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 64,
        b"\xff" * 1000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),  # the hello of TLS
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        PREFACE[:-1] + b"!",
        PREFACE + b"GET / HTTP/1.1\r\n\r\n",
        PREFACE + frame(PING, 0, 0, b"12345678"),  # no settings first
        PREFACE + frame(SETTINGS, 0, 0, b"", length=0xFFFFFF),
        PREFACE + frame(SETTINGS, 0, 0, b"12345"),
        PREFACE + frame(SETTINGS, ACK, 0, b"123456"),
        PREFACE + frame(SETTINGS, 0, 1),
        PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0xFFFFFFFF)),  # a window beyond 2^31 - 1
        PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 1)),  # frames of one byte
    ],
    ids=repr,
)
def test_a_connection_that_begins_wrong_is_closed(node, data):
    with RawConnection(node.client_port, hello=False) as raw:
        raw.send(data)
        raw.read_until(lambda: raw.goaway)
        raw.sock.close() if raw.goaway and raw.goaway[0] else raw.read_until_closed()
        assert raw.closed or raw.goaway[0] in (PROTOCOL_ERROR, FRAME_SIZE_ERROR, 3)


def test_a_browser_is_told_what_this_port_speaks(node):
    with RawConnection(node.client_port, hello=False) as raw:
        raw.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while chunk := raw.sock.recv(4096):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 505 ") and b"gRPC" in answer


@pytest.mark.parametrize(
    "data",
    [
        frame(DATA, 0, 0, b"x"),
        frame(DATA, 0, 7, b"x"),  # of a stream that nobody opened
        frame(DATA, PADDED, 1, b"\xff12"),
        frame(HEADERS, END_HEADERS, 0, header_block(request_headers(KV + "Range"))),
        frame(HEADERS, END_HEADERS, 2, header_block(request_headers(KV + "Range"))),
        frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff" + header_block(request_headers(KV + "Range"))),
        frame(HEADERS, END_HEADERS | PRIORITY_FLAG, 1, b"\0\0"),
        frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),  # an index beyond all tables
        frame(HEADERS, END_HEADERS, 1, b"\x3f\xff\xff\xff\x7f"),  # a table of 256 MB
        frame(HEADERS, END_HEADERS, 1, b"\0\x7f\xff\xff\xff\xff\x0f"),  # a name of 4 GB
        frame(HEADERS, 0, 1, b"") + frame(PING, 0, 0, b"12345678"),  # no continuation
        frame(CONTINUATION, END_HEADERS, 1, b""),
        frame(HEADERS, 0, 1, b"") + frame(CONTINUATION, 0, 1, b"") * 20,
        frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2"),
        frame(PING, 0, 0, b"1"),
        frame(PING, 0, 1, b"12345678"),
        frame(RST_STREAM, 0, 0, b"\0\0\0\0"),
        frame(RST_STREAM, 0, 9, b"\0\0\0\0"),
        frame(RST_STREAM, 0, 1, b"\0"),
        frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0"),
        frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"),
        frame(WINDOW_UPDATE, 0, 9, b"\0\0\0\1"),
        frame(WINDOW_UPDATE, 0, 0, b"\0"),
        frame(GOAWAY, 0, 0, b"\0"),
    ],
    ids=lambda data: repr(data[:40]),
)
def test_a_broken_frame_ends_its_connection(connection, data):
    assert connection.ping()
    connection.send(data)
    connection.read_until(lambda: connection.goaway)
    assert connection.closed or connection.goaway[0] != 0


@pytest.mark.parametrize(
    "data",
    [
        frame(77, 255, 0, b"of no known kind" * 100),
        frame(77, 255, 99),
        frame(PRIORITY, 0, 5, struct.pack(">IB", 3, 255)),
        frame(SETTINGS, 0, 0, struct.pack(">HI", 0x7777, 1)),
        frame(PRIORITY, 0, 0, b"\0\0\0\0\0"),  # priorities are a thing of the past
    ],
    ids=lambda data: repr(data[:40]),
)
def test_what_http2_allows_is_no_offence(connection, data):
    connection.send(data)
    assert connection.ping()
    assert connection.call(KV + "Range", RANGE_OF_K).code in (OK, None)


@pytest.mark.parametrize(
    "data",
    [
        frame(PING, 0, 0, b"12345678"),
        frame(SETTINGS),
        frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\0"),
        frame(DATA, 0, 1, b""),
        frame(HEADERS, END_HEADERS, 1, header_block([("trailer", "again")])),
    ],
    ids=["pings", "settings", "window updates", "empty data", "trailers"],
)
def test_a_flood_of_little_things_ends_in_goaway(connection, data):
    connection.open(WATCH, grpc_frame(b""), end=False)
    assert connection.ping()
    connection.send(data * 20000)
    connection.read_until(lambda: connection.goaway)
    assert connection.closed or connection.goaway[0] != 0


def test_a_flood_of_resets_ends_in_goaway(connection):
    assert connection.ping()
    for _ in range(5000):
        stream = connection.next_stream()
        connection.send(
            frame(HEADERS, END_HEADERS, stream, header_block(request_headers(KV + "Range"))) + frame(RST_STREAM, 0, stream, struct.pack(">I", 8))
        )
    connection.read_until(lambda: connection.goaway)
    assert connection.closed or connection.goaway[0] in (ENHANCE_YOUR_CALM, PROTOCOL_ERROR, 2)


def test_more_streams_than_allowed_are_refused_and_the_others_live(connection):
    """By a client that has not heard of the limit yet."""
    streams = [connection.open(WATCH, grpc_frame(b""), end=False) for _ in range(1024 + 50)]
    assert connection.answer(streams[-1]).reset == REFUSED_STREAM
    assert not connection.goaway and not connection.answers.get(streams[0])
    connection.send(frame(RST_STREAM, 0, streams[0], struct.pack(">I", 8)))
    assert connection.call(KV + "Range", RANGE_OF_K).code == OK


def test_more_streams_than_agreed_end_the_connection(connection):
    assert connection.ping()
    for _ in range(1024 + 1):
        connection.open(WATCH, grpc_frame(b""), end=False)
    connection.read_until_closed()
    assert connection.goaway[0] == PROTOCOL_ERROR


def test_random_bytes_after_the_hello(node):
    dice = random.Random(20261124)
    for _ in range(150):
        with RawConnection(node.client_port) as raw:
            noise = dice.randbytes(dice.randrange(1, 400))
            if dice.random() < 0.7:  # frames whose heads are possible
                noise = b"".join(
                    frame(dice.randrange(10), dice.randrange(256), dice.choice((0, 1, 1, 3, 2)), dice.randbytes(dice.randrange(40)))
                    for _ in range(8)
                )
            raw.send(noise)


# ---- calls ----


@pytest.mark.parametrize("path", ["", "/", "//", "/etcdserverpb.KV", KV, KV + "range", KV + "Range/", KV + "Range\0", "*", "/" + "x" * 15000, "/\xff\xfe"])
def test_an_unknown_path_is_unimplemented(connection, path):
    assert connection.call(path, RANGE_OF_K).code == UNIMPLEMENTED
    assert connection.call(KV + "Range", RANGE_OF_K).code == OK


@pytest.mark.parametrize("service", LATER)
@pytest.mark.parametrize("body", [None, grpc_frame(b""), grpc_frame(b"\x08\x01"), grpc_frame(b"") * 3], ids=["no body", "empty", "one field", "three"])
def test_what_is_not_served_yet_is_unimplemented(connection, service, body):
    for method in LATER[service]:
        for end in (True, False):
            answer = connection.answer(connection.open(f"/{service}/{method}", body, end=end))
            assert answer.code == UNIMPLEMENTED, method
            assert answer.text == f"unknown method {method} for service {service}"
            assert not answer.body


@pytest.mark.parametrize(
    "changed, http",
    [
        ({"method": "GET"}, "405"),
        ({"method": None}, "405"),
        ({"content_type": "application/json"}, "415"),
        ({"content_type": "application/grpc-web"}, "415"),
        ({"content_type": "application/grpcx"}, "415"),
        ({"content_type": ""}, "415"),
        ({"content_type": None}, "415"),
    ],
)
def test_what_is_no_grpc_gets_an_answer_of_http(connection, changed, http):
    stream = connection.open("", grpc_frame(RANGE_OF_K), headers=request_headers(KV + "Range", **changed))
    assert connection.answer(stream).header(":status") == http
    assert connection.call(KV + "Range", RANGE_OF_K).code == OK


@pytest.mark.parametrize("changed", [{"content_type": "application/grpc+proto"}, {"content_type": "application/grpc;x=y"}, {"te": None}, {"scheme": "gopher"}])
def test_odd_headers_that_do_no_harm(connection, changed):
    assert connection.answer(connection.open("", grpc_frame(RANGE_OF_K), headers=request_headers(KV + "Range", **changed))).code == OK


@pytest.mark.parametrize(
    "name, value, code",
    [
        ("grpc-timeout", "0n", DEADLINE_EXCEEDED),
        ("grpc-timeout", "99999999H", OK),
        ("grpc-timeout", "999999999999999999999H", OK),  # no timeout at all
        ("grpc-timeout", "-1S", OK),
        ("grpc-timeout", "S", OK),
        ("grpc-timeout", "1x", OK),
        ("grpc-timeout", "", OK),
        ("client-api-version", b"3.7", OK),
        ("client-api-version", b"\xc3\x28", INVALID_ARGUMENT),
        ("client-api-version", b"\xf8\x88\x80\x80\x80", INVALID_ARGUMENT),
        ("client-api-version", b"\xed\xa0\x80", INVALID_ARGUMENT),  # half of a pair of surrogates
        ("client-api-version", b"\xc0\x80", INVALID_ARGUMENT),
        ("hasleader", "true", OK),
        ("hasleader", "\xff", OK),
        ("token", "x" * 5000, OK),
        ("authorization", "Bearer " + "y" * 5000, OK),
        ("grpc-encoding", "gzip", OK),
    ],
)
def test_metadata(connection, name, value, code):
    headers = request_headers(KV + "Range", extra=[(name, value)])
    assert connection.answer(connection.open("", grpc_frame(RANGE_OF_K), headers=headers)).code == code


def test_too_many_headers_reset_the_stream(connection):
    headers = request_headers(KV + "Range", extra=[("x" * 50, "y" * 50)] * 400)
    assert connection.answer(connection.open("", grpc_frame(RANGE_OF_K), headers=headers)).reset is not None
    assert connection.call(KV + "Range", RANGE_OF_K).code == OK


@pytest.mark.parametrize("path", [path for path in SERVED if not path.endswith("Watch")])
@pytest.mark.parametrize(
    "body, codes",
    [
        (None, (INTERNAL,)),
        (b"", (INTERNAL,)),
        (b"\0", (INTERNAL,)),
        (b"\0\0\0\0", (INTERNAL,)),
        (b"\0\0\0\0\5abc", (INTERNAL,)),
        (b"\0\xff\xff\xff\xff", (RESOURCE_EXHAUSTED,)),
        (b"\0\x7f\xff\xff\xff" + bytes(1000), (RESOURCE_EXHAUSTED,)),
        (struct.pack(">BI", 0, MESSAGE_BYTES_MAX + 1), (RESOURCE_EXHAUSTED,)),
        (struct.pack(">BI", 0, MESSAGE_BYTES_MAX), (INTERNAL,)),
        (b"\1\0\0\0\0", (UNIMPLEMENTED,)),
        (b"\1\0\0\0\4" + b"\x1f\x8b\x08\0", (UNIMPLEMENTED,)),
        (b"\xff\xff\xff\xff\xff", (UNIMPLEMENTED,)),
        (grpc_frame(b"") * 2, (INTERNAL,)),
        (grpc_frame(b"") + b"\0", (INTERNAL,)),
        (grpc_frame(b"\x0a\xff\xff\xff\xff\x0f"), (INTERNAL, OK)),  # a key of 4 GB; what has no fields passes over it
        (grpc_frame(b"\x0a\x05ab"), (INTERNAL,)),
        (grpc_frame(b"\x80" * 11), (INTERNAL,)),
        (grpc_frame(b"\x0b\x0b\x0b"), (INTERNAL,)),  # groups
        (grpc_frame(b"\0\0"), (INTERNAL,)),  # a field without a number
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_broken_message_is_an_error(connection, path, body, codes):
    answer = connection.answer(connection.open(path, body))
    assert answer.code in codes, answer
    assert not answer.body or answer.code == OK
    assert connection.call(KV + "Range", RANGE_OF_K).code == OK


@pytest.mark.parametrize(
    "body, code",
    [
        (b"\0\xff\xff\xff\xff", RESOURCE_EXHAUSTED),
        (b"\1\0\0\0\0", UNIMPLEMENTED),
        (grpc_frame(b"\x0a\x05ab"), INTERNAL),
        (grpc_frame(b"\x0b"), INTERNAL),
        (b"\0\0\0\0\5abc", INTERNAL),
        (b"\0", INTERNAL),
    ],
    ids=repr,
)
def test_a_broken_message_ends_a_watch(connection, body, code):
    """Also one that was going well."""
    assert connection.answer(connection.open(WATCH, body)).code == code
    stream = connection.open(WATCH, grpc_frame(field(1, field(1, "k"))), end=False)
    connection.read_until(lambda: stream in connection.answers and connection.answers[stream].body)
    connection.send(frame(DATA, END_STREAM, stream, body))
    assert connection.answer(stream).code == code


def test_a_call_in_pieces_of_one_byte(connection):
    stream = connection.open(KV + "Range", None, end=False)
    for byte in grpc_frame(RANGE_OF_K):
        connection.send(frame(DATA, 0, stream, bytes([byte])))
    connection.send(frame(DATA, END_STREAM, stream))
    assert connection.answer(stream).code == OK


# ---- messages ----

EXTREMES = [1, -1, 2**63 - 1, -(2**63), 2**31, -(2**31), 2**32, 0xFFFFFFFF, 10**6]


def number(field_number, value):
    """A varint field, of a negative number too."""
    return varint(field_number << 3) + varint(value & (2**64 - 1))


REQUESTS = {
    KV + "Range": (RANGE_OF_K, range(2, 14)),
    KV + "RangeStream": (RANGE_OF_K, range(2, 14)),
    KV + "Put": (field(1, "k"), range(3, 7)),
    KV + "DeleteRange": (field(1, "none"), range(3, 4)),
    "/etcdserverpb.Cluster/MemberList": (b"", range(1, 3)),
    "/etcdserverpb.Maintenance/Status": (b"", range(1, 3)),
    "/etcdserverpb.Maintenance/Alarm": (b"", range(1, 4)),
    "/grpc.health.v1.Health/Check": (b"", range(2, 4)),
}


@pytest.mark.parametrize("path", REQUESTS)
def test_extreme_numbers_in_every_field(connection, path):
    """Unknown enums, too. Whatever a field means, the answer is one, and errors have a code and a text of the table."""
    base, fields = REQUESTS[path]
    for field_number in [*fields, 1000, 1001, 1002, 536870911]:
        for value in EXTREMES:
            answer = connection.call(path, base + number(field_number, value))
            assert answer.code is not None and not answer.reset, (field_number, value)
            assert answer.code in (OK, INVALID_ARGUMENT, OUT_OF_RANGE, INTERNAL, 5, UNIMPLEMENTED), (field_number, value, answer)
            assert answer.code == OK or answer.text


@pytest.mark.parametrize("field_number", range(1, 10))
@pytest.mark.parametrize("inside", [b"", field(1, "k")])
def test_extreme_numbers_in_compares(connection, field_number, inside):
    for value in EXTREMES:
        compare = field(3, "k") + number(field_number, value) + inside
        answer = connection.call(KV + "Txn", field(1, compare) + field(2, field(1, RANGE_OF_K)))
        assert answer.code in (OK, INVALID_ARGUMENT, INTERNAL), (value, answer)


@pytest.mark.parametrize("field_number", range(1, 9))
def test_extreme_numbers_in_watches(connection, field_number):
    for value in EXTREMES:
        stream = connection.open(WATCH, grpc_frame(field(1, field(1, "k") + number(field_number, value))), end=False)
        connection.read_until(lambda: stream in connection.answers and (connection.answers[stream].body or connection.answers[stream].ended))
        answer = connection.answers[stream]
        assert answer.body or answer.code in (INTERNAL,), (value, answer)
        connection.send(frame(RST_STREAM, 0, stream, struct.pack(">I", 8)))


def test_extreme_watch_ids(connection):
    """Each is made, then canceled; then one that never was."""
    stream = connection.open(WATCH, grpc_frame(b""), end=False)
    for value in EXTREMES:
        create, cancel = field(1, field(1, "k") + number(7, value)), field(2, number(1, value))
        connection.send(frame(DATA, 0, stream, grpc_frame(create) + grpc_frame(cancel) + grpc_frame(cancel)))
    connection.read_until(lambda: stream in connection.answers and len(messages(connection.answers[stream].body)) >= 2 * len(EXTREMES))
    answers = [h2c.parse(message) for message in messages(connection.answers[stream].body)]
    ids = [answer[2][0] for answer in answers]
    assert ids == [value & (2**64 - 1) for value in EXTREMES for _ in range(2)]
    assert [3 in answer for answer in answers] == [True, False] * len(EXTREMES)
    assert not connection.answers[stream].ended


def messages(body):
    """The whole messages in the body of an answer."""
    found, at = [], 0
    while at + 5 <= len(body) and at + 5 + struct.unpack_from(">I", body, at + 1)[0] <= len(body):
        size = struct.unpack_from(">I", body, at + 1)[0]
        found.append(bytes(body[at + 5 : at + 5 + size]))
        at += 5 + size
    return found


def nested(depth):
    """A transaction in a transaction in..."""
    txn = field(2, varint(4 << 3 | 2) + b"\0")
    for _ in range(depth - 1):
        txn = field(2, field(4, txn))
    return txn


@pytest.mark.parametrize("depth", [1, 7, 8, 9, 20, 128, 1000, 10000, 20000])
def test_transactions_in_transactions(connection, depth):
    answer = connection.call(KV + "Txn", nested(depth))
    assert answer.code in ((OK,) if depth < 8 else (INVALID_ARGUMENT, INTERNAL)), answer


@pytest.mark.parametrize(
    "branch, op",
    [(1, b""), (1, field(3, "k")), (2, b""), (2, field(1, RANGE_OF_K)), (2, field(2, field(1, "k"))), (3, field(3, field(1, "k")))],
    ids=["empty compares", "compares", "empty operations", "ranges", "puts", "deletes in the other branch"],
)
def test_a_transaction_of_very_many_parts(connection, branch, op):
    part = varint(branch << 3 | 2) + varint(len(op)) + op
    answer = connection.call(KV + "Txn", part * (1_000_000 // len(part)))
    assert (answer.code, answer.text) == (INVALID_ARGUMENT, "etcdserver: too many operations in txn request")


def test_a_transaction_of_many_parts_inside_many(connection):
    inner = field(4, field(2, field(2, field(1, "k"))) * 60)
    answer = connection.call(KV + "Txn", field(2, inner) * 68)
    assert answer.code == INVALID_ARGUMENT


def mutations(dice, message, count):
    for _ in range(count):
        changed = bytearray(message)
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(len(changed) + 1)
            kind = dice.randrange(4)
            if kind == 0 and at < len(changed):
                changed[at] = dice.randrange(256)
            elif kind == 1:
                changed[at:at] = dice.randbytes(dice.randrange(1, 5))
            elif kind == 2:
                del changed[at : at + dice.randrange(1, 5)]
            else:
                changed[at:at] = changed[dice.randrange(len(changed) + 1) :][: dice.randrange(20)]
        yield bytes(changed)


SEEDS = {
    KV + "Range": field(1, "k") + field(2, "z") + field(3, 10) + field(4, 2) + field(5, 1) + field(6, 2) + field(10, 3) + field(1001, "/"),
    KV + "RangeStream": field(1, "k") + field(2, "z") + field(3, 10) + field(4, 2) + field(8, 1) + field(1000, 1),
    KV + "Put": field(1, "fuzz") + field(2, "value") + field(4, 1) + field(5, 1),
    KV + "DeleteRange": field(1, "fuzz") + field(2, "fuzz0") + field(3, 1),
    KV + "Txn": field(1, field(1, 1) + field(2, 3) + field(3, "k") + field(7, "v") + field(64, "z"))
    + field(2, field(4, field(2, field(2, field(1, "fuzz") + field(2, "v"))) + field(3, field(3, field(1, "fuzz")))))
    + field(3, field(1, field(1, "k") + field(2, "\0"))),
    "/etcdserverpb.Cluster/MemberList": field(1, 1),
    "/etcdserverpb.Maintenance/Alarm": field(1, 1) + field(2, 3) + field(3, 1),
    "/grpc.health.v1.Health/Check": field(1, "service"),
}


@pytest.mark.parametrize("path", SEEDS)
def test_mutated_messages(connection, path):
    """Many at once: they also meet each other."""
    dice = random.Random(path)
    streams = [connection.open(path, grpc_frame(message)) for message in mutations(dice, SEEDS[path], 300)]
    answers = [connection.answer(stream) for stream in streams]
    assert not connection.closed and all(answer.code is not None for answer in answers)


def test_mutated_watches(connection):
    seed = field(1, field(1, "fuzz") + field(2, "fuzz0") + field(3, 1) + field(4, 1) + field(5, 1) + field(6, 1) + field(7, 5) + field(8, 1))
    stream = connection.open(WATCH, b"", end=False)
    for place, message in enumerate(mutations(random.Random(WATCH), seed, 500)):
        if stream in connection.answers and connection.answers[stream].ended:
            stream = connection.open(WATCH, b"", end=False)
        connection.send(frame(DATA, 0, stream, grpc_frame(message)))
        if place % 20 == 0:
            assert connection.ping()


# ---- those who ask and do not read ----


def test_a_stream_whose_answers_are_not_taken_is_made_to_wait(connection, node):
    """RawConnection grants no windows. Each request of progress is answered with six times its bytes; what is unsent stays bounded."""
    stream = connection.open(WATCH, grpc_frame(field(1, field(1, "k"))), end=False)
    assert connection.ping()
    before = node.rss_bytes()
    requests = frame(DATA, 0, stream, grpc_frame(varint(3 << 3 | 2) + b"\0") * 2000)
    for _ in range(60):
        connection.send(requests * 20)
        assert connection.ping()
    assert node.rss_bytes() - before < 80 << 20
    # And when they are taken, all of them come.
    connection.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 30)) + frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 1 << 30)))
    connection.timeout = 60
    per_answer = len(messages(connection.answers[stream].body)[1]) + 5
    connection.read_until(lambda: len(connection.answers[stream].body) >= per_answer * 60 * 20 * 2000)
    assert not connection.closed and not connection.answers[stream].ended


def test_answers_of_a_round_of_reads_wait_for_each_other(connection, node):
    """400 linearizable reads of a megabyte on one connection that takes nothing: they are not all answered into memory."""
    connection.call(KV + "Put", field(1, "large") + field(2, "x" * 1_000_000))
    before = node.rss_bytes()
    streams = [connection.open(KV + "Range", grpc_frame(field(1, "large"))) for _ in range(400)]
    connection.read_until(lambda: sum(len(answer.body) for answer in connection.answers.values()) >= 60000)
    assert connection.ping()
    assert node.is_ready()  # a later read was answered: so these could have been
    assert node.rss_bytes() - before < 150 << 20
    grow = struct.pack(">I", 1 << 30)
    connection.send(frame(WINDOW_UPDATE, 0, 0, grow) + b"".join(frame(WINDOW_UPDATE, 0, stream, grow) for stream in streams))
    connection.timeout = 60
    for stream in streams:
        answer = connection.answer(stream)
        assert answer.code == OK and len(answer.body) > 1_000_000
        answer.body.clear()


def test_a_long_range_whose_client_goes(node):
    """One that takes many turns of the loop; it is taken back between two of them."""
    with RawConnection(node.client_port) as raw:
        raw.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 30)))
        for at in range(0, 6000, 120):
            puts = b"".join(field(2, field(2, field(1, f"long/{key:05}") + field(2, "x"))) for key in range(at, at + 120))
            assert raw.call(KV + "Txn", puts).code == OK
        for at in range(80):
            stream = raw.open(KV + ("Range", "RangeStream")[at % 2], grpc_frame(field(1, "long/") + field(2, "long0")))
            assert raw.ping()
            raw.send(frame(RST_STREAM, 0, stream, struct.pack(">I", 8)))
    with RawConnection(node.client_port) as raw:
        raw.open(KV + "Range", grpc_frame(field(1, "long/") + field(2, "long0")))


def test_who_says_nothing_is_shown_out_and_who_has_said_hello_may_stay(node):
    """After five seconds without the preface and settings of HTTP/2; an idle client is none of these."""
    with contextlib.ExitStack() as stack:
        idle = stack.enter_context(RawConnection(node.client_port))
        assert idle.ping()
        silent = [stack.enter_context(RawConnection(node.client_port, hello=False, timeout_seconds=30)) for _ in range(50)]
        for place, raw in enumerate(silent):
            raw.send(PREFACE[:place])
        for raw in silent:
            raw.read_until_closed()
            assert raw.closed
        assert idle.call(KV + "Range", RANGE_OF_K).code == OK
