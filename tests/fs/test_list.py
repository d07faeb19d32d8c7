# SPDX-License-Identifier: Apache-2.0
"""Listing a directory costs its children, not the keys below them: requests are counted, not time."""

import os
import socket
import threading

import bulk
import mounts
import pytest
from conftest import read, sh

CHILDREN = 10
KEYS = int(os.environ.get("RAFTFS_KEYS", "20000"))
HEADERS = 1


class CountingProxy:
    """Passes bytes on to a server and counts the gRPC calls in them: a HEADERS frame of a client begins one."""

    def __init__(self, port):
        self.calls = 0
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source, target, count):
        data, skip = b"", 24  # the preface
        while True:
            try:
                chunk = source.recv(65536)
            except OSError:
                chunk = b""
            if not chunk:
                target.close()
                return
            if count:
                data += chunk
                while True:
                    if len(data) < skip + 9:
                        break
                    data, skip = data[skip:], 0
                    self.calls += data[3] == HEADERS
                    skip = 9 + int.from_bytes(data[:3], "big")
            target.sendall(chunk)

    def close(self):
        self._listener.close()


@pytest.fixture
def proxied(store, mount_on):
    """A mount whose calls are counted."""
    proxy = CountingProxy(store[0].client_port)
    yield mount_on(store[0], source=f"http://127.0.0.1:{proxy.port}"), proxy
    proxy.close()


def fill(store, prefix, count):
    root = prefix.encode()
    bulk.load(store.leader(), ((root + b"big/%d/sub/%07d" % (i % CHILDREN, i), b"v" * 32) for i in range(count)))


def test_ls_above_many_keys(store, prefix, proxied):
    fill(store, prefix, KEYS)
    mount, proxy = proxied
    store.wait_ready()
    assert len(os.listdir(mount.linearizable("big"))) == CHILDREN  # it has caught up
    before = proxy.calls
    assert sorted(os.listdir(mount.at("big"))) == [str(i) for i in range(CHILDREN)]
    calls = proxy.calls - before
    # By lookup of the directory and one call where the server groups (raftd), else a step or two a child.
    assert calls <= 4 or calls <= 2 * CHILDREN + 4 and "etcd" in store[0].program, f"{calls} calls"
    before = proxy.calls
    assert sh("ls -l big | wc -l", cwd=mount.path).stdout.strip() == str(CHILDREN + 1)
    assert proxy.calls - before <= 2 * CHILDREN + 4, f"ls -l: {proxy.calls - before} calls"


def test_a_large_directory_is_listed_whole(store, prefix, proxied):
    root, count = prefix.encode(), 3000
    bulk.load(store.leader(), ((root + b"d/%05d" % i, b"x" * (i % 7)) for i in range(count)))
    mount, proxy = proxied
    assert len(os.listdir(mount.linearizable("d"))) == count
    before = proxy.calls
    assert sorted(os.listdir(mount.at("d"))) == ["%05d" % i for i in range(count)]
    assert proxy.calls - before <= 2 + count // 100, f"{proxy.calls - before} calls"
    with os.scandir(mount.at("d")) as entries:
        assert all(entry.stat().st_size == int(entry.name) % 7 for entry in entries)


def test_what_is_cached_costs_at_most_a_call(store, prefix, proxied):
    mount, proxy = proxied
    bulk.load(store.leader(), [(prefix.encode() + b"f", b"value")])
    assert read(mount.linearizable("f")) == b"value"
    assert read(mount.at("f")) == b"value"
    before = proxy.calls
    for _ in range(100):
        assert read(mount.at("f")) == b"value"
        os.stat(mount.at("f"))
    assert proxy.calls - before <= 100, f"{proxy.calls - before} calls for 100 reads"


def test_mounts_are_said_to_be_ours(store, raftfs, prefix):
    with mounts.Mount(raftfs, store[0].client_url, [f"prefix={prefix}"]) as mount:
        with open("/proc/self/mounts") as file:
            (line,) = [line for line in file if mount.path in line]
        assert "fuse.raftfs" in line
        assert mount.stop() == 0
