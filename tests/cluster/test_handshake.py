# SPDX-License-Identifier: Apache-2.0
"""What a member says to whoever dials its peer port; frames as raftd/peer/frame.h draws them."""

import os
import random
import socket
import struct
import time

import h2c
import kv
import pytest
import servers

GREETING, REFUSAL, MESSAGE, QUESTION, CLUSTER, DISMISSAL = 1, 2, 3, 5, 6, 7
MAGIC = 0x50544652
VERSION = 3
ANSWER_SECONDS = 10
MEMBERS_MAX = 30  # of a cluster; who knows none of them must hear all


def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC_TABLE = _crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def frame(payload):
    return struct.pack("<II", len(payload), crc32c(payload)) + payload


def greeting(cluster_id, sender, to, version=VERSION, magic=MAGIC, incarnation=1, urls=()):
    head = struct.pack("<IIIQQQQB", GREETING, magic, version, cluster_id, sender, to, incarnation, len(urls))
    return frame(head + b"".join(struct.pack("<H", len(url)) + url.encode() for url in urls))


def message(sender, to, kind, term=0, index=0, flags=0, entries=b"", count=0):
    head = struct.pack("<BBBBQQQQQQQQQI", MESSAGE, kind, flags, 0, sender, to, term, 0, index, 0, 0, 0, 0, count)
    return frame(head + entries)


class Dialler:
    def __init__(self, node):
        self.socket = socket.create_connection(("127.0.0.1", node.peer_port), ANSWER_SECONDS)

    def send(self, data):
        self.socket.sendall(data)

    def receive(self, size):
        data = b""
        while len(data) < size:
            chunk = self.socket.recv(size - len(data))
            if not chunk:
                return None
            data += chunk
        return data

    def answer(self):
        """The payload of the next frame; None when the connection ends."""
        head = self.receive(8)
        if head is None:
            return None
        length, crc = struct.unpack("<II", head)
        payload = self.receive(length)
        assert crc32c(payload) == crc
        return payload

    def wait_closed(self):
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


class Ids:
    def __init__(self, cluster):
        header = h2c.parse(h2c.parse(cluster[0].call(kv.STATUS))[1][0])
        self.cluster = header[1][0]
        self.members = [kv.Status(node.channel()).member_id for node in cluster]
        self.urls = [node.peer_url for node in cluster]
        # 8 magic, 4 format, 4 checksum, 8 cluster, 8 member, 8 incarnation
        self.incarnations = [struct.unpack_from("<Q", (node.data_dir / "member/identity").read_bytes(), 32)[0] for node in cluster]

    def greeting(self, sender, to, **others):
        return greeting(self.cluster, self.members[sender], self.members[to], **{"incarnation": self.incarnations[sender], **others})


@pytest.fixture
def ids(cluster):
    return Ids(cluster)


def test_the_right_greeting_is_answered(cluster, ids):
    with Dialler(cluster[0]) as dialler:
        dialler.send(ids.greeting(1, 0))
        assert dialler.answer() == ids.greeting(0, 1, urls=[ids.urls[0]])[8:]


@pytest.mark.parametrize(
    "words, change",
    [
        (b"another version", lambda ids: greeting(ids.cluster, ids.members[1], ids.members[0], version=VERSION + 1)),
        (b"another cluster", lambda ids: greeting(ids.cluster ^ 1, ids.members[1], ids.members[0])),
        (b"another member", lambda ids: greeting(ids.cluster, ids.members[1], ids.members[2])),
        (b"claim to be me", lambda ids: greeting(ids.cluster, ids.members[0], ids.members[0])),
    ],
    ids=["version", "cluster", "to", "from"],
)
def test_a_wrong_greeting_is_refused_with_words(cluster, ids, words, change):
    with Dialler(cluster[0]) as dialler:
        dialler.send(change(ids))
        answer = dialler.answer()
        assert answer[0] == REFUSAL and words in answer, answer
        dialler.wait_closed()
    assert words.decode() in cluster[0].log_path.read_text()


def test_a_crowd_that_greets_at_once_is_no_larger(cluster, ids):
    """They are judged when they greet, and again when it is written down that they were met: all of them in one go."""
    diallers = [Dialler(cluster[0]) for _ in range(60)]
    try:
        for i, dialler in enumerate(diallers):
            dialler.send(greeting(ids.cluster, 5000 + i, ids.members[0], urls=["http://127.0.0.1:1"]))
        answers = [dialler.answer() for dialler in diallers]
        kinds = [answer[0] for answer in answers if answer]
        assert kinds.count(GREETING) == MEMBERS_MAX and kinds.count(REFUSAL) >= 20, kinds
    finally:
        for dialler in diallers:
            dialler.socket.close()
    assert cluster[0].is_running()
    cluster.wait_ready()


def test_another_data_directory_is_dismissed(cluster, ids):
    """Whoever comes under a known id with another incarnation has forgotten what it promised."""
    with Dialler(cluster[0]) as dialler:
        dialler.send(ids.greeting(1, 0, incarnation=ids.incarnations[1] ^ 2))
        answer = dialler.answer()
        assert answer[:2] == bytes([DISMISSAL, 2]) and b"another data directory" in answer, answer
        dialler.wait_closed()
    cluster.wait_ready()


def test_strangers_are_heard_but_not_in_crowds(cluster, ids):
    """Our own table may be the older one: whoever is of this cluster may be a member already."""
    diallers = [Dialler(cluster[0]) for _ in range(MEMBERS_MAX + 4)]
    try:
        answers = []
        for i, dialler in enumerate(diallers):
            dialler.send(greeting(ids.cluster, 4711 + i, ids.members[0], urls=["http://127.0.0.1:1"]))
            answers.append(dialler.answer())
        assert [answer[0] for answer in answers] == [GREETING] * MEMBERS_MAX + [REFUSAL] * 4
        assert b"too many members that are not known" in answers[-1]
    finally:
        for dialler in diallers:
            dialler.socket.close()
    cluster.wait_ready()
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:  # their places are free again
        with Dialler(cluster[0]) as dialler:
            dialler.send(greeting(ids.cluster, 4800, ids.members[0]))
            if dialler.answer()[0] == GREETING:
                break
        assert time.monotonic() < deadline


def test_anybody_may_ask_which_cluster_this_is(cluster, ids):
    with Dialler(cluster[0]) as dialler:
        dialler.send(frame(struct.pack("<III", QUESTION, MAGIC, VERSION)))
        kind, version, cluster_id = struct.unpack_from("<IIQ", dialler.answer())
        assert (kind, version, cluster_id) == (CLUSTER, VERSION, ids.cluster)
        dialler.wait_closed()


def test_a_member_of_another_cluster_is_refused(cluster, raftd, tmp_path):
    """A stray with a wrong token: both sides say so, and neither is disturbed."""
    stray = servers.Node(raftd, tmp_path / "stray", name="n0", token="another", peer_port=servers.free_port())
    (tmp_path / "stray").mkdir()
    stray.initial_cluster = f"n0={stray.peer_url},n1={cluster[1].peer_url},n2={cluster[2].peer_url}"
    stray.start(wait=False)
    try:
        deadline = time.monotonic() + servers.READY_SECONDS
        while "this is another cluster" not in stray.log_path.read_text():
            assert time.monotonic() < deadline, stray.log_tail()
            time.sleep(0.05)
        assert "refused" in cluster[1].log_path.read_text()
        term = kv.Status(cluster[0].channel()).term
        cluster.wait_ready()
        assert kv.Status(cluster[0].channel()).term == term
    finally:
        stray.close()


def test_a_member_speaks_on_one_connection(cluster, ids):
    """A newer one replaces it: what a broken network left behind does not pile up."""
    with Dialler(cluster[0]) as first, Dialler(cluster[0]) as second:
        for dialler in (first, second):
            dialler.send(ids.greeting(1, 0))
            assert dialler.answer()[0] == GREETING
        first.wait_closed()
    cluster.wait_ready()


def test_whoever_says_nothing_is_sent_away(cluster):
    with Dialler(cluster[0]) as dialler:
        dialler.wait_closed()


def test_a_crowd_at_the_peer_port(cluster):
    """More than a cluster can have are sent away at once; members get in again when they have gone."""
    before = len(os.listdir(f"/proc/{cluster[0].pid}/fd"))
    crowd = [Dialler(cluster[0]) for _ in range(400)]
    try:
        assert len(os.listdir(f"/proc/{cluster[0].pid}/fd")) - before < 200
        cluster.wait_ready()
    finally:
        for dialler in crowd:
            dialler.socket.close()
    cluster[1].stop()
    cluster[1].start()


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        struct.pack("<II", 1 << 31, 0),
        struct.pack("<II", 15 << 20, 0) + b"x" * 100000,
        frame(b""),
        frame(b"\1"),
        frame(bytes([REFUSAL])),
        greeting(1, 2, 3, magic=0),
        greeting(1, 2, 3)[:-1] + b"\xff",
    ],
    ids=["http", "huge", "large", "empty", "short", "refusal", "magic", "checksum"],
)
def test_what_is_no_greeting_ends_the_connection(cluster, data):
    with Dialler(cluster[0]) as dialler:
        dialler.send(data)
        dialler.wait_closed()
    assert cluster[0].is_running()


def test_a_member_that_raves(cluster, ids):
    """Frames of every kind with random fields, as from a member with broken memory: nobody ends, nothing is lost."""
    with cluster[0].channel() as channel:
        kv.put(channel, b"k", b"v")
    chance = random.Random(7)
    numbers = [0, 1, 2, 5, 100, 1 << 32, (1 << 63) - 1, (1 << 64) - 1]
    for _ in range(30):
        with Dialler(cluster[0]) as dialler:
            dialler.send(ids.greeting(1, 0))
            answer = dialler.answer()
            if answer is None:
                continue  # the real one took its place back, before the answer was out
            assert answer[0] == GREETING
            try:
                for _ in range(40):
                    body = struct.pack("<BBBBQQ", MESSAGE, chance.randrange(32), chance.randrange(4), 0, ids.members[1], ids.members[0])
                    # A term of the far future would be believed, as Raft must; the rest is nonsense of the present.
                    body += struct.pack("<Q", chance.choice([0, 1, 2]))
                    body += struct.pack("<6Q", *(chance.choice(numbers) for _ in range(6)))
                    dialler.send(frame(body + struct.pack("<I", chance.choice([0, 0, 0, 1, 0xFFFFFFFF]))))
            except (BrokenPipeError, ConnectionResetError):
                pass  # sent away
    assert [node.is_running() for node in cluster] == [True] * 3, cluster[0].log_tail()
    cluster.wait_ready()
    with cluster[2].channel() as channel:
        assert kv.get(channel, b"k") == b"v"
