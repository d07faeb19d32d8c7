# SPDX-License-Identifier: Apache-2.0
"""kill -9 at any moment loses nothing that was acknowledged, and a leader is found soon."""

import random
import time

import h2c
import kv
from conftest import ROUNDS_ASKED, rounds
from writers import Writers

ELECTION_SECONDS = 1.0  # --election-timeout's default
LEADER_SECONDS_MAX = 3 * ELECTION_SECONDS
POLL_SECONDS = 0.01


def wait_new_leader(nodes, old_id):
    """Until one of the nodes leads: (it, seconds it took, of these lost because this machine did not let us look)."""
    begin = looked = time.monotonic()
    blind = 0.0
    while True:
        for node in nodes:
            try:
                with node.channel(1) as channel:
                    status = kv.Status(channel)
            except h2c.CallFailed:
                continue
            if status.leader == status.member_id != old_id:
                return node, time.monotonic() - begin, blind
        now = time.monotonic()
        assert now - begin < 20, "no new leader" + "".join(node.log_tail() for node in nodes)
        blind += max(0.0, now - looked - 0.1)
        looked = now
        time.sleep(POLL_SECONDS)


def member_id(node):
    with node.channel() as channel:
        return kv.Status(channel).member_id


def test_kill_the_leader_under_writes(cluster):
    took = []
    for i in range(rounds(4)):
        with Writers(list(cluster), b"leader/%d/" % i) as writers:
            writers.wait_for_more(50)
            leader = cluster.leader()
            leader_id = member_id(leader)
            others = [node for node in cluster if node is not leader]
            leader.kill9()
            _, seconds, blind = wait_new_leader(others, leader_id)
            took.append(seconds - blind)
            writers.wait_for_more(50)
        for node in cluster:
            node.kill9()
        cluster.start()
        writers.check(cluster)
    took.sort()
    print(f"new leader after: median {took[len(took) // 2]:.2f} s, longest {took[-1]:.2f} s, of {len(took)}: {[round(t, 2) for t in took]}")
    # A loaded machine may steal more than it shows; the promise itself is checked when it was asked for.
    assert not ROUNDS_ASKED or took[-1] <= LEADER_SECONDS_MAX, took


def test_kill_all_under_writes(cluster):
    for i in range(rounds(4)):
        with Writers(list(cluster), b"all/%d/" % i) as writers:
            writers.wait_for_more(100 + random.randrange(200))
            for node in cluster:
                node.process.kill()
            for node in cluster:
                node.kill9()
            cluster.start()
            writers.wait_for_more(10)
        writers.check(cluster)


def test_kill_a_lone_member_under_writes(node):
    for i in range(rounds(8)):
        with Writers([node], b"lone/%d/" % i) as writers:
            writers.wait_for_more(1)
            time.sleep(random.random() * 0.2)
            node.kill9()
            node.start()
            writers.wait_for_more(1)
        writers.check([node])


def test_kill_while_starting(node):
    """Whatever a start had done when it was killed, the next one goes on from it."""
    with Writers([node], b"start/") as writers:
        writers.wait_for_more(300)
    node.kill9()
    for _ in range(rounds(20)):
        node.start(wait=False)
        time.sleep(random.random() * 0.06)
        node.kill9()
    node.start()
    writers.check([node])


def test_kill_a_follower_under_writes(cluster):
    for i in range(rounds(2)):
        with Writers(list(cluster), b"follower/%d/" % i) as writers:
            writers.wait_for_more(50)
            follower = cluster.followers()[i % 2]
            follower.kill9()
            writers.wait_for_more(50)
            follower.start()
            writers.wait_for_more(50)
        writers.check(cluster)


def test_restart_each_in_turn_under_writes(cluster):
    """As an upgrade does: SIGTERM, status 0 although clients are at it, start again, the next."""
    with Writers(list(cluster), b"rolling/") as writers:
        for node in cluster:
            writers.wait_for_more(50)
            assert node.stop() == 0
            node.start()
    writers.check(cluster)
