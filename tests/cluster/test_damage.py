# SPDX-License-Identifier: Apache-2.0
"""Damage on disk: a member with others sets it aside and gets it back from them; nothing acknowledged is lost, and nothing is voted meanwhile."""

import contextlib
import random
import re
import shutil
import time

import h2c
import kv
import members
import pytest
import servers
import traced
from test_start import refused

FLAGS = ["--memtable-bytes", "65536", "--snapshot-count", "50", "--snapshot-catchup-entries", "20"]
SLOW_SECONDS = 2  # of a sync
REPEATS = 20  # of its text in a value


def flip(path, offset, mask=0x40):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ mask]))


def member(node):
    return node.data_dir / "member"


def log_files(node):
    return node.files("member/wal/????????????????-????????????????.wal")


def used_bytes(path):
    return len(path.read_bytes().rstrip(b"\0"))


def store_of(node):
    """The directory with the newest segments."""
    return max(node.files("member/store*/*.tdb"), key=lambda path: path.stat().st_mtime).parent


def write(cluster, first, count):
    write_to(cluster.leader(), first, count)


def write_to(node, first, count):
    with node.channel() as channel:
        for i in range(first, first + count):
            kv.put(channel, b"key/%06d" % i, b"value of %06d " % i * REPEATS)


def holds(node, count):
    """The member itself, whoever leads."""
    try:
        with node.channel() as channel:
            return len(kv.scan(channel, b"key/", serializable=True)) == count
    except h2c.CallFailed:
        return False


def values_are_right(node):
    with node.channel() as channel:
        for key, (value, _) in kv.scan(channel, b"key/", serializable=True).items():
            assert value == b"value of %s " % key[4:] * REPEATS


def log_text(node):
    return node.log_path.read_text(errors="replace")


@pytest.fixture
def trio(raftd, tmp_path):
    """Three members with checkpoints, and 1000 keys."""
    with servers.Cluster(raftd, 3, tmp_path, flags=FLAGS) as cluster:
        write(cluster, 0, 1000)
        for node in cluster:
            members.wait_until(lambda node=node: holds(node, 1000), "replication")
        yield cluster


def first_byte(node):
    return log_files(node)[0], 0


def somewhere(node):
    """A byte of an entry that others stand behind, whichever file they are in: what it healed from left a short log."""
    places = [(path, match.start()) for path in log_files(node) for match in re.finditer(rb"value of \d{6} ", path.read_bytes())]
    return random.choice(places[: -5 * REPEATS])


def forget_log(node):
    for path in log_files(node):
        path.unlink()


def cut_log(node):
    """The end of the log, as if it had never been written, with the vote in it."""
    path = log_files(node)[-1]
    with open(path, "r+b") as file:
        file.seek(128)
        file.write(bytes(used_bytes(path)))


def damage_log(place):
    def damage(node):
        flip(*place(node))

    return damage


def segment_header(node):
    flip(sorted(store_of(node).glob("*.tdb"))[0], 40)


def forget_segment(node):
    sorted(store_of(node).glob("*.tdb"))[0].unlink()


def forget_store(node):
    shutil.rmtree(store_of(node))


def damage_current(node):
    current = member(node) / "current"
    if current.exists():
        flip(current, 20)
    else:
        current.write_bytes(b"nonsense")


def damage_record(node):
    path = sorted(store_of(node).glob("*.tdb"))[0]
    flip(path, path.read_bytes().index(b"value of 000003 ") + 3)
    return path


def read_damaged(node):
    with node.channel() as channel, pytest.raises(h2c.CallFailed):
        kv.get(channel, b"key/000003", serializable=True)


DAMAGES = {
    "the first byte of the log": damage_log(first_byte),
    "a byte of the log": damage_log(somewhere),
    "no log": forget_log,
    "a log without its end": cut_log,
    "the header of a segment": segment_header,
    "a segment is missing": forget_segment,
    "the store is missing": forget_store,
    "which store it is": damage_current,
}


@pytest.mark.parametrize("name", DAMAGES)
def test_it_comes_back_from_the_others(trio, name):
    victim = trio.followers()[0]
    victim.kill9()
    write(trio, 1000, 100)
    DAMAGES[name](victim)
    victim.start()
    members.wait_until(lambda: holds(victim, 1100), "healing")
    values_are_right(victim)
    assert "set aside" in log_text(victim)
    write(trio, 1100, 100)
    members.wait_until(lambda: holds(victim, 1200), "replication")
    # It counts again: with it and one other the cluster goes on.
    other = next(node for node in trio if node is not victim and node is not trio.leader())
    other.kill9()
    write(trio, 1200, 50)
    victim.kill9()
    victim.start(wait=False)
    other.start()
    write(trio, 1250, 50)
    for node in trio:
        members.wait_until(lambda node=node: holds(node, 1300), "the end")
        values_are_right(node)


@pytest.mark.parametrize("how", ["damaged", "gone"])
def test_who_does_not_know_what_it_promised_does_not_start(trio, tmp_path, how):
    victim = trio.followers()[0]
    victim.kill9()
    promise = member(victim) / "wal" / "promise"
    before = promise.read_bytes()
    if how == "gone":
        promise.rename(tmp_path / "promise")
    else:
        promise.write_bytes(bytes(len(before)))
    line = refused(victim.command(), tmp_path)
    assert "wal/promise" in line, line
    write(trio, 1000, 100)
    if how == "gone":
        (tmp_path / "promise").rename(promise)
    promise.write_bytes(before)
    victim.start()
    members.wait_until(lambda: holds(victim, 1100), "replication")
    assert "set aside" not in log_text(victim)


@pytest.mark.parametrize("name, is_put_back", [("identity", True), ("met", True), ("met", False), ("voters", False)])
def test_a_small_file_that_nobody_else_has_is_refused_and_mended_by_hand(trio, tmp_path, name, is_put_back):
    """As raftd(8) says: identity is put back, met as well or removed, voters removed."""
    victim = trio.followers()[0]
    if name == "voters":
        members.remove(trio.leader(), members.insist(members.add, trio.leader(), "http://127.0.0.1:1"))
        members.wait_until((member(victim) / name).exists, "the number of voters is stored")
    victim.kill9()
    path = member(victim) / name
    before = path.read_bytes()
    flip(path, len(before) - 1)
    line = refused(victim.command(), tmp_path)
    assert f"member/{name}: damaged" in line, line
    write(trio, 1000, 100)
    if is_put_back:
        path.write_bytes(before)
    else:
        path.unlink()
    victim.start()
    members.wait_until(lambda: holds(victim, 1100), "replication")
    assert "set aside" not in log_text(victim)


def test_damaged_files_are_kept_but_not_for_ever(trio):
    victim = trio.followers()[0]
    for i in range(5):
        victim.kill9()
        flip(*somewhere(victim))
        segment_header(victim)
        victim.start()
        members.wait_until(lambda i=i: holds(victim, 1000 + 20 * i), "healing")
        write(trio, 1000 + 20 * i, 20)
        members.wait_until(lambda i=i: holds(victim, 1020 + 20 * i) and victim.files("member/store*/*.tdb"), "replication")
    assert 1 <= len({path.name[:24] for path in victim.files("member/wal/damaged-*")}) <= 3
    assert 1 <= len(victim.files("member/damaged-store.*")) <= 3


def test_a_leader_that_finds_its_store_damaged_begins_anew(trio):
    """Where it is read, not at a start."""
    leader = trio.leader()
    pid = leader.pid
    damage_record(leader)
    read_damaged(leader)
    members.wait_until(lambda: "beginning anew" in log_text(leader), "finding it")
    members.wait_until(lambda: holds(leader, 1000), "healing")
    values_are_right(leader)
    assert leader.is_running() and leader.pid == pid
    write(trio, 1000, 50)
    members.wait_until(lambda: holds(leader, 1050), "replication")


@pytest.mark.parametrize("leads", [True, False])
def test_a_record_is_not_worth_the_quorum(trio, leads):
    """Who begins anew votes for nobody: while another member is away nobody could be elected."""
    leader = trio.leader()
    away, other = (node for node in trio if node is not leader)
    victim = leader if leads else other
    away.kill9()
    damage_record(victim)
    read_damaged(victim)
    time.sleep(1)  # ten ticks, in each of which it looks
    assert "beginning anew" not in log_text(victim)
    write_to(leader, 1000, 50)
    away.start()
    members.wait_until(lambda: "beginning anew" in log_text(victim), "finding it")
    for node in trio:
        members.wait_until(lambda node=node: holds(node, 1050), "healing")
        values_are_right(node)
    write(trio, 1050, 50)
    members.wait_until(lambda: holds(victim, 1100), "replication")


@pytest.mark.parametrize("leads", [True, False])
def test_an_entry_that_depends_on_a_record_is_not_worth_the_quorum(trio, leads):
    """A put keeps the creation time of what it replaces. Who cannot read that applies nothing, stores and votes, and does not lead."""
    leader = trio.leader()
    away, other = (node for node in trio if node is not leader)
    victim, asked = (leader, other) if leads else (other, leader)
    away.kill9()
    damage_record(victim)
    write_to(asked, 3, 1)
    members.wait_until(lambda: "depends on a record that is damaged" in log_text(victim), "finding it")
    members.wait_until(asked.is_leader, "another leader")
    write_to(asked, 1000, 50)
    assert victim.is_running() and "beginning anew" not in log_text(victim)
    away.start()
    members.wait_until(lambda: "beginning anew" in log_text(victim), "healing")
    for node in trio:
        members.wait_until(lambda node=node: holds(node, 1050), "healing")
        values_are_right(node)


def test_alone_what_depends_on_a_record_is_refused_and_all_else_goes_on(raftd, tmp_path):
    with servers.Node(raftd, tmp_path, flags=FLAGS) as node:
        write_to(node, 0, 500)
        members.wait_until(lambda: node.files("member/store/*.tdb"), "a checkpoint")
        damage_record(node)
        for i in range(2):
            with node.channel() as channel:
                with pytest.raises(h2c.CallFailed):
                    kv.put(channel, b"key/000003", b"new")
                kv.put(channel, b"key/000004", b"new")
                assert kv.version(channel, b"key/000004") == 2 + i
            node.kill9()
            node.start()


def test_damage_that_nobody_reads_is_found(raftd, tmp_path):
    with servers.Cluster(raftd, 3, tmp_path, flags=[*FLAGS, "--scrub-time=2s"]) as cluster:
        write(cluster, 0, 1000)
        victim = cluster.followers()[0]
        members.wait_until(lambda: holds(victim, 1000) and victim.files("member/store*/*.tdb"), "replication")
        pid = victim.pid
        damage_record(victim)
        members.wait_until(lambda: "beginning anew" in log_text(victim), "finding it")
        members.wait_until(lambda: holds(victim, 1000), "healing")
        values_are_right(victim)
        assert victim.is_running() and victim.pid == pid
        assert not any("beginning anew" in log_text(node) for node in cluster if node is not victim)


def test_a_majority_that_lost_its_log_loses_nothing_in_silence(trio):
    """What two of three held is not to be had from the third for sure: no leader, until they are given their logs back."""
    nodes = list(trio)
    backup = {}
    for node in nodes:
        node.stop()
    for node in nodes[:2]:
        backup[node] = node.directory / f"{node.name}.backup"
        shutil.copytree(node.data_dir, backup[node])
        flip(*first_byte(node))
    for node in nodes:
        node.start(wait=False)
    members.wait_until(lambda: all("no votes" in log_text(node) for node in nodes[:2]), "their saying so")
    time.sleep(3)
    assert not any(node.is_leader() for node in nodes)
    for node in nodes[:2]:
        node.kill9()
        shutil.rmtree(node.data_dir)
        shutil.move(backup[node], node.data_dir)
        node.start(wait=False)
    trio.wait_ready()
    for node in nodes:
        members.wait_until(lambda node=node: holds(node, 1000), "the end")


@pytest.mark.parametrize("name", ["a record", "a byte of the log", "the store is missing"])
def test_a_founder_that_was_alone_heals_once_it_has_others(raftd, tmp_path, name):
    """Who votes now counts, not who founded the cluster."""
    with servers.Cluster(raftd, 1, tmp_path, flags=FLAGS) as cluster, contextlib.ExitStack() as stack:
        founder = cluster[0]
        write_to(founder, 0, 500)
        for joining in ("n1", "n2"):
            new = members.joiner(cluster, joining)
            stack.callback(new.close)
            members.let_in(founder, new)
            members.wait_until(lambda new=new: holds(new, 500), "joining")
        if name == "a record":
            damage_record(founder)
            read_damaged(founder)
            members.wait_until(lambda: "beginning anew" in log_text(founder), "finding it")
        else:
            founder.kill9()
            DAMAGES[name](founder)
            founder.start()
        members.wait_until(lambda: holds(founder, 500), "healing")
        values_are_right(founder)
        assert "set aside" in log_text(founder)
        members.wait_until(lambda: members.insist(members.members, founder), "its being a member")
        write_to(founder, 500, 50)
        members.wait_until(lambda: holds(new, 550) and holds(founder, 550), "replication")


@pytest.mark.parametrize("name", ["a byte of the log", "the store is missing"])
def test_the_last_one_of_three_refuses(trio, tmp_path, name):
    """Nobody is left who has what it holds."""
    last, *others = [trio.leader(), *trio.followers()]
    for node in others:
        members.insist(members.remove, last, members.id_of(node))
        assert members.wait_ended(node) == 0
    write_to(last, 1000, 1)
    last.kill9()
    DAMAGES[name](last)
    line = refused(last.command(), tmp_path)
    assert any(word in line for word in ("damaged", "missing", "begins")), line
    assert "set aside" not in log_text(last)


def test_on_a_slow_disk_the_last_one_refuses_as_well(raftd, tmp_path):
    """That it is alone is on its disk before it acts alone, however long that takes; or it would wait for others, who are none any more."""
    reason = traced.why_not()
    if reason:
        pytest.skip(reason)
    with servers.Cluster(raftd, 3, tmp_path) as cluster:
        last, *others = [cluster.leader(), *cluster.followers()]
        ids = [members.id_of(node) for node in others]
        with traced.delayed(last, "fsync", SLOW_SECONDS):  # not the log's, which are others
            for left, gone in reversed(list(enumerate(ids, 1))):
                began = time.monotonic()
                members.insist(members.remove, last, gone)
                assert time.monotonic() > began + SLOW_SECONDS, "nothing was slow: this shows nothing"
                assert (member(last) / "voters").read_bytes()[24:] == left.to_bytes(8, "little")
            write_to(last, 0, 200)
            last.kill9()
        log = log_files(last)[-1]
        flip(log, log.read_bytes().find(b"key/000100"))
        line = refused(last.command(), tmp_path)
        assert "damaged" in line and log.name in line, line
        assert "set aside" not in log_text(last)


def test_who_is_left_alone_keeps_its_store_until_there_are_others(trio):
    """A record of it is bad. It gives up the rest when somebody is there who has it, too."""
    left, *others = sorted(trio, key=lambda node: node is trio.leader())
    for node in others:
        node.kill9()
    members.wait_until(lambda: kv.Status(left.channel()).leader == 0, "an election that nobody wins")
    damage_record(left)
    read_damaged(left)
    read_damaged(left)
    time.sleep(1)  # ten ticks, in each of which it looks
    assert left.is_running() and "beginning anew" not in log_text(left)
    assert not left.files("member/damaged*")
    for node in others:
        node.start()
    members.wait_until(lambda: "beginning anew" in log_text(left), "healing")
    members.wait_until(lambda: holds(left, 1000), "the records of the others")
    values_are_right(left)


def test_a_survivor_with_a_bad_record_can_be_forced_to_go_on_alone(trio):
    """It lost nothing but that record, whether the damage was noticed before or not."""
    left = trio.followers()[0]
    for node in trio:
        node.kill9()
    damage_record(left)
    (member(left) / "damaged").write_text("revision 5, change 0, in a segment")
    left.flags.append("--force-new-cluster")
    left.start()
    left.flags.remove("--force-new-cluster")
    assert "revision 5, change 0" in log_text(left)
    for _ in range(2):  # also when it is started as always
        read_damaged(left)
        with left.channel() as channel:
            assert kv.get(channel, b"key/000999")
            kv.put(channel, b"k", b"v")
        left.stop()
        left.start()
    assert "set aside" not in log_text(left)


@pytest.mark.parametrize("name", DAMAGES)
def test_alone_it_refuses(raftd, tmp_path, name):
    node = servers.Node(raftd, tmp_path, flags=FLAGS)
    with node:
        with node.channel() as channel:
            for i in range(500):
                kv.put(channel, b"key/%06d" % i, b"value of %06d " % i * REPEATS)
        members.wait_until(lambda: node.files("member/store/*.tdb"), "a checkpoint")
        node.stop()
        DAMAGES[name](node)
        before = {path: path.read_bytes() for path in member(node).rglob("*") if path.is_file() and path.name != "spare.tmp"}
        line = refused(node.command(), tmp_path)
        assert any(word in line for word in ("damaged", "missing", "begins")), line
        assert {path: path.read_bytes() for path in before} == before, "it changed something"
