# SPDX-License-Identifier: Apache-2.0
"""Who is in the cluster changes while clients write: nothing acknowledged is lost, and whoever may not come back does not."""

import contextlib
import re

import h2c
import kv
import members
import pytest
import servers
from writers import Writers

REMOVED = "the member has been permanently removed from the cluster"
FLAGS = ["--snapshot-count", "100", "--snapshot-catchup-entries", "50", "--heartbeat-interval", "50", "--election-timeout", "500"]


@pytest.fixture
def cluster(raftd, tmp_path):
    with servers.Cluster(raftd, 3, tmp_path, FLAGS) as cluster:
        yield cluster


@contextlib.contextmanager
def joiner(cluster, name, peer_port=None):
    node = members.joiner(cluster, name, peer_port)
    try:
        yield node
    finally:
        node.close()


@pytest.mark.parametrize("asked", ["leader", "follower"])
def test_a_learner_comes_learns_votes_moves_and_goes(cluster, asked):
    """The whole life of a member, under a stream of writes; the requests go to the leader, or all to a follower."""
    server = cluster.leader() if asked == "leader" else cluster.followers()[0]
    with joiner(cluster, "n3") as new, Writers(list(cluster), b"life/") as writers:
        writers.wait_for_more(300)  # more than the log keeps: it gets a snapshot, or not, as it comes
        new_id = members.let_in(server, new, learner=True)
        assert members.members(server)[new_id].is_learner
        members.insist(members.promote, server, new_id)
        new.wait_ready()
        listed = members.members(server)
        assert not listed[new_id].is_learner and listed[new_id].name == "n3"
        assert set(members.members(new)) == set(listed)
        writers.wait_for_more(100)
        # It votes: with one of the others gone, three of four are left.
        gone = next(node for node in cluster.followers() if node is not server)
        gone.kill9()
        writers.wait_for_more(100)
        gone.start()
        # It moves.
        new.stop()
        new.peer_port = servers.free_port()  # --initial-cluster still has the old one: it counts no more
        members.update(server, new_id, new.peer_url)
        new.start()
        new.wait_ready()
        assert members.members(new)[new_id].peer_urls == [new.peer_url]
        writers.wait_for_more(100)
        members.insist(members.remove, server, new_id)
        assert members.wait_ended(new) == 0  # as etcd's
        assert REMOVED in new.log_path.read_text() and "data-dir used by this member must be removed" in new.log_path.read_text()
        writers.wait_for_more(100)
    writers.check(cluster)
    for node in cluster:
        assert new_id not in members.members(node)


def test_a_removed_member_stays_out(cluster):
    """It ends whenever it is started, whoever tells it, and the others notice nothing of it."""
    leader, victim = cluster.leader(), cluster.followers()[0]
    victim_id, others = members.id_of(victim), [node for node in cluster if node is not victim]
    victim.kill9()  # it does not hear of its removal
    members.insist(members.remove, leader, victim_id)
    with leader.channel() as channel:
        term = kv.Status(channel).term
    for _ in range(2):
        victim.start(wait=False)
        assert members.wait_ended(victim) == 0
        assert REMOVED in victim.log_path.read_text()
    victim.wipe()  # an empty directory makes no new member of it
    victim.start(wait=False)
    assert members.wait_ended(victim) == 0
    cluster.wait_ready(others)
    with leader.channel() as channel:
        assert kv.Status(channel).term == term
    with pytest.raises(h2c.CallFailed):
        members.remove(leader, victim_id)


def test_the_leader_is_removed(cluster):
    leader = cluster.leader()
    others = cluster.followers()
    with Writers(others, b"leader/") as writers:
        writers.wait_for_more(50)
        members.insist(members.remove, leader, members.id_of(leader))
        assert members.wait_ended(leader) == 0
        writers.wait_for_more(50)
    writers.check(others)
    assert len(members.members(others[0])) == 2


def test_a_dead_member_is_replaced_at_its_address(cluster):
    dead = cluster.followers()[0]
    alive = [node for node in cluster if node is not dead]
    with Writers(alive, b"dead/") as writers:
        writers.wait_for_more(200)
        dead_id = members.id_of(dead)
        dead.kill9()
        members.insist(members.remove, alive[0], dead_id)
        with joiner(cluster, dead.name, dead.peer_port) as new:
            new.client_port = dead.client_port
            dead.wipe()
            new_id = members.let_in(alive[1], new)
            assert new_id != dead_id
            new.wait_ready()
            writers.wait_for_more(100)
            # All three are needed for this one: one of the old ones goes, too.
            alive[0].kill9()
            writers.wait_for_more(100)
            alive[0].start()
            # And what it is does not depend on how it was started first.
            new.stop()
            new.state = "new"
            new.start()
            assert members.id_of(new) == new_id
            writers.__exit__()
            writers.check([*alive, new])


def test_members_come_and_go_while_clients_write(cluster):
    """One after the other all of the first members are replaced; the last ones know nothing of the first but their data."""
    members_now, joined = list(cluster), []
    with contextlib.ExitStack() as stack, Writers(members_now, b"all/") as writers:
        for i in range(3):
            new = stack.enter_context(joiner(cluster, f"new{i}"))
            new_id = members.let_in(members_now[-1], new, learner=bool(i % 2))
            if i % 2:
                members.insist(members.promote, members_now[-1], new_id)
            new.wait_ready()
            old = members_now.pop(0)
            members_now.append(new)
            joined.append(new)
            members.insist(members.remove, new, members.id_of(old))
            assert members.wait_ended(old) == 0
            writers.wait_for_more(50)
        writers.__exit__()
        writers.check(joined)
        assert {member.name for member in members.members(joined[0]).values()} == {"new0", "new1", "new2"}


@pytest.mark.parametrize("state", ["new", "existing"])
def test_a_wiped_member_is_refused(cluster, state):
    """It may have voted, and stored what was counted: it does not come back under its old id, whatever it is told to be."""
    victim = cluster.followers()[0]
    with cluster.leader().channel() as channel:
        kv.put(channel, b"k", b"v")
    victim_id = members.id_of(victim)
    victim.kill9()
    victim.wipe()
    victim.state = state
    victim.start(wait=False)
    assert members.wait_ended(victim) == 1
    assert re.search("data directory.*remove it and add it anew", victim.log_path.read_text())
    cluster.wait_ready([node for node in cluster if node is not victim])
    # The way that it says.
    members.insist(members.remove, cluster.leader(), victim_id)
    victim.wipe()
    with joiner(cluster, victim.name) as new:
        assert members.let_in(cluster.leader(), new) != victim_id
        new.wait_ready()


def test_a_member_that_was_met_is_remembered(raftd, tmp_path):
    """Wiped before it could publish itself: those that heard it know it all the same, over their restarts too."""
    cluster = servers.Cluster(raftd, 3, tmp_path, FLAGS)
    one, other, _ = cluster
    try:
        one.start(wait=False)
        other.start(wait=False)
        met = other.data_dir / "member/met"
        members.wait_until(lambda: met.exists() and met.stat().st_size > 16, "the one has met the other")
        one.kill9()
        other.kill9()
        one.wipe()
        other.start(wait=False)
        one.start(wait=False)
        assert members.wait_ended(one) == 1
        assert "another data directory" in one.log_path.read_text()
    finally:
        cluster.close()


def test_what_joins_must_have_been_added(cluster):
    with joiner(cluster, "n3") as new:
        new.initial_cluster = ",".join([*(f"{node.name}={node.peer_url}" for node in cluster), f"n3={new.peer_url}"])
        new.start(wait=False)
        assert members.wait_ended(new) == 1
        assert "member count is unequal" in new.log_path.read_text()
        members.insist(members.add, cluster[0], f"http://127.0.0.1:{servers.free_port()}", True)
        new.start(wait=False)
        assert members.wait_ended(new) == 1
        assert "no match found for existing member" in new.log_path.read_text()
        assert not (new.data_dir / "member/identity").exists()


def test_a_joiner_asks_until_somebody_answers(cluster):
    """Nobody there: it says so and ends."""
    with joiner(cluster, "n3") as new:
        for node in cluster:
            node.kill9()
        new.initial_cluster = ",".join([*(f"{node.name}={node.peer_url}" for node in cluster), f"n3={new.peer_url}"])
        new.start(wait=False)
        assert members.wait_ended(new) == 1
        assert "no answer" in new.log_path.read_text()


def test_a_member_that_slept_through_it_is_found_by_new_ones(raftd, tmp_path):
    """While it is down all whom it knows are replaced: it is dialled by members that it never heard of."""
    with servers.Cluster(raftd, 3, tmp_path, [*FLAGS, "--strict-reconfig-check=false"]) as cluster:
        sleep_through(cluster)


def sleep_through(cluster):
    sleeper = cluster.followers()[0]
    others = [node for node in cluster if node is not sleeper]
    with contextlib.ExitStack() as stack:
        sleeper_id = members.id_of(sleeper)
        sleeper.kill9()
        new = []
        for i in range(2):
            node = stack.enter_context(joiner(cluster, f"new{i}"))
            new_id = members.let_in((new or others)[0], node, learner=True)
            new.append(node)
            members.insist(members.promote, others[0] if i == 0 else new[0], new_id)
            node.wait_ready()
            old = others.pop(0)
            members.insist(members.remove, node, members.id_of(old))
            members.wait_ended(old)
        with new[0].channel() as channel:
            kv.put(channel, b"k", b"later")
        sleeper.start()
        with sleeper.channel() as channel:
            assert kv.get(channel, b"k") == b"later"
        assert set(members.members(sleeper)) == {sleeper_id, *map(members.id_of, new)}


def test_a_learner_serves_little(cluster):
    with joiner(cluster, "n3") as new, cluster[0].channel() as channel:
        kv.put(channel, b"k", b"v")
        new_id = members.let_in(cluster[0], new, learner=True)

        def reads():
            try:
                with new.channel() as own:
                    return kv.get(own, b"k", serializable=True) == b"v" and kv.Status(own).leader
            except h2c.CallFailed:
                return False

        members.wait_until(lambda: reads() and new_id in members.members(cluster[0]), "the learner has the data")
        members.wait_until(lambda: members.members(cluster[0])[new_id].name == "n3", "the learner has published itself")
        with new.channel() as own:
            for call in (lambda: kv.get(own, b"k"), lambda: kv.put(own, b"k", b"w"), lambda: members.members(new)):
                with pytest.raises(h2c.CallFailed):
                    call()


def test_what_is_left_goes_on_alone(cluster):
    """Two of three are lost for good: with --force-new-cluster the third one is a cluster, with its data, and grows again."""
    with Writers(list(cluster), b"force/") as writers:
        writers.wait_for_more(200)
    left = cluster.followers()[0]
    ids = {node: members.id_of(node) for node in cluster}
    for node in cluster:
        node.wait_ready()  # all have all
    with left.channel() as channel:
        status = kv.Status(channel)
    for node in cluster:
        node.kill9()
    left.flags.append("--force-new-cluster")
    left.start()
    left.flags.remove("--force-new-cluster")
    writers.check([left])
    assert list(members.members(left)) == [status.member_id] == [ids[left]]
    with left.channel() as channel:
        kv.put(channel, b"k", b"v")
    # It stays so, and the others are out.
    left.kill9()
    left.start()
    for node in cluster:
        if node is not left:
            node.start(wait=False)
            assert members.wait_ended(node) == 0
            assert REMOVED in node.log_path.read_text()
    with joiner(cluster, "n3") as new:
        new.flags = [flag for flag in left.flags]
        members.let_in(left, new)
        new.wait_ready()
        writers.check([left, new])
        with new.channel() as channel:
            assert kv.get(channel, b"k") == b"v"
