# SPDX-License-Identifier: Apache-2.0
"""Hosts whose network can be cut: a network namespace each, joined by a bridge in one more. Needs root and ip(8).

    with Network(3) as network:
        cluster = servers.Cluster(raftd, 3, directory, hosts=network.hosts)
        network.hosts[0].cut()
        network.drop([(network.hosts[1], network.hosts[2])])    # one way between two; needs iptables(8)

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


def why_not_one_way():
    """Why a network cannot be cut between two hosts, or in one direction, here; None if it can."""
    return why_not() or (None if shutil.which("iptables-restore") else "cutting one way needs iptables(8)")


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

    def run(self, *words, stdin=None):
        subprocess.run(["nsenter", f"--net={self.path}", *map(str, words)], check=True, input=stdin, text=True)

    def ip(self, *words):
        self.run("ip", *words)

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
        self._refused = frozenset()
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

    def refuse(self, senders):
        """From now on what these hosts send does not arrive here, and what all others send does."""
        senders = frozenset(senders)
        if senders == self._refused:
            return
        rules = [f"-A INPUT -s {host.address} -j DROP" for host in senders]
        self._namespace.run("iptables-restore", stdin="\n".join(["*filter", *rules, "COMMIT", ""]))
        self._refused = senders

    def close(self):
        self._namespace.close()


class Network:
    def __init__(self, count):
        self._switch = _Namespace()
        self._switch.ip("link", "add", "bridge", "type", "bridge")
        self._switch.ip("link", "set", "bridge", "up")
        self.hosts = [Host(self._switch, i) for i in range(count)]

    def drop(self, links=()):
        """From now on nothing arrives that goes from the first to the second host of any of these pairs, and all else does."""
        links = set(links)
        for host in self.hosts:
            host.refuse(sender for sender, receiver in links if receiver is host)

    def close(self):
        for host in self.hosts:
            host.close()
        self._switch.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
