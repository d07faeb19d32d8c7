# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 by hand, for tests that say what no client says: any frame, any order, any length, and all that comes back, decoded.

Only the compression of headers is left to a library: libnghttp2, which raftd cannot run without.
"""

import contextlib
import ctypes
import ctypes.util
import socket
import struct
import time

from h2c import ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE  # noqa: F401
from h2c import grpc_frame

PRIORITY, PUSH_PROMISE = 2, 5
PADDED, PRIORITY_FLAG = 8, 32
NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, REFUSED_STREAM, ENHANCE_YOUR_CALM = 0, 1, 3, 6, 7, 11
INFLATE_FINAL, INFLATE_EMIT = 1, 2

_nghttp2 = ctypes.CDLL(ctypes.util.find_library("nghttp2") or "libnghttp2.so.14")


class _Pair(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("value", ctypes.c_void_p),
        ("name_len", ctypes.c_size_t),
        ("value_len", ctypes.c_size_t),
        ("flags", ctypes.c_uint8),
    ]


_nghttp2.nghttp2_hd_inflate_hd2.restype = ctypes.c_ssize_t
_nghttp2.nghttp2_hd_inflate_hd2.argtypes = [
    ctypes.c_void_p, ctypes.POINTER(_Pair), ctypes.POINTER(ctypes.c_int), ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int
]
_nghttp2.nghttp2_hd_inflate_end_headers.argtypes = [ctypes.c_void_p]
_nghttp2.nghttp2_hd_inflate_del.argtypes = [ctypes.c_void_p]


class Inflater:
    def __init__(self):
        self._state = ctypes.c_void_p()
        assert _nghttp2.nghttp2_hd_inflate_new(ctypes.byref(self._state)) == 0

    def __del__(self):
        _nghttp2.nghttp2_hd_inflate_del(self._state)

    def headers(self, block):
        """[(name, value), ...] of a whole header block."""
        pairs, pair, flags = [], _Pair(), ctypes.c_int()
        while True:
            size = _nghttp2.nghttp2_hd_inflate_hd2(self._state, ctypes.byref(pair), ctypes.byref(flags), block, len(block), 1)
            assert size >= 0, "the header block is malformed"
            block = block[size:]
            if flags.value & INFLATE_EMIT:
                pairs.append((ctypes.string_at(pair.name, pair.name_len), ctypes.string_at(pair.value, pair.value_len)))
            if flags.value & INFLATE_FINAL:
                _nghttp2.nghttp2_hd_inflate_end_headers(self._state)
                return pairs


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """length: what the frame claims, if not the truth."""
    length = len(payload) if length is None else length
    return struct.pack(">I", length)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _integer(number, prefix_bits, first=0):
    limit = (1 << prefix_bits) - 1
    if number < limit:
        return bytes([first | number])
    out, number = bytearray([first | limit]), number - limit
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out) + bytes([number])


def header_block(pairs):
    """HPACK: literals without indexing, without Huffman code."""
    pairs = [[part if isinstance(part, bytes) else part.encode() for part in pair] for pair in pairs]
    return b"".join(b"\0" + _integer(len(name), 7) + name + _integer(len(value), 7) + value for name, value in pairs)


def request_headers(path, extra=(), **changed):
    """Those of a gRPC call; a changed one by its name without colon and with _ for -, None takes it out."""
    pairs = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "test", "te": "trailers", "content-type": "application/grpc"}
    for name, value in changed.items():
        name = name.replace("_", "-")
        pairs[name if name in pairs or f":{name}" not in pairs else f":{name}"] = value
    return [(name, value) for name, value in pairs.items() if value is not None] + list(extra)


class Answer:
    """What came for one stream: headers in blocks, the body, and how it ended."""

    def __init__(self):
        self.blocks, self.body, self.reset, self.ended = [], bytearray(), None, False

    def header(self, name):
        return next((value.decode() for block in self.blocks for key, value in block if key == name.encode()), None)

    @property
    def code(self):
        """grpc-status; None without one."""
        return int(self.header("grpc-status")) if self.header("grpc-status") else None

    @property
    def text(self):
        return self.header("grpc-message") or ""

    def __repr__(self):
        return f"<answer code={self.code} text={self.text!r} http={self.header(':status')} body={len(self.body)} reset={self.reset}>"


class RawConnection:
    """A connection that says hello, unless told not to, and then what it is told. Frames are collected by read_until()."""

    def __init__(self, port, hello=True, timeout_seconds=10, receive_buffer=None):
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout_seconds
        self.sock.settimeout(timeout_seconds)
        self.sock.connect(("127.0.0.1", port))
        self.answers, self.goaway, self.closed, self.acks = {}, None, False, 0
        self._received, self._inflater, self._block = b"", Inflater(), b""
        self._stream = -1
        if hello:
            self.send(PREFACE + frame(SETTINGS))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        # A server that has had enough may close meanwhile.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.sock.sendall(data)

    def next_stream(self):
        self._stream += 2
        return self._stream

    def _take(self, kind, flags, stream, payload):
        answer = self.answers.setdefault(stream, Answer()) if stream else None
        if kind == SETTINGS and not flags & ACK:
            self.send(frame(SETTINGS, ACK))
        elif kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, 0, payload))
        elif kind == PING:
            self.acks += 1
        elif kind == GOAWAY:
            self.goaway = struct.unpack(">I", payload[4:8])[0], payload[8:]
        elif kind == RST_STREAM:
            answer.reset = struct.unpack(">I", payload)[0]
            answer.ended = True
        elif kind == DATA:
            answer.body += payload
        elif kind in (HEADERS, CONTINUATION):
            self._block += payload
            if flags & END_HEADERS:
                answer.blocks.append(self._inflater.headers(self._block))
                self._block = b""
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            answer.ended = True

    def _one(self):
        while len(self._received) < 9 or len(self._received) < 9 + int.from_bytes(self._received[:3], "big"):
            try:
                chunk = self.sock.recv(1 << 18)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                self.closed = True
                return
            self._received += chunk
        size = 9 + int.from_bytes(self._received[:3], "big")
        head, payload, self._received = self._received[:9], self._received[9:size], self._received[size:]
        self._take(head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7FFFFFFF, payload)

    def read_until(self, is_done):
        """Frames, until is_done() or the connection closed; TimeoutError when neither comes."""
        deadline = time.monotonic() + self.timeout
        while not self.closed and not is_done():
            self.sock.settimeout(max(deadline - time.monotonic(), 0.001))
            self._one()

    def read_until_closed(self):
        self.read_until(lambda: False)

    def ping(self):
        """Everything before this was read by the server; True if it still talks."""
        want = self.acks + 1
        self.send(frame(PING, 0, 0, b"raftfs!?"))
        self.read_until(lambda: self.acks >= want)
        return self.acks >= want

    def open(self, path, body=b"", end=True, headers=None, stream=None):
        """Starts a call whose body is given as bytes, frames of gRPC included; at most 1 MiB of them, which is raftd's window."""
        if body and len(body) > 65535 and self._stream < 0:
            self.ping()  # settings are agreed on, and with them the window
        stream = stream or self.next_stream()
        block = header_block(request_headers(path) if headers is None else headers)
        ends = END_STREAM if end and body is None else 0
        self.send(self.header_frames(block, stream, ends))
        if body is not None:
            parts = [body[at : at + 16384] for at in range(0, len(body), 16384)] or [b""]
            for part in parts:
                self.send(frame(DATA, END_STREAM if end and part is parts[-1] else 0, stream, part))
        return stream

    @staticmethod
    def header_frames(block, stream, flags=0):
        parts = [block[at : at + 16384] for at in range(0, len(block), 16384)] or [b""]
        kinds = [HEADERS] + [CONTINUATION] * (len(parts) - 1)
        return b"".join(
            frame(kind, (flags if kind == HEADERS else 0) | (END_HEADERS if part is parts[-1] else 0), stream, part)
            for kind, part in zip(kinds, parts)
        )

    def answer(self, stream):
        self.read_until(lambda: stream in self.answers and self.answers[stream].ended)
        return self.answers.get(stream, Answer())

    def call(self, path, message=b""):
        return self.answer(self.open(path, grpc_frame(message)))
