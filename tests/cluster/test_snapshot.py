# SPDX-License-Identifier: Apache-2.0
"""A member that was away for longer than the log reaches back gets a snapshot, while writes go on, whatever is killed meanwhile."""

import os
import pathlib
import random
import threading
import time

import h2c
import kv
import network
import pytest
import servers
from conftest import rounds
from writers import Writers

COUNT, CATCHUP, MEMTABLE = 100, 50, 1 << 20
FLAGS = [f"--snapshot-count={COUNT}", f"--snapshot-catchup-entries={CATCHUP}", f"--memtable-bytes={MEMTABLE}"]
PAST_THE_LOG = 4 * (COUNT + CATCHUP)  # entries
WAL_SEGMENT = 16 << 20
DEADLINE = 120  # seconds, for what takes a moment on a machine that is not loaded
PUT = "/etcdserverpb.KV/Put"
WATCH = "/etcdserverpb.Watch/Watch"


@pytest.fixture
def cluster(raftd, tmp_path):
    with servers.Cluster(raftd, 3, tmp_path, FLAGS) as cluster:
        yield cluster


@pytest.fixture
def split_cluster(raftd, tmp_path):
    """On hosts whose cables can be pulled."""
    reason = network.why_not()
    if reason:
        pytest.skip(reason)
    with network.Network(3) as net, servers.Cluster(raftd, 3, tmp_path, FLAGS, hosts=net.hosts) as cluster:
        yield cluster


def wait_for(condition, what, cluster):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {DEADLINE} s" + "".join(n.log_tail() for n in cluster)
        time.sleep(0.01)


def count_in_log(node, text):
    return node.log_path.read_text(errors="replace").count(text)


def fill(node, megabytes, value_bytes=64 << 10):
    """Values that do not compress into anything, one key each."""
    with node.channel(DEADLINE) as channel:
        for i in range(megabytes * (1 << 20) // value_bytes):
            channel.call(PUT, kv.put_message(b"fill/%06d" % i, random.randbytes(value_bytes)))


def history(node, prefix, revisions):
    """What all keys of the prefix were at each of the revisions, once the node is up to date."""
    with node.channel(DEADLINE) as channel:
        channel.call(servers.RANGE, h2c.field(1, b"x"))
        return [list(map(bytes, kv.pages(channel, prefix, revision, True))) for revision in revisions]


def check_equal(cluster, prefix):
    """All members answer the same, byte for byte, at revisions from the first to the last."""
    with cluster[0].channel(DEADLINE) as channel:
        last = kv.revision_of(h2c.parse(channel.call(servers.RANGE, h2c.field(1, b"x"))))
    revisions = sorted({2, last} | {random.randrange(2, last + 1) for _ in range(8)})
    first, *others = [history(node, prefix, revisions) for node in cluster]
    assert any(first), "nothing was compared"
    for node, found in zip(list(cluster)[1:], others):
        assert found == first, f"{node.name} differs"


def fall_behind(node, writers):
    """Kill it, and let the others write until their log does not reach back to it."""
    node.kill9()
    writers.wait_for_more(PAST_THE_LOG, DEADLINE)


def lead_with(cluster, node):
    """Kill whoever leads instead, until it does."""
    for _ in range(30):
        leader = cluster.leader()
        if leader is node:
            return
        leader.kill9()
        cluster.leader()
        leader.start(wait=False)
        cluster.wait_ready()
    pytest.fail(f"{node.name} was not elected in 30 elections")


def test_a_member_that_was_away_catches_up_while_writes_go_on_and_can_lead(cluster):
    behind = cluster.followers()[0]
    with Writers([node for node in cluster if node is not behind], b"away/") as writers:
        fall_behind(behind, writers)
        behind.start(wait=False)
        wait_for(lambda: count_in_log(behind, "snapshot installed"), "an installation", cluster)
        writers.wait_for_more(PAST_THE_LOG, DEADLINE)
    behind.wait_ready(DEADLINE)
    writers.check(cluster)
    check_equal(cluster, b"away/")
    # It kept up with the log from there on: one snapshot was enough, or the log had gone on too far before it was in place.
    assert count_in_log(behind, "snapshot installed") <= 2, behind.log_tail(50)
    lead_with(cluster, behind)
    with Writers(list(cluster), b"after/") as more:
        more.wait_for_more(50, DEADLINE)
    writers.check(cluster)
    more.check(cluster)
    # And what was installed is what it starts from.
    behind.stop()
    behind.start(wait=False)
    cluster.wait_ready()
    writers.check(cluster)


@pytest.mark.parametrize("victim", ["receiver", "sender"])
def test_kill_in_the_middle_of_a_transfer(cluster, victim):
    fill(cluster.leader(), 24)
    for i in range(rounds(3)):
        behind = random.choice(cluster.followers())
        others = [node for node in cluster if node is not behind]
        with Writers(others, b"kill/%d/" % i) as writers:
            fall_behind(behind, writers)
            begun = count_in_log(behind, "snapshot receiving")
            behind.start(wait=False)
            wait_for(lambda: count_in_log(behind, "snapshot receiving") > begun, "a transfer", cluster)
            time.sleep(random.random() * 0.4)  # a transfer of so much takes about as long
            killed = behind if victim == "receiver" else cluster.leader()
            killed.kill9()
            time.sleep(random.random() * 0.5)
            killed.start(wait=False)
            cluster.wait_ready(seconds=DEADLINE)
            writers.wait_for_more(20, DEADLINE)
        cluster.wait_ready(seconds=DEADLINE)
        writers.check(cluster)
    for node in cluster:
        stores = [name for name in os.listdir(node.data_dir / "member") if name.startswith("store")]
        wait_for(lambda n=node: len([s for s in os.listdir(n.data_dir / "member") if s.startswith("store")]) == 1,
                 f"removal of all stores but one of {stores}", cluster)
    check_equal(cluster, b"kill/")
    check_equal(cluster, b"fill/0000")


@pytest.mark.parametrize("victim", ["receiver", "sender"])
def test_cut_off_in_the_middle_of_a_transfer(split_cluster, victim):
    """Nothing is refused or closed: what was sent is just not answered any more."""
    cluster = split_cluster
    fill(cluster.leader(), 24)
    for i in range(rounds(2)):
        behind = random.choice(cluster.followers())
        with Writers([node for node in cluster if node is not behind], b"cut/%d/" % i) as writers:
            fall_behind(behind, writers)
            begun = count_in_log(behind, "snapshot receiving")
            behind.start(wait=False)
            wait_for(lambda: count_in_log(behind, "snapshot receiving") > begun, "a transfer", cluster)
            time.sleep(random.random() * 0.2)
            cut = behind if victim == "receiver" else cluster.leader()
            cut.host.cut()
            time.sleep(random.random() * 4)  # from a hiccup to longer than anybody waits
            cut.host.heal()
            cluster.wait_ready(seconds=DEADLINE)
            writers.wait_for_more(20, DEADLINE)
        writers.check(cluster)
    check_equal(cluster, b"cut/")
    check_equal(cluster, b"fill/000123")


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_memory_and_log_are_bounded_while_a_member_is_away(raftd, cluster, how):
    """A member that was stopped holds its connections: what is under way to it counts until the others give it up."""
    away = cluster.followers()[0]
    if how == "killed":
        away.kill9()
    else:
        away.pause()
    value, window = 64 << 10, (COUNT + CATCHUP) * (64 << 10)
    program = pathlib.Path(raftd).read_bytes()
    sanitized = b"__asan_" in program or b"__tsan_" in program  # they keep what is freed: their memory says nothing of what is held
    fill(cluster.leader(), 40, value)
    before = {node: node.rss_bytes() for node in cluster.running()}
    fill(cluster.leader(), 160, value)
    # In segments: the window and what is not sealed yet, twice each for what comes while one is written; the one that is written
    # to, the next, and one that is being let go.
    segments = 2 * (window + 2 * MEMTABLE) // WAL_SEGMENT + 1 + 3
    for node in cluster.running():
        held = servers.bytes_in(node.data_dir / "member" / "wal")
        assert held <= segments * WAL_SEGMENT, f"{node.name}: {held >> 20} MiB of log"
        grown = node.rss_bytes() - before[node]
        print(f"{node.name} grew by {grown >> 20} MiB")
        assert sanitized or grown <= 80 << 20, f"{node.name} grew by {grown >> 20} MiB"
    if how == "killed":
        away.start(wait=False)
    else:
        away.resume()
    cluster.wait_ready(seconds=DEADLINE)
    check_equal(cluster, b"fill/0000")


class Watcher(h2c.Channel, threading.Thread):
    """Every event under a prefix, from revision 2 on: (mod revision, key), in the order they came."""

    def __init__(self, node, prefix):
        threading.Thread.__init__(self, daemon=True)
        h2c.Channel.__init__(self, "127.0.0.1", node.client_port, DEADLINE)
        create = h2c.field(1, h2c.field(1, prefix) + h2c.field(2, kv.prefix_end(prefix)) + h2c.field(3, 2))
        self.events, self.failure = [], None
        self.open(WATCH, create)
        self.start()

    def run(self):
        try:
            while True:
                for event in self.message().get(11, []):
                    one = h2c.parse(h2c.parse(event)[2][0])
                    self.events.append((one[3][0], one[1][0]))
        except (h2c.CallFailed, OSError) as failure:
            self.failure = failure


def test_a_watch_on_the_member_misses_nothing_and_never_goes_back(cluster):
    """The member is stopped, not killed: its clients stay connected while its store is replaced."""
    behind = cluster.followers()[0]
    writers_at = [node for node in cluster if node is not behind]
    with Writers(writers_at, b"watched/") as writers:
        watcher = Watcher(behind, b"watched/")
        writers.wait_for_more(50, DEADLINE)
        behind.pause()
        time.sleep(3)  # until the others have given up the connection: what was in it is not delivered any more
        writers.wait_for_more(PAST_THE_LOG, DEADLINE)
        behind.resume()
        wait_for(lambda: count_in_log(behind, "snapshot installed"), "an installation", cluster)
        writers.wait_for_more(50, DEADLINE)
    wait_for(lambda: watcher.failure or len(watcher.events) >= len(writers.acknowledged), "the last event", cluster)
    assert watcher.failure is None
    seen = list(watcher.events)
    assert seen == sorted(seen) and len(set(seen)) == len(seen), "events out of order or twice"
    assert {(revision, key) for key, (_, revision) in writers.acknowledged.items()} <= set(seen)
    watcher.close()
    writers.check(cluster)
