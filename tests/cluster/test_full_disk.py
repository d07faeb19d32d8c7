# SPDX-License-Identifier: Apache-2.0
"""A disk that runs full: reads go on, writes are refused in etcd's words before it is, nothing ends, and all goes on when there is space."""

import random
import time

import bulk
import disks
import h2c
import h2raw
import kv
import members
import pytest
import servers
from test_handshake import GREETING, Dialler, Ids, greeting

ALARM = "/etcdserverpb.Maintenance/Alarm"
NO_SPACE = (8, "etcdserver: mvcc: database space exceeded")  # RESOURCE_EXHAUSTED
MIB = 1 << 20
FLAGS = ["--memtable-bytes", str(4 * MIB)]  # so it is short of space below 2 * (4 + 16) MiB


def refusal(node):
    """Code and words with which a write is refused; None if it is not."""
    with h2raw.RawConnection(node.client_port) as connection:
        answer = connection.call(kv.PUT, kv.put_message(b"refused?", b"v"))
    return None if answer.code == 0 else (answer.code, answer.text)


def is_refused(node):
    return refusal(node) == NO_SPACE


def alarms(node):
    """The ids of the members for which there is an alarm."""
    with node.channel() as channel:
        answer = h2c.parse(channel.call(ALARM))
    found = map(h2c.parse, answer.get(2, []))
    return [alarm[1][0] for alarm in found if alarm[2][0] == 1]



def fill_by_writing(node, value, most):
    """Keys until a write is refused: how many."""
    with node.channel() as channel:
        for i in range(most):
            try:
                kv.put(channel, b"fill/%06d" % i, value)
            except h2c.CallFailed:
                assert is_refused(node)
                return i
    raise AssertionError("no write was refused")


@pytest.fixture
def disk_of(tmp_path):
    """Gives a node, before its start, a disk of that size."""
    made = []

    def make(node, mib=200):
        try:
            made.append(disks.Disk(tmp_path, node.data_dir, mib))
        except disks.NoDisk as why:
            pytest.skip(str(why))
        return made[-1]

    yield make
    for disk in made:
        disk.unmount()


@pytest.fixture
def small(raftd, tmp_path, disk_of):
    """One member and its disk."""
    node = servers.Node(raftd, tmp_path, flags=FLAGS)
    disk = disk_of(node)
    with node:
        yield node, disk


def test_writes_are_refused_before_it_is_full_and_go_on_by_themselves(small):
    node, disk = small
    with node.channel() as channel:
        for i in range(100):
            kv.put(channel, b"key/%d" % i, b"value %d" % i)
        member_id = kv.Status(channel).member_id
    disk.fill(leave=30 * MIB)
    members.wait_until(lambda: is_refused(node), "a refusal")
    assert members.wait_until(lambda: alarms(node), "an alarm") == [member_id]
    disk.fill(leave=0)
    with node.channel() as channel:
        assert len(kv.scan(channel, b"key/")) == 100
        for i in range(50):
            kv.delete(channel, b"key/%d" % i)
        assert len(kv.scan(channel, b"key/")) == 50
    for _ in range(3):
        node.kill9()
        node.start()  # it waits until a linearizable read is answered
        assert is_refused(node)
    node.stop()
    node.start()
    disk.empty()
    members.wait_until(lambda: refusal(node) is None, "a write")
    members.wait_until(lambda: not alarms(node), "the end of the alarm")
    with node.channel() as channel:
        assert len(kv.scan(channel, b"key/")) == 50


def test_an_alarm_that_is_disarmed_comes_again_while_the_disk_is_full(small):
    node, disk = small
    disk.fill(leave=0)
    member_id = members.wait_until(lambda: alarms(node), "an alarm")[0]
    with node.channel() as channel:
        answer = h2c.parse(channel.call(ALARM, h2c.field(1, 2) + h2c.field(2, member_id) + h2c.field(3, 1)))
    assert h2c.parse(answer[2][0]) == {1: [member_id], 2: [1]}
    assert is_refused(node)
    assert members.wait_until(lambda: alarms(node), "the alarm again") == [member_id]


def test_writes_fill_the_disk_themselves(small):
    node, disk = small
    value = bytes(range(256)) * 1024
    written = fill_by_writing(node, value, 1000)
    assert written > 100
    disk.fill(leave=0)
    node.kill9()
    node.start()
    with node.channel(30) as channel:
        for i in range(written):
            assert kv.get(channel, b"fill/%06d" % i) == value
    assert is_refused(node)
    disk.empty()
    assert is_refused(node), "the disk is as full as before"


def test_a_checkpoint_without_space_waits_for_it(small):
    """The disk fills up from outside within less than the log's look at it, and writes go on meanwhile."""
    node, disk = small
    value = bytes(64 * 1024)
    with node.channel() as channel:
        kv.put(channel, b"k", b"v")
        disk.fill(leave=0)
        written = 0
        try:
            for written in range(1000):
                kv.put(channel, b"fill/%06d" % written, value)
        except h2c.CallFailed:
            pass
    assert node.is_running()
    node.kill9()
    node.start()
    disk.empty()
    members.wait_until(lambda: refusal(node) is None, "a write")
    with node.channel() as channel:
        assert len(kv.scan(channel, b"fill/", page=50)) >= written
        for i in range(100):
            kv.put(channel, b"more/%d" % i, value)
    members.wait_until(lambda: node.files("member/store/*.tdb"), "a checkpoint")


def test_a_follower_with_a_full_disk_stops_nobody(raftd, tmp_path, disk_of):
    cluster = servers.Cluster(raftd, 3, tmp_path, flags=FLAGS)
    disk = disk_of(cluster[0])
    value = bytes(range(256)) * 256
    with cluster:
        if cluster.leader() is cluster[0]:  # its neighbours choose another
            cluster[0].pause()
            members.wait_until(lambda: cluster.leader(), "another leader")
            cluster[0].resume()
        disk.fill(leave=0)
        members.wait_until(lambda: alarms(cluster[1]), "an alarm")
        leader = cluster.leader()
        with leader.channel() as channel:
            for i in range(800):  # 50 MiB, more than the follower's log has room for
                kv.put(channel, b"key/%06d" % i, value)
        assert cluster[0].is_running() and is_refused(cluster[0])
        with cluster[0].channel() as channel:
            kv.get(channel, b"key/000000", serializable=True)
        disk.empty()
        with cluster[0].channel(30) as channel:
            members.wait_until(lambda: kv.get(channel, b"key/000799", serializable=True) == value, "the follower's catching up")
        members.wait_until(lambda: not alarms(leader), "the end of the alarm")
        assert refusal(cluster[0]) is None


def test_who_is_new_waits_until_it_can_be_written_down(raftd, tmp_path, disk_of):
    """A member is remembered before it is heard; one that finds no space for that goes on, and hears it later."""
    cluster = servers.Cluster(raftd, 3, tmp_path, flags=FLAGS)
    disk = disk_of(cluster[0])
    with cluster:
        ids = Ids(cluster)
        disk.fill(leave=0)
        members.wait_until(lambda: alarms(cluster[1]), "an alarm")
        members.wait_until(lambda: disk.free() == 0 or disk.fill(leave=0), "a disk without a block")
        stranger = greeting(ids.cluster, 4711, ids.members[0], urls=["http://127.0.0.1:1"])
        with Dialler(cluster[0]) as dialler:
            dialler.send(stranger)
            members.wait_until(lambda: "who is new is not heard" in cluster[0].log_path.read_text(), "the reason")
        assert cluster[0].is_running()
        disk.empty()
        with Dialler(cluster[0]) as dialler:
            dialler.send(stranger)
            assert dialler.answer()[0] == GREETING


def test_a_leader_with_a_full_disk_gives_the_lead_away(raftd, tmp_path, disk_of):
    cluster = servers.Cluster(raftd, 3, tmp_path, flags=FLAGS)
    full = [disk_of(node) for node in cluster]
    with cluster:
        leader = cluster.leader()
        full[list(cluster).index(leader)].fill(leave=0)
        others = [node for node in cluster if node is not leader]
        members.wait_until(lambda: any(node.is_leader() for node in others), "another leader")
        members.wait_until(lambda: all(refusal(node) is None for node in others), "writes")
        assert is_refused(leader)
        second = cluster.leader()
        full[list(cluster).index(second)].fill(leave=0)
        members.wait_until(lambda: all(is_refused(node) for node in cluster), "a refusal where no quorum has space")
        full[list(cluster).index(leader)].empty()
        members.wait_until(lambda: refusal(leader) is None, "writes where a quorum has")


def segments(directory):
    """{name: inode}"""
    return {path.name: path.stat().st_ino for path in directory.glob("*.tdb")}


def test_a_snapshot_that_finds_no_space_is_gone_on_with_when_there_is_some(raftd, tmp_path, disk_of):
    """The disk is full to the last byte in the middle of it: what was received stays, nothing more is taken, nothing is sent twice."""
    flags = ["--memtable-bytes", str(MIB), "--snapshot-count", "100", "--snapshot-catchup-entries", "50"]
    cluster = servers.Cluster(raftd, 3, tmp_path, flags=flags)
    disk = disk_of(cluster[0], 300)
    partial = cluster[0].data_dir / "member" / "store.1"
    noise = random.randbytes(MIB)
    with cluster:
        cluster[0].kill9()
        leader = members.wait_until(cluster.leader, "a leader")
        bulk.load(leader, ((b"fill/%06d" % i, noise[i * 7 : i * 7 + 4096]) for i in range(16384)))  # 64 MiB
        cluster[0].start(wait=False)
        members.wait_until(lambda: servers.bytes_in(partial) > 8 * MIB, "a part of the snapshot")
        disk.fill(leave=0)
        members.wait_until(lambda: "short of space" in cluster[0].log_path.read_text(), "a refusal in words")
        held = segments(partial)
        assert len(held) > 3 and not (partial.parent / "current").exists()
        time.sleep(5)
        assert segments(partial) == held
        disk.empty()
        members.wait_until((partial.parent / "current").exists, "the rest of the snapshot")
        cluster[0].wait_ready()
        assert held.items() <= segments(partial).items()
        with cluster[0].channel(30) as channel:
            assert kv.get(channel, b"fill/016383") == noise[16383 * 7 : 16383 * 7 + 4096]
