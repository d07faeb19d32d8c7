# SPDX-License-Identifier: Apache-2.0
"""The power goes while a snapshot is received and installed, and while memory becomes a segment: what stood on the disk is enough, and nobody else's
help is needed. And the order of the calls that make it so, which is there whether or not a cut would have told."""

import contextlib
import os
import random
import re
import time

import disks
import kv
import pytest
import servers
from conftest import rounds
from traced import Traced, whole_calls, why_not
from writers import Writers

FLAGS = ["--snapshot-count=100", "--snapshot-catchup-entries=50", "--memtable-bytes=1048576"]
PAST_THE_LOG = 1000  # writes
VALUE_BYTES = 4096
DISK_MIB = 1000  # a file with holes: what is not written takes no space
SECONDS = 60
SYNCING = ("fsync", "fdatasync", "rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir")


def wait_for(condition, what, node):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {SECONDS} s{node.log_tail()}"
        time.sleep(0.001)


def count_in_log(node, text):
    return node.log_path.read_text(errors="replace").count(text)


def cluster_with(raftd, tmp_path, kind):
    """Three members, the last one of another kind."""
    cluster = servers.Cluster(raftd, 3, tmp_path, FLAGS)
    plain = cluster.nodes[2]
    cluster.nodes[2] = kind(raftd, tmp_path, plain.name, FLAGS, peer_port=plain.peer_port)
    cluster.nodes[2].initial_cluster = plain.initial_cluster
    return cluster


def helped(node):
    """Damage heals by itself among three: then a cut would go unnoticed."""
    return node.files("**/*damaged*")


# ---- the order ----


def calls(trace):
    """(name, arguments, line of the begin, line of the end), in order of the ends; those that failed are none."""
    found = []
    for _, text, begin, end in whole_calls(trace):
        if done := re.match(r"(\w+)\((.*)\)\s+= 0$", text):
            found.append((done[1], done[2], begin, end))
    return found


def only(found, what):
    found = list(found)
    assert found, f"{what}: not seen"
    return found


def synced(found, path):
    """Where the syncs of this file end, and where they begin."""
    return [(end, begin) for name, args, begin, end in found if name in ("fsync", "fdatasync") and f"<{path}>" in args]


def renames(found, directory, suffix):
    """(old path, new path, begin, end) of what gets such a name in there."""
    for name, args, begin, end in found:
        if not name.startswith("rename"):
            continue
        names = re.findall(r'(?:<([^>]*)>, )?"([^"]*)"', args)
        old, new = (os.path.join(place, word) for place, word in names)
        if os.path.dirname(new) == str(directory) and new.endswith(suffix):
            yield old, new, begin, end


def check_segments(found, directory, before):
    """All of them have their bytes, then their names, and then whatever relies on them: begins at line `before`."""
    for old, new, begin, end in only(renames(found, directory, ".tdb"), f"segments in {directory}"):
        assert any(done < begin for done, _ in synced(found, old)), f"{new} got its name before it was synced"
        assert any(end < begun and done < before for done, begun in synced(found, directory)), f"the name of {new} was not synced"


@pytest.fixture
def traceable():
    if reason := why_not():
        pytest.skip(reason)


def test_all_is_synced_before_what_relies_on_it(raftd, tmp_path, traceable):
    with cluster_with(raftd, tmp_path, Traced) as cluster:
        behind, member = cluster[2], cluster[2].data_dir / "member"
        behind.kill9()
        with Writers(cluster.nodes[:2], b"k/", value_bytes=VALUE_BYTES) as writers:
            writers.wait_for_more(PAST_THE_LOG)
        behind.watched = SYNCING
        behind.start()
        wait_for(lambda: count_in_log(behind, "snapshot installed") == 1, "a snapshot", behind)
        with Writers([cluster[0]], b"l/", value_bytes=VALUE_BYTES) as writers:
            writers.wait_for_more(PAST_THE_LOG)  # and seals
        writers.check(cluster)
        behind.stop()
        found = calls(behind.trace())
    ((old, _, begin, end),) = list(renames(found, member, "current"))
    assert any(done < begin for done, _ in synced(found, old)), "current got its name before it was synced"
    whole = max(done for _, _, _, done in renames(found, member / "store.1", ".tdb") if done < begin)
    assert any(whole < begun and done < begin for done, begun in synced(found, member)), "current names a store before its own name is synced"
    check_segments([c for c in found if c[3] < begin], member / "store.1", begin)
    name_synced = min((done for done, begun in synced(found, member) if begun > end), default=None)
    assert name_synced, "the name of current was not synced"
    gone = only((c for c in found if c[0] in ("unlink", "unlinkat", "rmdir") and re.search(rf"{member}/store[>/\"]", c[1])), "the old store's end")
    assert all(begun > name_synced for _, _, begun, _ in gone), "the old store went before its successor was durable"
    # What the log was cut behind.
    assert sum(begun > end for _, _, begun, _ in renames(found, member / "store.1", ".tdb")) >= 2, "nothing was sealed"
    check_segments([c for c in found if c[2] > end], member / "store.1", len(behind.trace().splitlines()))


# ---- the cuts ----


def cut_while_receiving(disk, node, way):
    """At a random moment of a transfer, when the new store becomes current, or when it has."""
    begun, installed = count_in_log(node, "snapshot receiving"), count_in_log(node, "snapshot installed")
    current = node.data_dir / "member" / "current"
    before = current.read_bytes() if current.exists() else b""
    node.start(wait=False)
    wait_for(lambda: count_in_log(node, "snapshot receiving") > begun, "a transfer", node)
    if way == 0:
        time.sleep(random.uniform(0, 0.3))
    elif way == 1:
        wait_for(lambda: current.exists() and current.read_bytes() != before, "the swap", node)
    else:
        wait_for(lambda: count_in_log(node, "snapshot installed") > installed, "the end of a transfer", node)
        time.sleep(random.uniform(0, 0.02))
    disk.cut_power()
    node.kill9()
    disk.unmount()
    disk.mount()


def test_the_power_of_a_receiver_is_cut(raftd, tmp_path):
    cluster = servers.Cluster(raftd, 3, tmp_path, FLAGS)
    behind, others = cluster[2], cluster.nodes[:2]
    try:
        disk = disks.Disk(tmp_path, behind.data_dir, DISK_MIB)
    except disks.NoDisk as why:
        pytest.skip(str(why))
    with disk, contextlib.closing(cluster):
        for node in others:
            node.start(wait=False)
        cluster.wait_ready(others)
        behind.start()  # to follow: its end keeps no write waiting
        with Writers(others, b"k/", count=1, value_bytes=VALUE_BYTES) as writers:
            for i in range(rounds(3)):
                behind.kill9()
                writers.wait_for_more(PAST_THE_LOG)
                cut_while_receiving(disk, behind, i % 3)
                behind.start()
                assert not helped(behind), f"{helped(behind)}{behind.log_tail()}"
                assert len(kv.hashes([behind, *others], SECONDS)) == 1
        writers.check(cluster)
        assert len(kv.hashes(list(cluster), SECONDS)) == 1


def test_the_power_is_cut_while_memory_becomes_a_segment(raftd, tmp_path):
    """Of a member that has nobody to ask. What the log gave up is in the segment."""
    node = servers.Node(raftd, tmp_path, flags=["--memtable-bytes=65536", "--snapshot-count=1", "--snapshot-catchup-entries=1"])
    try:
        disk = disks.Disk(tmp_path, node.data_dir, DISK_MIB)
    except disks.NoDisk as why:
        pytest.skip(str(why))
    with disk, node:
        with Writers([node], b"k/", value_bytes=VALUE_BYTES) as writers:
            for _ in range(rounds(5)):
                store = node.data_dir / "member" / "store"
                writers.wait_for_more(20)
                seen = len(os.listdir(store))
                wait_for(lambda: len(os.listdir(store)) > seen, "a seal", node)
                time.sleep(random.uniform(0, 0.01))
                disk.cut_power()
                node.kill9()
                disk.unmount()
                disk.mount()
                node.start()
        writers.check([node])
