# SPDX-License-Identifier: Apache-2.0
"""Hosts whose network can be cut: a network namespace each, joined by a bridge in one more. Needs root and ip(8).

    with Network(3) as network:
        cluster = servers.Cluster(raftd, 3, directory, hosts=network.hosts)
        network.hosts[0].cut()

A cut is silent: packets vanish, nobody is told, as behind a switch that lost power. The namespaces have no names; they go with the
processes that hold them, and these with the test run.
"""

import ctypes
import os
import shutil
import subprocess
import time

import servers

CLONE_NEWNET = 0x40000000
SETTLE_SECONDS = 10

_libc = ctypes.CDLL(None, use_errno=True)


def why_not():
    """Why networks cannot be cut here; None if they can."""
    if os.geteuid() != 0:
        return "cutting a network needs root"
    for program in ("ip", "unshare", "nsenter"):
        if not shutil.which(program):
            return f"cutting a network needs {program}(8)"
    done = subprocess.run(["unshare", "-n", "true"], capture_output=True, text=True, check=False)
    return f"no network namespaces here: {done.stderr.strip()}" if done.returncode else None


class _Namespace:
    """A network namespace, held by a process that sleeps in it."""

    def __init__(self):
        self.holder = subprocess.Popen(["unshare", "-n", "sleep", "infinity"], preexec_fn=servers.die_with_parent)
        ours = os.stat("/proc/self/ns/net").st_ino
        deadline = time.monotonic() + SETTLE_SECONDS
        while os.stat(self.path).st_ino == ours:
            if time.monotonic() > deadline:
                raise servers.ServerError("no network namespace")
            time.sleep(0.01)

    @property
    def path(self):
        return f"/proc/{self.holder.pid}/ns/net"

    def ip(self, *words):
        subprocess.run(["nsenter", f"--net={self.path}", "ip", *map(str, words)], check=True)

    def close(self):
        self.holder.kill()
        self.holder.wait()


class Host:
    """One machine: an address, and a cable that can be pulled."""

    def __init__(self, switch, number):
        self._switch = switch
        self._port = f"port{number}"
        self._namespace = _Namespace()
        self.address = f"10.83.0.{number + 1}"
        switch.ip("link", "add", self._port, "type", "veth", "peer", "name", "eth0", "netns", self._namespace.holder.pid)
        switch.ip("link", "set", self._port, "master", "bridge", "up")
        self._namespace.ip("link", "set", "lo", "up")
        self._namespace.ip("addr", "add", f"{self.address}/24", "dev", "eth0")
        self._namespace.ip("link", "set", "eth0", "up")

    def enter(self):
        """Move the calling process here; for a child before its exec."""
        fd = os.open(self._namespace.path, os.O_RDONLY)
        if _libc.setns(fd, CLONE_NEWNET) < 0:
            raise OSError(ctypes.get_errno(), "setns")
        os.close(fd)

    def cut(self):
        self._switch.ip("link", "set", self._port, "nomaster")

    def heal(self):
        self._switch.ip("link", "set", self._port, "master", "bridge")

    def close(self):
        self._namespace.close()


class Network:
    def __init__(self, count):
        self._switch = _Namespace()
        self._switch.ip("link", "add", "bridge", "type", "bridge")
        self._switch.ip("link", "set", "bridge", "up")
        self.hosts = [Host(self._switch, i) for i in range(count)]

    def close(self):
        for host in self.hosts:
            host.close()
        self._switch.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
