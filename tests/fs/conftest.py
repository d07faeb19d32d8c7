# SPDX-License-Identifier: Apache-2.0
"""Mounts of raftfs on real servers: a raftd cluster of three, and an etcd one, which a mount must not tell from it."""

import itertools
import os
import pathlib
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))

import kv  # noqa: E402
import mounts  # noqa: E402
import servers  # noqa: E402

ETCD = "etcd-3.7.1"
WAIT_SECONDS = 20
SHELL_SECONDS = 60
ROUNDS_ASKED = int(os.environ.get("RAFTFS_ROUNDS", "0"))

_prefixes = itertools.count()


def rounds(handful):
    """How often a test repeats itself: a handful always, more on demand (RAFTFS_ROUNDS=10000)."""
    return ROUNDS_ASKED or handful


def wait_until(what, claim, seconds=WAIT_SECONDS):
    """Until claim() is true; OSError counts as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if claim():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, f"not after {seconds} s: {what}"
        time.sleep(0.01)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, data):
    """One write(2) to a file that is made or emptied."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        assert os.write(fd, data) == len(data)
    finally:
        os.close(fd)


def sh(command, shell="bash", cwd=None, check=True):
    done = subprocess.run([shell, "-c", command], cwd=cwd, capture_output=True, text=True, timeout=SHELL_SECONDS, check=False)
    assert not check or done.returncode == 0, f"{command}: {done}"
    return done


@pytest.fixture(scope="session")
def raftfs():
    program = mounts.find_raftfs()
    if not program:
        pytest.skip("no raftfs: set RAFTFS, or build it first")
    reason = mounts.why_not()
    if reason:
        pytest.skip(reason)
    return program


@pytest.fixture(scope="session")
def raftd():
    program = servers.find_raftd()
    if not program:
        pytest.skip("no raftd: set RAFTD, or build it first")
    return program


@pytest.fixture(scope="session")
def raftd_cluster(raftd, tmp_path_factory):
    with servers.Cluster(raftd, 3, tmp_path_factory.mktemp("raftd")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def etcd_cluster(tmp_path_factory):
    program = servers.find_peer(ETCD)
    if not program:
        pytest.skip(f"{ETCD} is not in {servers.peers_directory()}; tests/peers/build builds it")
    with servers.Cluster(program, 3, tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster


@pytest.fixture(params=["raftd", "etcd"])
def store(request):
    """A cluster of three that answers; tests of one run share it and keep to prefixes of their own."""
    return request.getfixturevalue(f"{request.param}_cluster")


class Keys:
    """The store behind a mount, as any etcd client sees it; keys below the mount's prefix."""

    def __init__(self, node, prefix):
        self.prefix = prefix
        self._channel = node.channel(WAIT_SECONDS)

    def close(self):
        self._channel.close()

    def put(self, name, value):
        return kv.put(self._channel, self.prefix + name, value)

    def get(self, name, revision=0):
        return kv.get(self._channel, self.prefix + name, revision=revision)

    def delete(self, name):
        kv.delete(self._channel, self.prefix + name)

    def version(self, name):
        """How many revisions the key has had since it was made; 0 if it is not there."""
        return kv.version(self._channel, self.prefix + name)

    def all(self):
        """{name: value} of what is below the prefix."""
        return {key[len(self.prefix) :]: value for key, (value, _) in kv.scan(self._channel, self.prefix).items()}

    def revision(self):
        return kv.revision(self._channel)


@pytest.fixture
def prefix():
    return f"/t{next(_prefixes)}/"


@pytest.fixture
def mount_on(raftfs, prefix):
    """mount_on(node, *options): one more mount of this test's keys."""
    made = []

    def mount(node, *options, source=None):
        m = mounts.Mount(raftfs, source or node.client_url, [f"prefix={prefix}", *options])
        made.append(m)
        m.start()
        return m

    yield mount
    failed = None
    for m in reversed(made):
        try:
            m.close()
        except servers.ServerError as error:
            failed = error
    if failed:
        raise failed


@pytest.fixture
def mount(store, mount_on):
    """One mount, on a follower: what it reads is not what it just wrote to itself."""
    return mount_on(store.followers()[0])


@pytest.fixture
def two(store, mount_on):
    """Two mounts on two followers."""
    return [mount_on(node) for node in store.followers()[:2]]


@pytest.fixture
def keys(store, prefix):
    keys = Keys(store.leader(), prefix.encode())
    yield keys
    keys.close()
