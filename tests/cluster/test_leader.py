# SPDX-License-Identifier: Apache-2.0
"""Leadership that is given away, and not lost: nobody waits for an election."""

import time

import h2c
import kv
import pytest
import servers
from conftest import rounds
from h2raw import RawConnection
from writers import Writers

# So long that nobody is elected because a loaded machine lets members wait, and a transfer has all the time it needs.
PATIENT = ["--election-timeout=3000"]
MOVE_LEADER = "/etcdserverpb.Maintenance/MoveLeader"
UNKNOWN, FAILED_PRECONDITION = 2, 9
CALL_SECONDS = 20


@pytest.fixture
def cluster(raftd, tmp_path):
    with servers.Cluster(raftd, 3, tmp_path, PATIENT) as cluster:
        yield cluster


def move(node, target):
    with RawConnection(node.client_port, timeout_seconds=CALL_SECONDS) as raw:
        return raw.call(MOVE_LEADER, h2c.field(1, target))


def log_of(node, since=0):
    return node.log_path.read_text(errors="replace")[since:]


def test_it_moves_to_whom_it_is_told_and_writes_go_on(cluster):
    with Writers(list(cluster), b"move/") as writers:
        for _ in range(rounds(4)):
            writers.wait_for_more(20)
            old = cluster.leader()
            heir = next(node for node in cluster if node is not old)
            since = len(log_of(heir))
            answer = move(old, heir.ids()[0])
            assert (answer.code, answer.body) == (0, b"\0\0\0\0\0")
            # It is so when the answer is there, and came without an election that anybody had to wait for.
            assert old.ids()[1] == heir.ids()[0]
            assert "role=pre-candidate" not in log_of(heir, since)
            writers.wait_for_more(20)
    writers.check(cluster)


def test_refusals(cluster):
    leader = cluster.leader()
    follower = cluster.followers()[0]
    for node, target, text in (
        (follower, follower.ids()[0], "etcdserver: not leader"),
        (follower, 1, "etcdserver: not leader"),
        (leader, 1, "etcdserver: bad leader transferee"),
        (leader, 0, "etcdserver: bad leader transferee"),
    ):
        answer = move(node, target)
        assert (answer.code, answer.text) == (FAILED_PRECONDITION, text)
    assert move(leader, leader.ids()[0]).code == 0
    assert cluster.leader() is leader


def test_one_that_does_not_take_it_is_given_up(cluster):
    leader, heir = cluster.leader(), cluster.followers()[0]
    target = heir.ids()[0]
    heir.pause()
    begun = time.monotonic()
    answer = move(leader, target)
    assert (answer.code, answer.text) == (UNKNOWN, "etcdserver: request timed out, leader transfer took too long")
    assert time.monotonic() - begun < CALL_SECONDS / 2
    with leader.channel(CALL_SECONDS) as channel:
        kv.put(channel, b"k", b"v")
    heir.resume()
    cluster.wait_ready()


def test_a_leader_that_is_stopped_hands_over_first(cluster):
    for i in range(rounds(3)):
        old = cluster.leader()
        others = [node for node in cluster if node is not old]
        with Writers(others, b"stop/%d/" % i) as writers:
            writers.wait_for_more(50)
            marks = {node: len(log_of(node)) for node in cluster}
            assert old.stop() == 0
            new = cluster.leader()
            writers.wait_for_more(50)
        assert "leadership was handed over" in log_of(old, marks[old])
        assert "role=leader" in log_of(new, marks[new])
        # Nobody had to find out by waiting: who leads now was told to, and clients of those who stayed noticed nothing.
        for node in others:
            assert "role=pre-candidate" not in log_of(node, marks[node]), node.log_tail()
        assert writers.failures == [], writers.failures
        old.start(wait=False)
        cluster.wait_ready()
        writers.check(cluster)


def test_with_nobody_to_hand_over_to_a_leader_stops_all_the_same(cluster):
    leader, followers = cluster.leader(), cluster.followers()
    for node in followers:
        node.pause()
    assert leader.stop() == 0
    for node in followers:
        node.resume()
    cluster.wait_ready(followers)
