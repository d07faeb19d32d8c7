# SPDX-License-Identifier: Apache-2.0
"""Random calls: what a mount answers beside tmpfs, call by call, and what two mounts end with after four threads. By their seeds:
a failure names its own, and RAFTFS_SEED=N tries that one alone."""

import ctypes
import errno
import os
import random
import shutil
import tempfile
import threading

import pytest

from conftest import rounds, wait_until

SEED = int(os.environ.get("RAFTFS_SEED", "0"))
CALLS = 700
THREAD_CALLS = 400
NAMES = "abcxy"
DIRECTORIES = ["", "a/", "a/b/", "c/"]
LENGTHS = [0, 1, 5, 100, 4096, 5000, 8192, 20000]
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2

_libc = ctypes.CDLL(None, use_errno=True)


def seeds(handful):
    return [SEED] if SEED else list(range(1, rounds(handful) + 1))


def renameat2(old, new, flags):
    if _libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags):
        raise OSError(ctypes.get_errno(), "renameat2")


class Tree:
    """The same calls on any directory; an OSError is an answer like any other."""

    def __init__(self, root):
        self.root = root
        self.handles = {}

    def close(self):
        for fd in self.handles.values():
            os.close(fd)
        self.handles = {}

    def do(self, call, *arguments):
        try:
            return getattr(self, call)(*arguments)
        except OSError as error:
            return errno.errorcode[error.errno]

    def at(self, name):
        return os.path.join(self.root, name)

    def write(self, name, data, buffering):
        with open(self.at(name), "wb", buffering=buffering) as file:
            file.write(data)

    def append(self, name, data):
        with open(self.at(name), "ab") as file:
            file.write(data)

    def overwrite(self, name, data, offset, flags):
        fd = os.open(self.at(name), os.O_RDWR | flags, 0o644)
        try:
            os.pwrite(fd, data, offset)
            return os.pread(fd, 1 << 20, 0)
        finally:
            os.close(fd)

    def read(self, name):
        with open(self.at(name), "rb") as file:
            return file.read()

    def stat(self, name):
        st = os.stat(self.at(name))
        return st.st_mode >> 12, st.st_size if os.path.isfile(self.at(name)) else 0

    def truncate(self, name, size):
        os.truncate(self.at(name), size)

    def unlink(self, name):
        os.unlink(self.at(name))

    def mkdir(self, name):
        os.mkdir(self.at(name))

    def rmdir(self, name):
        os.rmdir(self.at(name))

    def rename(self, old, new, flags):
        renameat2(self.at(old), self.at(new), flags)

    def exclusive(self, name):
        os.close(os.open(self.at(name), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))

    def list(self, name):
        with os.scandir(self.at(name)) as entries:
            return sorted((e.name, e.is_dir(), e.stat().st_size if e.is_file() else 0) for e in entries)

    def handle_open(self, number, name, flags):
        if number in self.handles:
            os.close(self.handles.pop(number))
        self.handles[number] = os.open(self.at(name), os.O_RDWR | flags, 0o644)

    def handle(self, number, call, *arguments):
        fd = self.handles.get(number)
        if fd is None:
            return "closed"
        if call == "close":
            return os.close(self.handles.pop(number))
        if call == "stat":
            return os.fstat(fd).st_size, os.fstat(fd).st_nlink
        return getattr(os, call)(fd, *arguments)

    def content(self):
        """{name: bytes, or None for a directory, or what is wrong with its size}."""
        found = {}
        for directory, directories, files in os.walk(self.root):
            at = os.path.relpath(directory, self.root)
            found.update({os.path.normpath(os.path.join(at, d)): None for d in directories})
            for name in files:
                path = os.path.join(directory, name)
                data = self.read(path)
                size = os.stat(path).st_size
                found[os.path.normpath(os.path.join(at, name))] = data if size == len(data) else f"{size}, not {len(data)} bytes"
        return found


def draw(rnd, handles):
    """One call and its arguments."""
    name = rnd.choice(DIRECTORIES) + rnd.choice(NAMES)
    other = rnd.choice(DIRECTORIES) + rnd.choice(NAMES)
    data = bytes([rnd.randrange(65, 90)]) * rnd.choice(LENGTHS)
    offset = rnd.choice([0, 1, 3000, 4096])
    calls = [
        ("write", name, data, rnd.choice([0, -1, 4096]) if data else -1),
        ("write", name, data, -1),
        ("append", name, data),
        ("overwrite", name, data, offset, rnd.choice([0, os.O_CREAT])),
        ("read", name),
        ("read", name),
        ("stat", name),
        ("truncate", name, rnd.choice([0, 3, 4096, 9999])),
        ("unlink", name),
        ("mkdir", name),
        ("rmdir", name),
        ("rename", name, other, rnd.choice([0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE])),
        ("exclusive", name),
        ("list", rnd.choice([".", "a", "a/b", "c"])),
    ]
    if handles:
        number = rnd.randrange(3)
        calls += [
            ("handle_open", number, name, rnd.choice([0, os.O_CREAT, os.O_CREAT | os.O_TRUNC])),
            ("handle", number, "pwrite", data, offset),
            ("handle", number, "pread", 1 << 20, 0),
            ("handle", number, rnd.choice(["stat", "fsync", "close"])),
            ("handle", number, "ftruncate", rnd.choice([0, 3, 4096])),
        ]
    return rnd.choice(calls)


def short(call):
    return tuple(f"{len(x)} bytes" if isinstance(x, bytes) else x for x in call)


@pytest.fixture
def tmpfs():
    path = tempfile.mkdtemp(prefix="raftfs-model.", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    yield Tree(path)
    shutil.rmtree(path)


@pytest.mark.parametrize("handles", [False, True], ids=["paths", "handles"])
@pytest.mark.parametrize("seed", seeds(2))
def test_random_calls_are_answered_as_on_tmpfs(store, two, tmpfs, seed, handles):
    rnd = random.Random(seed)
    tree = Tree(two[0].path)
    done = []
    try:
        for n in range(CALLS):
            call = draw(rnd, handles)
            want, got = tmpfs.do(*call), tree.do(*call)
            if call[0] == "rename" and got in ("ENOTSUP", "EXDEV") and want is None:
                # Directories are not exchanged, and may be too large to move at once: as if it had not been asked for.
                tmpfs.do("rename", call[2], call[1], call[3])
                continue
            done.append((short(call), want if not isinstance(want, bytes) else f"{len(want)} bytes"))
            assert got == want, f"seed {seed}, call {n}: {short(call)} after {done[-12:]}"
    finally:
        tree.close()
        tmpfs.close()
    want = tmpfs.content()
    wait_until(f"seed {seed}: the same content", lambda: tree.content() == want)
    wait_until(f"seed {seed}: the same content on another node", lambda: Tree(two[1].path).content() == want)
    assert Tree(two[1].linearizable()).content() == want


@pytest.mark.parametrize("seed", seeds(2))
def test_two_mounts_end_with_what_the_store_has(two, mount_on, store, seed):
    def work(path, rnd):
        tree = Tree(path)
        for _ in range(THREAD_CALLS):
            tree.do(*draw(rnd, False))

    threads = [threading.Thread(target=work, args=(two[i % 2].path, random.Random(seed * 10 + i))) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trees = [Tree(two[0].linearizable()), Tree(two[0].path), Tree(two[1].path), Tree(mount_on(store.leader()).path)]

    def all_have_the_same():
        contents = [tree.content() for tree in trees]
        return all(content == contents[0] for content in contents)

    wait_until(f"seed {seed}: the same content everywhere", all_have_the_same)
