# SPDX-License-Identifier: Apache-2.0
"""Some members reach each other and some do not: there is a leader all the same whenever one of them reaches a quorum, and it stays.

The three graphs are those of the Omni-Paxos paper (EuroSys 2023, section 2); and cuts that let packets through one way only.
"""

import re
import time

import h2c
import kv
import pytest
from conftest import rounds
from writers import Writers

ELECTION_SECONDS = 1  # raftd's default
LEADER_SECONDS = 4 * ELECTION_SECONDS
SLACK_SECONDS = 1  # until a test has seen it, on a machine that does other things as well
CALL_SECONDS = 20


def both_ways(*pairs):
    return {way for a, b in pairs for way in ((a, b), (b, a))}


EVERY_WAY = both_ways(*((a, b) for a in range(5) for b in range(a)))


def connect(net, ways):
    """Packets go the ways (from, to), pairs of numbers of hosts, and no others."""
    net.drop((net.hosts[a], net.hosts[b]) for a, b in EVERY_WAY - ways)


def star(hub, others):
    return both_ways(*((hub, other) for other in others))


def can_write(node):
    """A write is acknowledged. One that waits for a leader has waited in vain before; so each try is short."""
    try:
        with node.channel(0.3) as channel:
            kv.put(channel, b"works", b"v")
        return True
    except h2c.CallFailed:
        return False


def seconds_until_it_works(node):
    begun = time.monotonic()
    while not can_write(node):
        assert time.monotonic() < begun + LEADER_SECONDS + SLACK_SECONDS, f"no leader after {LEADER_SECONDS} s{node.log_tail(30)}"
    return time.monotonic() - begun


def term_of(node):
    return max(map(int, re.findall(r"role changed role=\S+ term=(\d+)", node.log_path.read_text(errors="replace"))))


def check_it_stays(nodes):
    """Once the nodes know of one term: no other leader for several election timeouts, and writes go on."""
    end = time.monotonic() + LEADER_SECONDS
    while len({term_of(node) for node in nodes}) > 1:
        assert time.monotonic() < end, f"terms {[term_of(node) for node in nodes]}"
        time.sleep(0.05)
    before = [term_of(node) for node in nodes]
    with Writers(nodes[:1], b"stays/%d/" % time.monotonic_ns(), count=2) as writers:
        end = time.monotonic() + 5 * ELECTION_SECONDS
        while time.monotonic() < end:
            writers.wait_for_more(1, ELECTION_SECONDS)
    assert [term_of(node) for node in nodes] == before, "leaders come and go"
    assert writers.failures == []
    return writers


def heal_and_check(cluster, net, *all_writers):
    connect(net, EVERY_WAY)
    cluster.wait_ready()
    for writers in all_writers:
        writers.check(cluster)
    assert len(kv.hashes(cluster, CALL_SECONDS)) == 1


def numbers(cluster):
    """(of the leader, of the others)"""
    leader = cluster.nodes.index(cluster.leader())
    return leader, [i for i in range(5) if i != leader]


def test_quorum_loss(network_of_five):
    """Everybody reaches the hub and nobody else: the leader lives, and has no quorum any more."""
    cluster, net = network_of_five
    for _ in range(rounds(2)):
        leader, (hub, *others) = numbers(cluster)
        connect(net, star(hub, [leader, *others]))
        seconds_until_it_works(cluster[hub])
        writers = check_it_stays([cluster[hub], *(cluster[i] for i in others)])
        heal_and_check(cluster, net, writers)


def test_constrained_election(network_of_five):
    """The leader is gone. Who reaches a quorum lacks what was written last; who has that reaches the hub alone."""
    cluster, net = network_of_five
    for _ in range(rounds(2)):
        leader, (hub, *others) = numbers(cluster)
        connect(net, EVERY_WAY - both_ways((leader, hub)))
        with Writers([cluster[leader]], b"behind/%d/" % time.monotonic_ns(), count=2) as behind:
            behind.wait_for_more(200)
        connect(net, star(hub, others))
        seconds_until_it_works(cluster[hub])
        assert cluster[hub].is_leader()
        writers = check_it_stays([cluster[hub], *(cluster[i] for i in others)])
        heal_and_check(cluster, net, behind, writers)


def test_chain(network_of_five):
    """Each reaches its neighbours, and one end leads: the three in the middle reach a quorum."""
    cluster, net = network_of_five
    for _ in range(rounds(2)):
        leader, (second, third, fourth, fifth) = numbers(cluster)
        connect(net, both_ways((leader, second), (second, third), (third, fourth), (fourth, fifth)))
        seconds_until_it_works(cluster[third])
        writers = check_it_stays([cluster[third], cluster[second], cluster[fourth]])
        heal_and_check(cluster, net, writers)


@pytest.mark.parametrize("direction", ["deaf", "mute"])
def test_one_way(network_of_five, direction):
    """A leader that hears nobody, or that nobody hears: another leads, and the old one does not disturb."""
    cluster, net = network_of_five
    leader, others = numbers(cluster)
    cut = {(i, leader) for i in others} if direction == "deaf" else {(leader, i) for i in others}
    connect(net, EVERY_WAY - cut)
    seconds_until_it_works(cluster[others[0]])
    writers = check_it_stays([cluster[i] for i in others])
    assert not cluster[leader].is_leader()
    heal_and_check(cluster, net, writers)
