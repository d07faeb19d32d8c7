# SPDX-License-Identifier: Apache-2.0
"""One real member whose system calls fail or kill it, one after the other, and whose power is cut: nothing acknowledged is lost, what
failed is named, and it starts again without an operator."""

import collections
import errno
import fcntl
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time

import disks
import h2c
import kv
import members
import pytest
import servers
from conftest import rounds
from traced import Traced, why_not

FLAGS = ["--memtable-bytes", "1048576"]
VALUE = bytes(range(256)) * 400
WRITES = 190  # 19 MB: the log goes on in a second file, the store has some segments
SECONDS = 30
F_SETPIPE_SZ = 1031

# What changes a disk; of calls that have several names, those that the C library takes.
FAILING = [
    *("fdatasync", "fsync", "pwrite64", "fallocate", "rename", "renameat", "renameat2", "unlink", "unlinkat", "openat", "ftruncate"),
    *("mkdir", "mkdirat"),
]
KILLING = [*FAILING, "write", "close", "pread64", "munmap", "fstat", "newfstatat"]
NAMELESS = "munmap"  # no argument of it says what it is about


@pytest.fixture
def traced(raftd, tmp_path):
    reason = why_not()
    if reason:
        pytest.skip(reason)
    node = Traced(raftd, tmp_path, flags=FLAGS)
    yield node
    node.close()


def write_until_it_ends(node, first, count):
    """How many were acknowledged; some more may be there."""
    acknowledged = first
    try:
        with node.channel(20) as channel:
            for i in range(first, first + count):
                kv.put(channel, b"key/%06d" % i, VALUE + b"%d" % i)
                acknowledged = i + 1
    except (h2c.CallFailed, OSError):
        pass
    return acknowledged


def check(node, acknowledged):
    with node.channel(20) as channel:
        found = kv.scan(channel, b"key/", page=50)
    for i in range(acknowledged):
        assert found.get(b"key/%06d" % i, (None,))[0] == VALUE + b"%d" % i, f"lost {i} of {acknowledged}"


def wait_for_end(node):
    """It has ended, or is none the worse for it."""
    deadline = time.monotonic() + 3
    while node.is_running() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not node.is_running()


def last_line(node, words):
    """The line that says why it ended."""
    lines = [line for line in node.log_path.read_text(errors="replace").splitlines() if "raftd" in line]
    assert any(words in line and re.search(r"[/\w.-]*(wal|store|member|\.tdb|\.keys|identity|lock|begun|data)", line) for line in lines[-3:]), lines[-3:]


def one_fault(node, inject):
    """Returns the status that the member ended with: of the fault, or else when it was stopped."""
    node.inject = inject
    acknowledged = 0
    try:
        node.start()
    except servers.ServerError:
        assert not node.is_running(), f"{inject}: it neither serves nor ends{node.log_tail()}"
    else:
        acknowledged = write_until_it_ends(node, 0, WRITES)
        if acknowledged == WRITES or not wait_for_end(node):
            node.stop()
    status = node.process.returncode
    node.inject = None
    node.start()
    check(node, acknowledged)
    assert write_until_it_ends(node, WRITES, 3) == WRITES + 3
    check(node, acknowledged)
    node.stop()
    shutil.rmtree(node.data_dir)
    return status


def sites(node, calls, count):
    """So many (call, n) of each call, as a run without faults has them: the nth that some thread makes is about the member's data."""
    node.watched = calls
    with node:
        assert write_until_it_ends(node, 0, WRITES) == WRITES
        node.stop()
    node.watched = ()
    shutil.rmtree(node.data_dir)
    made, found = collections.Counter(), collections.defaultdict(set)
    for line in node.trace().splitlines():
        begun = re.match(r"(\d+) +(\w+)\(", line)
        if not begun:
            continue  # the rest of a call that another thread interrupted
        made[begun.groups()] += 1  # strace counts by thread, too
        if str(node.data_dir) in line or begun[2] == NAMELESS:
            found[begun[2]].add(made[begun.groups()])
    return [(call, n) for call in calls for n in random.sample(sorted(found[call]), min(count, len(found[call])))]


def test_a_call_of_each_name_that_fails_ends_it_or_does_no_harm(traced):
    """One of each, drawn by chance among those about the member's data; RAFTFS_ROUNDS=n: n of each."""
    ended, struck, drawn = 0, 0, sites(traced, FAILING, rounds(1))
    for call, n in drawn:
        status = one_fault(traced, f"{call}:error=EIO:when={n}")
        assert status in (0, 1), f"{call} {n}: status {status}{traced.log_tail()}"
        ended += status == 1
        struck += traced.was_struck()
    # No two runs make the same calls, but nearly so.
    assert ended and 2 * struck > len(drawn), f"of {drawn} {struck} were struck and {ended} ended"


@pytest.mark.parametrize("call, n", [("fdatasync", 30), ("pwrite64", 30), ("fsync", 3)])
def test_a_failed_write_or_sync_is_named_and_not_tried_again(traced, call, n):
    traced.inject = f"{call}:error=EIO:when={n}"
    traced.start(wait=False)
    deadline = time.monotonic() + SECONDS
    while traced.is_running() and time.monotonic() < deadline:
        write_until_it_ends(traced, 0, WRITES)
    assert traced.process.returncode == 1
    last_line(traced, os.strerror(errno.EIO))


def test_killed_at_a_call_of_each_name(traced):
    """Drawn in the same way."""
    killed, drawn = 0, sites(traced, KILLING, rounds(1))
    for call, n in drawn:
        status = one_fault(traced, f"{call}:signal=SIGKILL:when={n}")
        assert status in (0, -signal.SIGKILL), f"{call} {n}: status {status}{traced.log_tail()}"
        killed += status == -signal.SIGKILL
    assert 2 * killed > len(drawn), f"of {drawn} {killed} were killed"


def test_interrupted_writes_go_on(traced):
    traced.inject = "pwrite64,pread64:error=EINTR:when=5+7"
    with traced:
        assert write_until_it_ends(traced, 0, WRITES) == WRITES
        check(traced, WRITES)
        traced.stop()
        traced.inject = None
        traced.start()
        check(traced, WRITES)


def test_calls_that_find_the_disk_full_end_nothing(traced):
    """Once each: it is tried again, or waits."""
    for when in ("1", "2"):
        traced.start()
        traced.stop()
        traced.inject = f"fallocate:error=ENOSPC:when={when}"
        traced.start()
        acknowledged, deadline = 0, time.monotonic() + SECONDS
        while acknowledged < WRITES and time.monotonic() < deadline:
            acknowledged = write_until_it_ends(traced, acknowledged, WRITES - acknowledged)
            time.sleep(0.1)
        assert acknowledged == WRITES, traced.log_tail()
        assert traced.was_struck(), "nothing was found full"
        check(traced, WRITES)
        traced.inject = None
        traced.stop()
        shutil.rmtree(traced.data_dir)


def test_the_loop_waits_for_no_disk(traced):
    """Whatever is asked: a sync takes as long as the disk likes, and heartbeats must go on."""
    traced.watched = ("fsync", "fdatasync", "sync_file_range", "syncfs")
    traced.start()
    at_start = len(traced.trace())
    assert write_until_it_ends(traced, 0, WRITES) == WRITES  # with some segments
    members.remove(traced, members.insist(members.add, traced, "http://127.0.0.1:1", True))
    members.insist(members.add, traced, "http://127.0.0.1:2")  # voters are two now, and that is written down
    members.wait_until(lambda: "member/voters" in traced.trace()[at_start:], "the number of voters is stored")
    syncs = [line for line in traced.trace()[at_start:].splitlines() if "sync(" in line]
    assert syncs, "nothing was synced: this shows nothing"
    loops = [line for line in syncs if line.startswith(f"{traced.pid} ")]
    assert not loops, loops[:5]


def test_the_power_is_cut_again_and_again(raftd, tmp_path):
    node = servers.Node(raftd, tmp_path, flags=FLAGS)
    try:
        disk = disks.Disk(tmp_path, node.data_dir, 400)
    except disks.NoDisk as why:
        pytest.skip(str(why))
    acknowledged = 0
    with disk:
        for _ in range(rounds(5)):
            node.start()
            check(node, acknowledged)
            writer = threading.Timer(random.uniform(0.05, 0.6), disk.cut_power)
            writer.start()
            acknowledged = write_until_it_ends(node, acknowledged, 10000 if acknowledged < 1500 else 1)
            writer.join()
            node.kill9()
            disk.unmount()
            disk.mount()
        node.start()
        check(node, acknowledged)
        node.close()
    assert acknowledged > 0


def test_a_reader_of_the_log_that_hangs_stops_no_request(raftd, tmp_path):
    node = servers.Node(raftd, tmp_path, flags=["--log-level", "debug"])
    reader, writer = os.pipe()
    fcntl.fcntl(writer, F_SETPIPE_SZ, 16384)
    os.write(writer, b"x" * 16384)
    node.process = subprocess.Popen(
        node.command(), stdin=subprocess.DEVNULL, stdout=writer, stderr=writer, preexec_fn=servers.die_with_parent
    )
    os.close(writer)
    try:
        node.wait_ready()
        with node.channel() as channel:
            for i in range(200):
                kv.put(channel, b"key/%d" % i, b"value")
        for _ in range(20):  # lines: a connection that breaks the rules, and one that comes and goes
            with node.channel():
                pass
        with node.channel() as channel:
            assert kv.get(channel, b"key/199") == b"value"
        os.read(reader, 16384)
        assert node.stop() == 0
        text = b""
        while chunk := os.read(reader, 65536):
            text += chunk
        assert b"lines were dropped" in text
    finally:
        os.close(reader)
        node.kill9()
