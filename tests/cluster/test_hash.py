# SPDX-License-Identifier: Apache-2.0
"""Maintenance.HashKV: replicas have one hash for one revision, however each of them keeps it; and it holds up nobody."""

import random
import re

import h2c
import kv
import pytest
import servers
from conftest import rounds
from h2raw import RawConnection
from traced import Traced, whole_calls, why_not
from writers import Writers

SMALL = ["--snapshot-count=100", "--snapshot-catchup-entries=50", "--memtable-bytes=1048576"]
OUT_OF_RANGE = 11
CALL_SECONDS = 60
LARGE_READ = 4096  # bytes: of a file that is opened only its head is read


@pytest.fixture
def cluster(raftd, tmp_path):
    """Three members that seal and forget early."""
    with servers.Cluster(raftd, 3, tmp_path, SMALL) as cluster:
        yield cluster


def hashes(nodes, revision):
    """Of each member, once it is at that revision."""
    found = []
    for node in nodes:
        with node.channel(CALL_SECONDS) as channel:
            kv.get(channel, b"up to date?")
            found.append(kv.hash_of(channel, revision))
    return found


def check_equal(nodes, revision):
    first, *others = hashes(nodes, revision)
    assert first[1] == revision
    assert all(other == first for other in others), f"revision {revision}: {[first, *others]}"
    return first[0]


def newest(node):
    with node.channel(CALL_SECONDS) as channel:
        return kv.revision(channel)


def test_members_are_equal_under_load_and_at_every_revision(cluster):
    with Writers(list(cluster), b"hash/", value_bytes=4096) as writers:
        seen = {}
        for _ in range(rounds(4)):
            writers.wait_for_more(100)
            revision = newest(random.choice(list(cluster)))
            seen[revision] = check_equal(cluster, revision)
    assert len(set(seen.values())) == len(seen), f"revisions of one hash: {seen}"
    for node in cluster:
        with node.channel(CALL_SECONDS) as channel:
            kv.get(channel, b"up to date?")
            assert kv.hash_of(channel) == kv.hash_of(channel, newest(node))
    # What a revision saw stays, over restarts too.
    cluster[0].stop()
    cluster[0].start(wait=False)
    cluster.wait_ready()
    for revision, value in seen.items():
        assert check_equal(cluster, revision) == value
    check_equal(cluster, 1)


def test_a_member_that_was_sent_a_snapshot_is_equal(cluster):
    away = cluster.followers()[0]
    away.kill9()
    with Writers([node for node in cluster if node is not away], b"away/") as writers:
        writers.wait_for_more(600)
        away.start(wait=False)
        writers.wait_for_more(100)
    cluster.wait_ready()
    assert "snapshot installed" in away.log_path.read_text()
    last = newest(cluster[0])
    for revision in sorted({2, last, last // 2, random.randrange(2, last)}):
        check_equal(cluster, revision)


def test_a_revision_to_come_is_refused(node):
    with node.channel() as channel:
        kv.put(channel, b"k", b"v")
    with RawConnection(node.client_port) as raw:
        answer = raw.call(kv.HASH_KV, h2c.field(1, 3))
        assert (answer.code, answer.text) == (OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")
        assert raw.call(kv.HASH_KV, h2c.field(1, 2)).code == 0


def test_a_large_store_is_hashed_beside_everything_else(node):
    """In many slices: whoever asks for a key just after is answered long before."""
    with node.channel(CALL_SECONDS) as channel:
        for i in range(64):
            kv.put(channel, b"large/%03d" % i, random.randbytes(1 << 20))
    with RawConnection(node.client_port) as raw:
        hashing = raw.open(kv.HASH_KV, h2c.grpc_frame(b""))
        asking = [raw.open(kv.RANGE, h2c.grpc_frame(kv.get_message(b"small", serializable=True))) for _ in range(4)]
        assert all(raw.answer(stream).code == 0 for stream in asking)
        assert hashing not in raw.answers, "the others waited for the hash"
        assert raw.answer(hashing).code == 0


def test_segments_are_read_before_a_hash_walks_over_them(raftd, tmp_path):
    """By another thread: the one that answers everybody must not wait for the disk."""
    if reason := why_not():
        pytest.skip(reason)
    node = Traced(raftd, tmp_path, flags=SMALL)
    node.watched = ("read", "pread64")
    ahead, walked = set(), set()
    with node:
        with node.channel(CALL_SECONDS) as channel:
            written = 0
            while len(node.files("member/store*/*.tdb")) < 3:  # of those that were written, all but the last are surely read from
                kv.put(channel, b"large/%03d" % written, random.randbytes(100000))
                written += 1
            kv.hash_of(channel)
        loop = node.pid
        node.stop()
    for thread, text, *_ in whole_calls(node.trace()):
        call = re.match(r"(p?read)(?:64)?\(\d+<([^>]*\.tdb)>.* = (\d+)$", text)
        if call and int(thread) == loop:
            assert call[2] in ahead, f"the loop read {call[2]} from the disk"
            walked.add(call[2])
        elif call and call[1] == "read" and int(call[3]) >= LARGE_READ:
            ahead.add(call[2])
    assert len(walked) >= 2, walked


def test_clients_that_leave_before_their_hash_is_there(node):
    with node.channel(CALL_SECONDS) as channel:
        for i in range(64):
            kv.put(channel, b"large/%03d" % i, random.randbytes(1 << 20))
        leaving = [node.channel() for _ in range(20)]
        for other in leaving:
            other.send(kv.HASH_KV, b"")
        kv.get(channel, b"x")
        for other in leaving:
            other.close()
        assert kv.hash_of(channel)[1] == 65


def test_no_more_hashes_at_once_than_there_may_be(node):
    """The limit is 64 (HASHES_MAX): those beyond it are told, those within it get theirs."""
    with node.channel(CALL_SECONDS) as channel:
        for i in range(32):
            kv.put(channel, b"large/%03d" % i, random.randbytes(1 << 20))
        expected = kv.hash_of(channel)[0]
    with RawConnection(node.client_port, timeout_seconds=CALL_SECONDS) as raw:
        streams = [raw.open(kv.HASH_KV, h2c.grpc_frame(b"")) for _ in range(80)]
        answers = [raw.answer(stream) for stream in streams]
    refused = [answer for answer in answers if answer.code]
    assert {answer.text for answer in refused} == {"etcdserver: too many requests"}
    assert len(refused) == 16, len(refused)
    assert all(h2c.parse(answer.body[5:])[2] == [expected] for answer in answers if not answer.code)
