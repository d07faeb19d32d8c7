# SPDX-License-Identifier: Apache-2.0
"""A snapshot that is interrupted again and again, anywhere and by anything, ends in a healthy member, while writes go on.

On demand in earnest, with the figures that it prints at its end:

    RAFTFS_SNAPSHOT_BYTES=1073741824 RAFTFS_ROUNDS=50 tests/run-pytest -s tests/cluster/test_interrupted_snapshot.py
"""

import contextlib
import os
import random
import shutil
import statistics
import threading
import time

import bulk
import kv
import members
import network
import pytest
import servers
from conftest import rounds
from writers import Writers

BYTES = int(os.environ.get("RAFTFS_SNAPSHOT_BYTES", 32 << 20))
IN_EARNEST = BYTES >= 256 << 20
VALUE_BYTES = 4096
# Less of a log and smaller segments, so that a small store is a snapshot of many pieces.
FLAGS = [] if IN_EARNEST else ["--snapshot-count=200", "--snapshot-catchup-entries=500", f"--memtable-bytes={1 << 20}"]
ENTRIES_KEPT = 15000 if IN_EARNEST else 700
CUTS_MAX = 10 if IN_EARNEST else 3  # of one transfer
DEADLINE = 600 if IN_EARNEST else 120
RATE_SECONDS = 5 if IN_EARNEST else 0.5
WRITES_AGAIN = 100  # acknowledged after an interruption: whoever lost the leader has found the next one
RATE_BESIDE_MIN = 0.5  # of writes while a snapshot is on its way, of those before; too short to be measured when not in earnest


@pytest.fixture
def cluster(raftd, tmp_path):
    """With cables to pull, where that can be."""
    if network.why_not():
        with servers.Cluster(raftd, 3, tmp_path, FLAGS) as cluster:
            yield cluster
        return
    with network.Network(3) as net, servers.Cluster(raftd, 3, tmp_path, FLAGS, hosts=net.hosts) as cluster:
        yield cluster


def pairs(count):
    noise = random.randbytes(1 << 20)
    for i in range(count):
        at = i * 7919 % (len(noise) - VALUE_BYTES)
        yield b"fill/%08d" % i, noise[at : at + VALUE_BYTES]


def copy_file(source, target):
    """Segments are written once and never changed."""
    if source.endswith((".tdb", ".keys")):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def copy_dir(source, target):
    shutil.copytree(source, target, copy_function=copy_file)


def prepare(cluster, base):
    """All of the bytes on two members, the third without any of them; as directories that every round begins with."""
    behind = cluster.followers()[0]
    others = [node for node in cluster if node is not behind]
    behind.kill9()
    bulk.load(cluster.leader(), pairs(BYTES // VALUE_BYTES))
    with Writers(others, b"log/") as writers:  # by number, too, it is past what the log keeps
        writers.wait_for_more(2 * ENTRIES_KEPT, DEADLINE)
    cluster.wait_ready(others, DEADLINE)
    cluster.stop()
    for node in cluster:
        copy_dir(node.data_dir, base / node.name)
    return behind, others


def restore(cluster, base, others):
    for node in cluster:
        node.close()
        node.wipe()
        copy_dir(base / node.name, node.data_dir)
    for node in others:
        node.start(wait=False)
    cluster.wait_ready(others, DEADLINE)


def stores(node):
    return sorted(name for name in os.listdir(node.data_dir / "member") if name.startswith("store"))


def received(node):
    """Bytes of what is on its way to become the store."""
    return servers.bytes_in(node.data_dir / "member" / "store.1")


def has_installed(node):
    return (node.data_dir / "member" / "current").exists()


def count_in_log(node, text):
    return node.log_path.read_text(errors="replace").count(text)


class Watcher(threading.Thread):
    """Memory of all members, at most."""

    def __init__(self, nodes):
        super().__init__(daemon=True)
        self.nodes, self.over, self.peaks = nodes, threading.Event(), {node.name: 0 for node in nodes}
        self.start()

    def run(self):
        while not self.over.wait(0.1):
            for node in self.nodes:
                try:
                    self.peaks[node.name] = max(self.peaks[node.name], node.rss_bytes())
                except (OSError, TypeError):
                    pass  # it was just killed

    def stop(self):
        self.over.set()
        self.join()


def interrupt(cluster, behind):
    """One of the things that happen to one of the two sides. Returns what it was."""
    ways = ["kill", "stop"] + (["cut"] if behind.host else [])
    way, side = random.choice(ways), random.choice(["receiver", "sender"])
    node = behind if side == "receiver" else cluster.leader(DEADLINE)
    seconds = random.random() * 3  # from a hiccup to longer than anybody waits
    if way == "kill":
        node.kill9()
        time.sleep(seconds / 3)
        node.start(wait=False)
    elif way == "stop":
        node.pause()
        time.sleep(seconds)
        node.resume()
    else:
        node.host.cut()
        time.sleep(seconds)
        node.host.heal()
    return f"{way} {side}"


class Meter:
    """Writes a second, but for the time in which something else than a snapshot keeps them from being acknowledged."""

    def __init__(self, writers):
        self._writers = writers
        self._count, self._seconds = 0, 0.0
        self.go_on()

    def go_on(self):
        self._count_then, self._then = self._writers.count(), time.monotonic()

    def pause(self):
        self._count += self._writers.count() - self._count_then
        self._seconds += time.monotonic() - self._then

    def rate(self):
        return self._count / max(self._seconds, 0.001)


def rate(writers, seconds):
    meter = Meter(writers)
    time.sleep(seconds)
    meter.pause()
    return meter.rate()


def transfer(cluster, behind, writers, cuts):
    """
    From the start of the member that lacks everything until it is healthy. Returns what interrupted it, seconds, and writes a second
    while it went on: a leader that is stopped, killed or cut off costs what it costs without a snapshot.
    """
    points = sorted(random.random() * BYTES for _ in range(cuts))
    done, begin, meter = [], time.monotonic(), Meter(writers)
    behind.start(wait=False)
    while not has_installed(behind):
        assert time.monotonic() < begin + DEADLINE, "no snapshot was installed" + "".join(node.log_tail(30) for node in cluster)
        if points and received(behind) >= points[0]:
            points.pop(0)
            meter.pause()
            done.append(interrupt(cluster, behind))
            writers.wait_for_more(WRITES_AGAIN, DEADLINE)
            meter.go_on()
        time.sleep(0.01)
    meter.pause()
    behind.wait_ready(DEADLINE)
    return done, time.monotonic() - begin, meter.rate()


def wait_for_one_store(node):
    deadline = time.monotonic() + DEADLINE
    while stores(node) != ["store.1"]:
        assert time.monotonic() < deadline, f"left over: {stores(node)}"
        time.sleep(0.05)


def hash_at(node, revision):
    with node.channel(DEADLINE) as channel:
        kv.revision(channel)  # up to date
        return kv.hash_of(channel, revision)


def check_healthy(cluster, behind, writers):
    cluster.wait_ready(seconds=DEADLINE)
    writers.check(cluster)
    with cluster[0].channel(DEADLINE) as channel:
        revision = kv.revision(channel)
    hashes = {node.name: hash_at(node, revision) for node in cluster}
    assert len(set(hashes.values())) == 1, f"members differ: {hashes}"
    wait_for_one_store(behind)


def test_interrupted_at_random_points_it_ends_in_a_healthy_member(cluster, tmp_path):
    wanted, interruptions, times, shares = rounds(4), [], [], []
    behind, others = prepare(cluster, tmp_path / "base")
    watcher = Watcher(list(cluster))
    while len(interruptions) < wanted:
        restore(cluster, tmp_path / "base", others)
        with Writers(others, b"round/%d/" % len(interruptions)) as writers:
            alone = rate(writers, RATE_SECONDS)
            cuts = random.randint(1, min(CUTS_MAX, wanted - len(interruptions))) if times else 0  # the first one is left alone
            done, seconds, beside = transfer(cluster, behind, writers, cuts)
            writers.wait_for_more(20, DEADLINE)
        check_healthy(cluster, behind, writers)
        interruptions += done
        times.append(seconds)
        shares.append(beside / max(alone, 1))
        print(f"{len(interruptions):3} {seconds:6.1f} s, writes/s {alone:.0f} before, {beside:.0f} meanwhile; {', '.join(done) or 'not interrupted'}", flush=True)
    watcher.stop()
    times.sort()
    print(f"{len(interruptions)} interruptions of {len(times)} transfers of {BYTES >> 20} MiB: {times[len(times) // 2]:.1f} s at the median, "
          f"{times[-1]:.1f} s at most; writes meanwhile at {statistics.median(shares):.0%} of before at the median, {min(shares):.0%} at least; memory at most "
          + ", ".join(f"{name}{' (receiver)' if name == behind.name else ''} {peak >> 20} MiB" for name, peak in watcher.peaks.items()))
    assert min(shares) >= RATE_BESIDE_MIN or not IN_EARNEST, f"a snapshot leaves {min(shares):.0%} of the writes"


def kill_in_the_second_half(behind):
    """Started, it receives most of the snapshot and no more."""
    behind.start(wait=False)
    deadline = time.monotonic() + DEADLINE
    while received(behind) < BYTES * 2 // 3:
        assert time.monotonic() < deadline, behind.log_tail(30)
        time.sleep(0.002)
    behind.kill9()


def test_what_was_received_is_not_sent_again(cluster, tmp_path):
    """Killed in the second half: what is on its disk counts, so the rest takes less than the whole did."""
    behind, others = prepare(cluster, tmp_path / "base")
    restore(cluster, tmp_path / "base", others)
    kill_in_the_second_half(behind)
    held = {name: os.stat(behind.data_dir / "member" / "store.1" / name).st_ino
            for name in os.listdir(behind.data_dir / "member" / "store.1") if name.endswith(".tdb")}
    assert len(held) > 3 and not has_installed(behind), "it was over before it was killed"
    behind.start(wait=False)
    cluster.wait_ready(seconds=DEADLINE)
    wait_for_one_store(behind)
    now = {name: os.stat(behind.data_dir / "member" / "store.1" / name).st_ino for name in held}
    assert now == held, "segments that were there were made anew"


def test_what_was_received_of_a_lost_cluster_is_no_part_of_the_new_one(raftd, tmp_path):
    """
    The two that have all are lost for good while the third one is receiving it. It goes on alone and later needs a snapshot of what
    was written since: behind records of the old history that would not be the same store.
    """
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(servers.Cluster(raftd, 3, tmp_path, FLAGS))
        left, others = prepare(cluster, tmp_path / "base")
        restore(cluster, tmp_path / "base", others)
        kill_in_the_second_half(left)
        assert "store.1" in stores(left) and not has_installed(left), "it was over before it was killed"
        for node in others:
            node.kill9()
        left.flags.append("--force-new-cluster")
        left.start()
        left.flags.remove("--force-new-cluster")
        joined = [members.joiner(cluster, name) for name in ("n3", "n4")]
        for node in joined:
            stack.callback(node.close)
            node.flags = list(left.flags)
            members.let_in(left, node)
            node.wait_ready()
        left.kill9()
        with Writers(joined, b"new/") as writers:
            writers.wait_for_more(2 * ENTRIES_KEPT, DEADLINE)
        left.start()
        members.wait_until(lambda: has_installed(left), "a snapshot", DEADLINE)
        left.wait_ready()
        writers.check([left, *joined])
        with left.channel(DEADLINE) as channel:
            revision = kv.revision(channel)
            assert not kv.scan(channel, b"fill/"), "keys that nobody has written"
        assert len({hash_at(node, revision) for node in [left, *joined]}) == 1, "members differ"
