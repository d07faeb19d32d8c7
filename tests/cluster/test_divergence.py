# SPDX-License-Identifier: Apache-2.0
"""Members that hold different data find it out by themselves: one of them gets another value, with a checksum that is right."""

import struct
import subprocess
import time

import h2c
import kv
import members
import pytest
import servers
from h2raw import RawConnection
from test_damage import log_text, store_of
from test_handshake import crc32c

ALARM = "/etcdserverpb.Maintenance/Alarm"
WATCH = "/etcdserverpb.Watch/Watch"
CORRUPT = 2
DATA_LOSS = 15
WORDS = "etcdserver: corrupt cluster"
REFUSED = (DATA_LOSS, WORDS)
FLAGS = ["--memtable-bytes=65536", "--corrupt-check-time=1s"]
KEY, VALUE = b"key/000007", b"value of 000007 " * 20
RECORD_BYTES = 72  # before key and value


def write(node, first, count):
    with node.channel() as channel:
        for i in range(first, first + count):
            kv.put(channel, b"key/%06d" % i, b"value of %06d " % i * 20)


def alter(node):
    """Another value in a segment of a member that does not run; all checksums are right. Nothing but the others can tell."""
    for path in sorted(store_of(node).glob("*.tdb")):
        data = bytearray(path.read_bytes())
        at = data.find(KEY + VALUE)
        if at < 0:
            continue
        start, end = at - RECORD_BYTES, at + len(KEY) + len(VALUE)
        assert struct.unpack_from("<I", data, start)[0] == crc32c(bytes(data[start + 4 : end])), "no record as it is understood here"
        data[at + len(KEY)] ^= 0x20
        struct.pack_into("<I", data, start, crc32c(bytes(data[start + 4 : end])))
        path.write_bytes(data)
        return
    pytest.fail("the key is in no segment")


def alarms(node):
    """(member, type) of those that are on; None: nobody can tell now."""
    try:
        answer = h2c.parse(node.call(ALARM))
    except h2c.CallFailed:
        return None
    return [(alarm.get(1, [0])[0], alarm[2][0]) for alarm in map(h2c.parse, answer.get(2, []))]


def refusal(node, path, message):
    with RawConnection(node.client_port) as raw:
        answer = raw.call(path, message)
        return answer.code, answer.text


def disarm(node, member_id):
    node.call(ALARM, h2c.field(1, 2) + h2c.field(2, member_id) + h2c.field(3, CORRUPT))


@pytest.fixture
def trio(raftd, tmp_path):
    """Three members with checkpoints, who compare what they hold each second."""
    with servers.Cluster(raftd, 3, tmp_path, flags=FLAGS) as cluster:
        write(cluster.leader(), 0, 600)
        for node in cluster:
            members.wait_until(lambda node=node: kv_in(node) == VALUE, "replication")
            members.wait_until(lambda node=node: node.files("member/store*/*.tdb"), "a segment")
        yield cluster


def kv_in(node):
    with node.channel() as channel:
        return kv.get(channel, KEY, serializable=True)


def compared(node):
    return log_text(node).count("compared hash values, none differ")


def test_equal_members_raise_no_alarm_whatever_happens(trio):
    """Also while one is away, catches up, and is sent a snapshot or the log."""
    members.wait_until(lambda: sum(compared(node) for node in trio) >= 3, "comparisons")
    away = trio.followers()[0]
    away.kill9()
    write(trio.leader(), 600, 300)
    away.start()
    before = sum(compared(node) for node in trio)
    write(trio.leader(), 900, 300)
    members.wait_until(lambda: sum(compared(node) for node in trio) >= before + 3, "more comparisons")
    assert alarms(trio[0]) == []
    assert not any("found different" in log_text(node) for node in trio)


@pytest.mark.parametrize("role", ["follower", "leader"])
def test_one_that_differs_is_named_and_nothing_is_written(trio, role):
    other = trio.leader() if role == "leader" else trio.followers()[0]
    member_id = other.ids()[0]
    other.stop()
    alter(other)
    other.start(wait=False)
    rest = [node for node in trio if node is not other]
    assert members.wait_until(lambda: alarms(rest[0]), "an alarm") == [(member_id, CORRUPT)]
    for node in rest:
        assert kv_in(node) == VALUE  # who is right goes on to be read
        assert refusal(node, kv.PUT, kv.put_message(b"k", b"v")) == REFUSED
        assert refusal(node, kv.DELETE, h2c.field(1, KEY)) == REFUSED
    members.wait_until(lambda: alarms(other), "the alarm, at the member itself")
    for serializable in (True, False):
        assert refusal(other, kv.RANGE, kv.get_message(KEY, serializable)) == REFUSED
    assert any("found different hash values" in log_text(node) for node in trio)
    # A restart forgets nothing of it.
    rest[0].kill9()
    rest[0].start()
    assert alarms(rest[0]) == [(member_id, CORRUPT)]
    # An operator ends the alarm, and as nothing was mended it comes again.
    disarm(rest[0], member_id)
    members.wait_until(lambda: alarms(rest[0]) == [(member_id, CORRUPT)], "the alarm again")
    # Without the member, and the alarm, all is well.
    members.insist(members.remove, rest[0], member_id)
    members.wait_until(lambda: alarms(rest[0]) == [], "the end of the alarm, with its member")
    write(rest[0], 5000, 1)


def test_of_two_nobody_knows_who_is_right(raftd, tmp_path):
    """So neither tells what it holds, also to those who began to listen before."""
    with servers.Cluster(raftd, 2, tmp_path, flags=FLAGS) as pair:
        write(pair[0], 0, 600)
        other = pair[1]
        members.wait_until(lambda: other.files("member/store*/*.tdb"), "a segment")
        other.stop()
        alter(other)
        with RawConnection(pair[0].client_port) as raw:
            watch = raw.open(WATCH, h2c.grpc_frame(h2c.field(1, h2c.field(1, b"k"))), end=False)
            raw.read_until(lambda: watch in raw.answers and raw.answers[watch].body)
            other.start(wait=False)
            assert members.wait_until(lambda: alarms(pair[0]), "an alarm") == [(0, CORRUPT)]
            answer = raw.answer(watch)
            assert (answer.code, answer.text) == REFUSED
        for node in pair:
            members.wait_until(lambda node=node: alarms(node) == [(0, CORRUPT)], "the alarm")
            assert refusal(node, kv.PUT, kv.put_message(b"k", b"v")) == REFUSED
            for serializable in (True, False):
                assert refusal(node, kv.RANGE, kv.get_message(KEY, serializable)) == REFUSED
        # Whoever knows it better ends the alarm, and it comes again.
        disarm(pair[0], 0)
        members.wait_until(lambda: alarms(pair[0]) == [(0, CORRUPT)], "the alarm again")


def etcdctl_of(node, *words):
    etcdctl = servers.find_peer("etcdctl-3.7.1")
    if not etcdctl:
        pytest.skip("there is no etcdctl-3.7.1; tests/peers/build makes it")
    return subprocess.run([etcdctl, "--endpoints", node.client_url, *words], capture_output=True, text=True, timeout=20, check=False)


def test_one_that_differs_neither_leads_nor_hands_its_data_on(raftd, tmp_path):
    """It is the leader that brings a new member up to date."""
    flags = [*FLAGS, "--snapshot-count=100", "--snapshot-catchup-entries=50"]
    with servers.Cluster(raftd, 3, tmp_path, flags=flags) as cluster:
        write(cluster.leader(), 0, 600)
        for node in cluster:
            members.wait_until(lambda node=node: kv_in(node) == VALUE, "replication")
            members.wait_until(lambda node=node: node.files("member/store*/*.tdb"), "a segment")
        other = cluster.leader()
        member_id = other.ids()[0]
        rest = [node for node in cluster if node is not other]
        other.stop()
        alter(other)
        other.start(wait=False)
        members.wait_until(lambda: alarms(rest[0]) == [(member_id, CORRUPT)], "an alarm")
        leader = members.wait_until(lambda: next((node for node in rest if node.is_leader()), None), "another leader")
        refused = etcdctl_of(leader, "move-leader", f"{member_id:x}")
        assert refused.returncode != 0 and "bad leader transferee" in refused.stderr
        # Whoever is elected now, it is not that one.
        leader.kill9()
        left = next(node for node in rest if node is not leader)
        members.wait_until(left.is_leader, "the only one that may lead")
        leader.start()
        new = members.joiner(cluster, "n3")
        try:
            new_id = members.let_in(left, new, learner=True)
            members.insist(members.promote, left, new_id)
            assert "snapshot" in log_text(new)
            members.wait_until(lambda: kv_in(new) == VALUE, "the right value")
            assert alarms(left) == [(member_id, CORRUPT)]
        finally:
            new.close()


def test_the_alarm_does_not_wait_for_one_that_is_down(trio):
    """Nobody knows who is right before that one is there, and says it."""
    leader = trio.leader()
    other, down = trio.followers()
    member_id = other.ids()[0]
    down.stop()
    other.stop()
    alter(other)
    other.start(wait=False)
    members.wait_until(lambda: alarms(leader) == [(0, CORRUPT)], "the alarm of nobody", seconds=15)
    down.start(wait=False)
    members.wait_until(lambda: (member_id, CORRUPT) in (alarms(leader) or []), "the alarm of that one")
    disarm(leader, 0)
    assert alarms(leader) == [(member_id, CORRUPT)]
    assert kv_in(leader) == VALUE


def test_etcdctl_lists_and_disarms(trio):
    other = trio.followers()[0]
    member_id = other.ids()[0]
    other.stop()
    alter(other)
    other.start(wait=False)
    node = next(node for node in trio if node is not other)
    members.wait_until(lambda: alarms(node), "an alarm")

    assert etcdctl_of(node, "alarm", "list").stdout == f"memberID:{member_id} alarm:CORRUPT\n"
    assert f"memberID:{member_id} alarm:CORRUPT" in etcdctl_of(node, "endpoint", "status", "-w", "json").stdout
    refused = etcdctl_of(node, "put", "a", "b")
    assert refused.returncode != 0 and WORDS in refused.stderr
    assert etcdctl_of(node, "alarm", "disarm").stdout == f"memberID:{member_id} alarm:CORRUPT\n"


def test_a_member_that_differs_is_not_started(trio):
    """--initial-corrupt-check: before a client is served."""
    other = trio.followers()[0]
    member_id = other.ids()[0]
    other.stop()
    for node in trio:
        node.flags = [FLAGS[0], "--initial-corrupt-check"]
    other.start()  # nothing differs
    assert log_text(other).count("compared hash values, none differ") >= 1
    other.stop()
    alter(other)
    other.flags = [FLAGS[0], "--feature-gates=InitialCorruptCheck=true"]
    other.start(wait=False)
    assert members.wait_ended(other) == 1
    assert f"checkInitialHashKV failed: {member_id:x} found data inconsistency with peers" in log_text(other)
    assert log_text(other).count("ready to serve") == 2
    # Nobody else is kept from starting by that one, nor by there being nobody yet.
    for node in trio:
        node.stop()
    began = time.monotonic()
    for node in trio:
        if node is not other:
            node.start(wait=False)
    rest = [node for node in trio if node is not other]
    trio.wait_ready(rest)
    assert time.monotonic() - began < 15
    # One that reaches nobody cannot know; it goes on asking.
    for node in rest:
        node.stop()
    waited = log_text(rest[0]).count("clients wait")
    rest[0].start(wait=False)
    members.wait_until(lambda: log_text(rest[0]).count("clients wait") > waited, "a warning")
    assert rest[0].is_running() and alarms(rest[0]) is None
    rest[1].start(wait=False)
    trio.wait_ready(rest)
