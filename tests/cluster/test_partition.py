# SPDX-License-Identifier: Apache-2.0
"""A member that is cut off, or stopped for a while, answers old or not at all, never stale as new."""

import os
import time

import h2c
import kv
import pytest
import servers
from conftest import REQUEST_SECONDS, refused_in_time, rounds
from writers import Writers

@pytest.mark.parametrize("who", ["leader", "follower"])
def test_cut_off_member(split_cluster, who):
    cluster = split_cluster
    with cluster[0].channel() as channel:
        kv.put(channel, b"k", b"old")
    for node in cluster:
        with node.channel() as channel:
            assert kv.get(channel, b"k") == b"old"
    victim = cluster.leader() if who == "leader" else cluster.followers()[0]
    others = [node for node in cluster if node is not victim]
    victim.host.cut()
    cluster.wait_ready(others)
    with others[0].channel(20) as channel:
        kv.put(channel, b"k", b"new")
    with victim.channel() as channel:
        assert kv.get(channel, b"k", serializable=True) == b"old"
    took = refused_in_time(victim, (kv.RANGE, kv.get_message(b"k")), (kv.PUT, kv.put_message(b"k", b"lost")))
    assert took >= 0.5 * REQUEST_SECONDS, "it gave up before its time"
    victim.host.heal()
    victim.wait_ready()
    for node in cluster:
        with node.channel(20) as channel:
            assert kv.get(channel, b"k") == b"new"
    assert victim.is_running()


def test_cuts_under_writes(split_cluster):
    cluster = split_cluster
    with Writers(list(cluster), b"cuts/") as writers:
        for i in range(rounds(3)):
            writers.wait_for_more(50)
            victim = cluster.leader() if i % 2 == 0 else cluster.followers()[0]
            victim.host.cut()
            cluster.wait_ready([node for node in cluster if node is not victim])
            writers.wait_for_more(20)
            victim.host.heal()
            cluster.wait_ready()
    writers.check(cluster)


def test_cuts_do_not_pile_up_connections(split_cluster):
    cluster = split_cluster

    def descriptors():
        return [len(os.listdir(f"/proc/{node.pid}/fd")) for node in cluster]

    before = descriptors()
    for i in range(3):
        victim = cluster[i % 3]
        victim.host.cut()
        time.sleep(3)  # the dead connection is noticed, and redialled in vain
        victim.host.heal()
        cluster.wait_ready()
    deadline = time.monotonic() + servers.READY_SECONDS
    while any(now > was + 1 for now, was in zip(descriptors(), before)):
        assert time.monotonic() < deadline, f"descriptors before {before}, after three cuts {descriptors()}"
        time.sleep(0.2)


def test_a_stopped_leader_never_answers_stale(cluster):
    """Reads wait in its sockets when it wakes up: it believes to lead, and must not believe itself."""
    for i in range(rounds(3)):
        old = cluster.leader()
        waiting = [old.channel(20) for _ in range(8)]
        kv.put(waiting[0], b"k", b"old %d" % i)
        old.pause()
        for channel in waiting:
            channel.send(kv.RANGE, kv.get_message(b"k"))
        others = [node for node in cluster if node is not old]
        cluster.wait_ready(others)
        with others[0].channel() as channel:
            kv.put(channel, b"k", b"new %d" % i)
        old.resume()
        for channel in waiting:
            try:
                answer = kv.value_in(channel.receive())
            except h2c.CallFailed as error:
                assert "timed out" not in str(error)
            else:
                assert answer == b"new %d" % i
            channel.close()
        cluster.wait_ready()
