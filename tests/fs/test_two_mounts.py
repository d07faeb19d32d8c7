# SPDX-License-Identifier: Apache-2.0
"""Two mounts on two nodes are one tree: atomic where it says so, and each soon sees what the other did."""

import os
import subprocess
import threading

import kv
import pytest
from conftest import SHELL_SECONDS, read, rounds, wait_until, write


def at_once(*calls):
    """Call all, as nearly together as threads can; what each returned, or the exception it raised."""
    barrier, results = threading.Barrier(len(calls)), [None] * len(calls)

    def run(i, call):
        barrier.wait()
        try:
            results[i] = call()
        except OSError as error:
            results[i] = error

    threads = [threading.Thread(target=run, args=(i, call)) for i, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SHELL_SECONDS)
        assert not thread.is_alive()
    return results


def test_appends_never_overwrite_each_other(keys, two):
    count = 50
    script = 'for i in $(seq %d); do echo "$0 $i" >> log || exit 1; done' % count
    running = [subprocess.Popen(["bash", "-c", script, name], cwd=two[i % 2].path) for i, name in enumerate("abcd")]
    assert [process.wait(SHELL_SECONDS) for process in running] == [0] * 4
    lines = keys.get(b"log").decode().splitlines()
    assert len(lines) == 4 * count
    for name in "abcd":
        assert [line for line in lines if line[0] == name] == [f"{name} {i}" for i in range(1, count + 1)], "each writer's order stays"


def open_exclusively(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    return "won"


def make_directory(path):
    os.mkdir(path)
    return "won"


@pytest.mark.parametrize("take", [open_exclusively, make_directory])
def test_one_of_many_wins(two, take):
    for i in range(min(rounds(30), 1000)):
        name = f"lock{i}"
        results = at_once(*(lambda mount=mount: take(mount.at(name)) for mount in (*two, *two)))
        lost = [result for result in results if isinstance(result, FileExistsError)]
        assert results.count("won") == 1 and len(lost) == 3, results


def test_a_lock_is_free_again_when_it_is_removed(two):
    """At once for who freed it; a waiter may be told that it is taken for as long as it takes to hear of it."""
    make_directory(two[0].at("lock"))
    for i in range(30):
        mine, other = two[i % 2], two[(i + 1) % 2]
        with pytest.raises(FileExistsError):
            make_directory(other.at("lock"))
        os.rmdir(mine.at("lock"))
        wait_until("it is free", lambda other=other: make_directory(other.at("lock")))


def test_writes_at_different_offsets_both_stay(keys, two):
    write(two[0].at("f"), b"." * 100)
    wait_until("both see it", lambda: read(two[1].at("f")) == b"." * 100)
    fds = [os.open(mount.at("f"), os.O_WRONLY) for mount in two]
    for i in range(50):
        results = at_once(lambda i=i: os.pwrite(fds[0], b"a", i), lambda i=i: os.pwrite(fds[1], b"b", 50 + i))
        assert results == [1, 1]
    for fd in fds:
        os.close(fd)
    assert keys.get(b"f") == b"a" * 50 + b"b" * 50


def test_a_mount_reads_its_own_writes(two):
    """Also on a follower that has not applied them yet."""
    for i in range(rounds(300)):
        mount = two[i % 2]
        write(mount.at("f"), b"%d" % i)
        assert read(mount.at("f")) == b"%d" % i
        assert os.stat(mount.at("f")).st_size == len(b"%d" % i)


def test_reads_never_go_back(two):
    last = [-1, -1]
    for i in range(rounds(300)):
        write(two[0].at("f"), b"%d" % i)
        for who, mount in enumerate(two):
            try:
                now = int(read(mount.at("f")))
            except FileNotFoundError:
                now = -1
            assert now >= last[who]
            last[who] = now


def test_what_the_other_did_becomes_visible(two):
    here, there = two
    write(here.at("f"), b"one")
    wait_until("a new file", lambda: read(there.at("f")) == b"one")
    assert os.listdir(there.path) == ["f"] and os.stat(there.at("f")).st_size == 3
    for value in (b"two", b"longer than before", b"", b"x"):
        write(here.at("f"), value)
        wait_until(f"{value}", lambda value=value: read(there.at("f")) == value)
        wait_until("its size", lambda value=value: os.stat(there.at("f")).st_size == len(value))
    os.mkdir(here.at("d"))
    wait_until("a directory", lambda: sorted(os.listdir(there.path)) == ["d", "f"])
    write(here.at("d", "g"), b"x")
    wait_until("a file in it", lambda: os.listdir(there.at("d")) == ["g"])
    os.rename(here.at("f"), here.at("d", "h"))
    wait_until("a rename", lambda: os.listdir(there.path) == ["d"] and sorted(os.listdir(there.at("d"))) == ["g", "h"])
    assert not os.path.exists(there.at("f"))
    os.unlink(here.at("d", "g"))
    os.unlink(here.at("d", "h"))
    wait_until("they are gone", lambda: os.listdir(there.at("d")) == [])
    os.rmdir(here.at("d"))
    wait_until("the directory, too", lambda: not os.path.exists(there.at("d")))


def test_a_name_that_was_missing_appears(two):
    """The kernel remembers that a name is not there: it must be told."""
    for i in range(20):
        name = f"f{i}"
        assert not os.path.exists(two[1].at(name))
        write(two[0].at(name), b"x")
        wait_until(name, lambda name=name: os.path.exists(two[1].at(name)))


def test_one_open_file_is_one_revision(keys, two):
    size = 600000
    keys.put(b"f", b"a" * size)
    wait_until("it is there", lambda: os.stat(two[0].at("f")).st_size == size)
    stop = threading.Event()

    def change():
        with open(os.devnull, "wb"):
            for i in range(100000):
                if stop.is_set():
                    return
                write(two[1].at("f"), (b"b" if i % 2 else b"c") * (size - i % 7))

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(60):
            fd = os.open(two[0].at("f"), os.O_RDONLY)
            data = b""
            while chunk := os.read(fd, 10000):
                data += chunk
            os.close(fd)
            assert len(set(data)) <= 1, "half of one value and half of the next"
    finally:
        stop.set()
        thread.join(SHELL_SECONDS)


def test_linearizable_after_a_write_elsewhere(two):
    for i in range(rounds(300)):
        write(two[i % 2].at("k"), b"%d" % i)
        assert read(two[(i + 1) % 2].linearizable("k")) == b"%d" % i


def test_linearizable_names_and_listings(two):
    for i in range(50):
        here, there = two[i % 2], two[(i + 1) % 2]
        write(here.at(f"f{i}"), b"x" * (i + 1))
        assert os.stat(there.linearizable(f"f{i}")).st_size == i + 1
        assert len(os.listdir(there.linearizable())) == i + 1
    for i in range(50):
        os.unlink(two[i % 2].at(f"f{i}"))
        assert not os.path.exists(two[(i + 1) % 2].linearizable(f"f{i}"))


def test_writing_there_is_writing_here(keys, two):
    write(two[0].linearizable("f"), b"value")
    assert keys.get(b"f") == b"value"
    os.mkdir(two[0].linearizable("d"))
    os.rename(two[0].linearizable("f"), two[0].linearizable("d", "g"))
    assert keys.all() == {b"d/": b"", b"d/g": b"value"}
    assert read(two[1].linearizable("d", "g")) == b"value"


def test_a_client_of_the_store_and_a_mount(keys, store, mount):
    """etcdctl writes and the mount shows it, the mount writes and etcdctl shows it."""
    write(mount.at("from-mount"), b"m")
    with store.leader().channel() as channel:
        assert kv.get(channel, keys.prefix + b"from-mount") == b"m"
    keys.put(b"from/client", b"c")
    wait_until("it is seen", lambda: read(mount.at("from", "client")) == b"c")


def test_linearizable_sees_nothing_uncommitted(two):
    """What is only here so far may never get into the store, and nobody else sees it."""
    here, there = two
    write(here.at("f"), b"old")
    for mount in (here, there):
        assert read(mount.linearizable("f")) == b"old"
    for way in (here.at, here.linearizable):
        fd = os.open(way("f"), os.O_WRONLY | os.O_TRUNC)
        assert read(here.linearizable("f")) == b"old"
        assert os.write(fd, b"x" * 4096) == 4096, "held: it may be the middle of a stream"
        assert read(here.linearizable("f")) == b"old" == read(there.linearizable("f"))
        assert os.fstat(fd).st_size == 4096 == os.lseek(fd, 0, os.SEEK_END), "who writes goes by what he wrote"
        assert read(here.at("f")) == b"x" * 4096
        os.fsync(fd)
        assert read(here.linearizable("f")) == b"x" * 4096 == read(there.linearizable("f"))
        os.close(fd)
        write(here.at("f"), b"old")


def test_linearizable_sees_no_file_that_is_not_made_yet(two):
    here, there = two
    fd = os.open(here.at("new"), os.O_WRONLY | os.O_CREAT)
    assert os.path.exists(here.at("new"))
    for mount in (here, there):
        assert not os.path.exists(mount.linearizable("new"))
    os.write(fd, b"made")
    for mount in (here, there):
        assert read(mount.linearizable("new")) == b"made"
    os.close(fd)
