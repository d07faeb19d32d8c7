# SPDX-License-Identifier: Apache-2.0
"""A blocking gRPC client for tests: one unary call at a time over cleartext HTTP/2, nothing but the standard library.

Channel.call() returns the bytes of the response message. Response headers are not decoded (that needs HPACK's tables): a call whose
response carries no message failed, and raises CallFailed. That is enough to ask a server whether it is ready, who leads, and to
load keys; tests of error texts use real clients.
"""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
ACK = END_STREAM = 1
END_HEADERS = 4
INITIAL_WINDOW = 4
WINDOW_BYTES = 65535
OUR_WINDOW_BYTES = 1 << 30
FRAME_BYTES_MAX = 16384


class CallFailed(Exception):
    """The server answered with an error, or not at all."""


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, value):
    """One protobuf field: bytes (or text) as length-delimited, int as varint; zero and empty are left out, as proto3 does."""
    if not value:
        return b""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def parse(message):
    """The fields of a protobuf message: {number: [int or bytes, ...]}."""
    fields, at = {}, 0

    def read_varint():
        nonlocal at
        number = shift = 0
        while True:
            byte = message[at]
            at += 1
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    while at < len(message):
        key = read_varint()
        kind = key & 7
        if kind == 0:
            value = read_varint()
        else:
            size = {1: 8, 5: 4}.get(kind) or read_varint()
            value = message[at : at + size]
            at += size
        fields.setdefault(key >> 3, []).append(value)
    return fields


def grpc_frame(message):
    return b"\0" + struct.pack(">I", len(message)) + message


def _literal(name, value):
    """A header as HPACK literal without indexing and without Huffman code; lengths here stay below 127."""
    assert len(name) < 127 and len(value) < 127
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


class Channel:
    """A connection to host:port; with port None, to the Unix socket at the path `host`. window_bytes: of answers under way."""

    def __init__(self, host, port, timeout_seconds=5, window_bytes=OUR_WINDOW_BYTES):
        if port is None:
            self._sock = socket.socket(socket.AF_UNIX)
            self._sock.settimeout(timeout_seconds)
            self._sock.connect(str(host))
            self._authority = "localhost"
        else:
            self._sock = socket.create_connection((host, port), timeout_seconds)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._authority = f"{host}:{port}"
        self._received = b""
        self.pongs = 0  # answers to pings of ours
        self._stream = -1
        self._response, self._ended = b"", True
        self._connection_window = WINDOW_BYTES
        self._stream_window = self._initial_window = WINDOW_BYTES
        settings = struct.pack(">HI", INITIAL_WINDOW, OUR_WINDOW_BYTES)
        self._sock.sendall(PREFACE + self._frame(SETTINGS, 0, 0, settings))
        if window_bytes > WINDOW_BYTES:
            grow = struct.pack(">I", window_bytes - WINDOW_BYTES)
            self._sock.sendall(self._frame(WINDOW_UPDATE, 0, 0, grow))

    def close(self):
        self._sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @staticmethod
    def _frame(kind, flags, stream, payload=b""):
        return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload

    def _receive(self, size):
        while len(self._received) < size:
            chunk = self._sock.recv(1 << 18)
            if not chunk:
                raise CallFailed("connection closed")
            self._received += chunk
        out, self._received = self._received[:size], self._received[size:]
        return out

    def _next_frame(self):
        """The next frame of the current stream; those of the connection are dealt with here."""
        while True:
            head = self._receive(9)
            payload = self._receive(int.from_bytes(head[:3], "big"))
            kind, flags, stream = head[3], head[4], struct.unpack(">I", head[5:])[0]
            if kind == SETTINGS and not flags & ACK:
                for at in range(0, len(payload), 6):
                    name, value = struct.unpack(">HI", payload[at : at + 6])
                    if name == INITIAL_WINDOW:
                        self._stream_window += value - self._initial_window
                        self._initial_window = value
                self._sock.sendall(self._frame(SETTINGS, ACK, 0))
            elif kind == PING and flags & ACK:
                self.pongs += 1
            elif kind == PING:
                self._sock.sendall(self._frame(PING, ACK, 0, payload))
            elif kind == WINDOW_UPDATE:
                grown = struct.unpack(">I", payload)[0]
                if stream == 0:
                    self._connection_window += grown
                elif stream == self._stream:
                    self._stream_window += grown
                return kind, flags, b""
            elif kind == GOAWAY:
                raise CallFailed("the server says goodbye")
            elif kind == DATA:
                if payload:
                    self._sock.sendall(self._frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", len(payload))))
                if stream == self._stream:
                    return kind, flags, payload
            elif stream == self._stream:
                return kind, flags, payload

    def call(self, path, message=b""):
        """The response message of one unary call, without its five-byte prefix."""
        try:
            return self._call(path, message)
        except OSError as error:
            raise CallFailed(f"{path}: {error}") from error

    def _call(self, path, message):
        self.send(path, message)
        return self.receive(path)

    def send(self, path, message=b""):
        """The request alone: receive() gets the answer, when the server gives one."""
        self._send(path, message, END_STREAM)

    def open(self, path, message):
        """The first message of a stream that stays open: message() gets what the server says to it."""
        self._send(path, message, 0)

    def _send(self, path, message, last_flag):
        self._stream += 2
        self._stream_window = self._initial_window
        self._response, self._ended = b"", False
        headers = b"".join(
            _literal(name, value)
            for name, value in (
                (":method", "POST"),
                (":scheme", "http"),
                (":path", path),
                (":authority", self._authority),
                ("content-type", "application/grpc"),
                ("te", "trailers"),
            )
        )
        body = grpc_frame(message)
        out = self._frame(HEADERS, END_HEADERS, self._stream, headers)
        while body and not self._ended:
            size = min(len(body), FRAME_BYTES_MAX, self._connection_window, self._stream_window)
            if size <= 0:
                self._sock.sendall(out)
                out = b""
                self._take_frame()
                continue
            part, body = body[:size], body[size:]
            self._connection_window -= size
            self._stream_window -= size
            out += self._frame(DATA, 0 if body else last_flag, self._stream, part)
        self._sock.sendall(out)

    def _take_frame(self):
        kind, flags, payload = self._next_frame()
        self._response += payload if kind == DATA else b""
        self._ended = kind == RST_STREAM or (kind in (DATA, HEADERS) and bool(flags & END_STREAM))

    def receive(self, path=""):
        """The response to what send() asked."""
        while not self._ended:
            self._take_frame()
        if len(self._response) < 5:
            raise CallFailed(f"{path}: answered without a message")
        return self._response[5:]

    def message(self):
        """The next message of a stream, parsed."""
        while len(self._response) < 5 or len(self._response) - 5 < int.from_bytes(self._response[1:5], "big"):
            if self._ended:
                raise CallFailed("the stream has ended")
            self._take_frame()
        end = 5 + int.from_bytes(self._response[1:5], "big")
        out, self._response = self._response[5:end], self._response[end:]
        return parse(out)
