# SPDX-License-Identifier: Apache-2.0
"""Servers with etcd's flags as processes of a test: single members and clusters on free ports of 127.0.0.1.

    with Cluster(find_raftd(), 3, directory) as cluster:
        cluster.leader().kill9()
        cluster.wait_ready(cluster.running())

Works with raftd and with any etcd. A Node keeps its ports, data and log (DIRECTORY/NAME.data, NAME.log) over restarts. Only processes
that were started here are ever signalled, by their pid; they die with the test run, however that ends.
"""

import contextlib
import ctypes
import glob
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import time

import h2c

READY_SECONDS = 20
STOP_SECONDS = 10
RANGE = "/etcdserverpb.KV/Range"
STATUS = "/etcdserverpb.Maintenance/Status"
PR_SET_PDEATHSIG = 1
# Below the kernel's range for outgoing connections, so that a port stays free while its node is down.
PORTS = range(20000, 32000)
FINDING = re.compile(r".*(ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error: |invariant broken: ).*")

_libc = ctypes.CDLL(None, use_errno=True)
_claims = []  # sockets: the ports that this process was given


class ServerError(Exception):
    """A server did not do what a test needs of it; carries the end of its log."""


def find_raftd():
    """The raftd to test: $RAFTD, else the one of the build directory; None if there is none."""
    places = [os.environ.get("RAFTD"), os.path.join(os.environ.get("top_builddir", "."), "raftd", "raftd"), "raftd/raftd"]
    return first_program(places)


def peers_directory():
    """Where tests/peers/build is told to put its programs: $PEERS, else a cache directory."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.environ.get("PEERS") or os.path.join(cache, "raftfs-peers")


def find_peer(name):
    """A program built by tests/peers/build, e.g. "etcd-3.7.1"; None if it is not there."""
    return first_program([os.path.join(peers_directory(), name)])


def first_program(places):
    for place in places:
        if place and os.path.isfile(place) and os.access(place, os.X_OK):
            return os.path.abspath(place)
    return None


def free_port():
    """
    A port that nothing listens on, and that no test gets again while this process lives: a server that is down for a while must find
    its port when it comes back. Tests run side by side, so a name that is gone with its process says which are taken.
    """
    for port in random.sample(PORTS, len(PORTS)):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0raftfs-test-port-{port}")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return port
    raise ServerError("no free port")


def die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def bytes_in(directory):
    """Of the files in there; what goes away while one looks does not count, nor does a directory that is not there."""
    total = 0
    for name in glob.glob("*", root_dir=directory):
        with contextlib.suppress(FileNotFoundError):
            total += (directory / name).stat().st_size
    return total


class Node:
    """One member. Life: start, any of stop/kill9/pause/resume, start again; close() at the end."""

    def __init__(self, program, directory, name="n0", flags=(), token="raftfs-test", peer_port=None, host=None):
        self.program = program
        self.directory = pathlib.Path(directory)
        self.name = name
        self.flags = list(flags)
        self.token = token
        self.host = host  # a network.Host to live on; None: this one
        self.client_port = free_port()
        self.peer_port = peer_port or free_port()
        self.initial_cluster = f"{name}={self.peer_url}"
        self.state = "new"
        self.process = None
        self.paused = False

    def __repr__(self):
        return f"<{os.path.basename(self.program)} {self.name} pid={self.pid}>"

    @property
    def client_url(self):
        """A host of its own is not reached by TCP from here, whether cut off or not: by a Unix socket it is."""
        return f"unix://{self.socket_path}" if self.host else f"http://127.0.0.1:{self.client_port}"

    @property
    def socket_path(self):
        return self.directory / f"{self.name}.sock"

    @property
    def peer_url(self):
        return f"http://{self.host.address if self.host else '127.0.0.1'}:{self.peer_port}"

    @property
    def data_dir(self):
        return self.directory / f"{self.name}.data"

    @property
    def log_path(self):
        return self.directory / f"{self.name}.log"

    @property
    def pid(self):
        return self.process.pid if self.process else None

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def command(self):
        """The whole command line; also what to print so that a failure can be repeated by hand."""
        return [
            self.program,
            *("--name", self.name, "--data-dir", str(self.data_dir)),
            *("--listen-client-urls", self.client_url, "--advertise-client-urls", self.client_url),
            *("--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url),
            *("--initial-cluster", self.initial_cluster, "--initial-cluster-state", self.state),
            *("--initial-cluster-token", self.token),
            *self.flags,
        ]

    def start(self, wait=True):
        """Start the process; with wait also until it answers a linearizable read (a lone member of a cluster would never)."""
        if self.is_running():
            raise ServerError(f"{self.name} is running")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD_")}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, preexec_fn=self._before_exec
            )
        self.paused = False
        if wait:
            self.wait_ready()

    def _before_exec(self):
        die_with_parent()
        if self.host:
            self.host.enter()

    def stop(self):
        """SIGTERM, and its exit status; a server that ignores it is killed and reported."""
        if not self.is_running():
            return self.process.returncode if self.process else None
        self.resume()
        self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise ServerError(f"{self.name} did not end within {STOP_SECONDS} s of SIGTERM{self.log_tail()}") from None

    def kill9(self):
        if self.is_running():
            self.process.kill()
            self.process.wait()

    def pause(self):
        """SIGSTOP: the process holds its sockets and does nothing, as a stalled machine does."""
        self.process.send_signal(signal.SIGSTOP)
        self.paused = True

    def resume(self):
        if self.paused:
            self.process.send_signal(signal.SIGCONT)
        self.paused = False

    def close(self):
        """End the process without ceremony; data and log stay until the directory goes. What a sanitizer had to say fails the test."""
        self.kill9()
        found = FINDING.search(self.log_path.read_text(errors="replace")) if self.log_path.exists() else None
        if found:
            raise ServerError(f"{self.name}: {found[0]}{self.log_tail(60)}")

    def wipe(self):
        """Forget all data of a node that is not running."""
        if self.is_running():
            raise ServerError(f"{self.name} is running")
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()

    def channel(self, timeout_seconds=5):
        """A connection for many calls; h2c.CallFailed if there is none."""
        try:
            if self.host:
                return h2c.Channel(self.socket_path, None, timeout_seconds)
            return h2c.Channel("127.0.0.1", self.client_port, timeout_seconds)
        except OSError as error:
            raise h2c.CallFailed(f"{self.name}: {error}") from error

    def call(self, path, message=b"", timeout_seconds=5):
        """One gRPC call on a connection of its own; h2c.CallFailed when it fails."""
        with self.channel(timeout_seconds) as channel:
            return channel.call(path, message)

    def is_ready(self):
        """Does it answer a linearizable read?"""
        try:
            self.call(RANGE, h2c.field(1, "ready?"), timeout_seconds=1)
            return True
        except h2c.CallFailed:
            return False

    def wait_ready(self, seconds=READY_SECONDS):
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            if not self.is_running():
                raise ServerError(f"{self.name} ended with status {self.process.returncode}{self.log_tail()}")
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name} is not ready after {seconds} s{self.log_tail()}")
            time.sleep(0.05)

    def ids(self):
        """(its own, that of the leader it knows of: 0 for none). Maintenance.Status: header = 1 {member_id = 2}, leader = 4."""
        status = h2c.parse(self.call(STATUS, timeout_seconds=1))
        return h2c.parse(status[1][0])[2][0], status.get(4, [0])[0]

    def is_leader(self):
        """By its own account."""
        try:
            member, leader = self.ids()
        except h2c.CallFailed:
            return False
        return member == leader

    def cpu_seconds(self):
        """User and system time that the process has used."""
        after_name = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self):
        return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{self.pid}/status").read_text())[1]) * 1024

    def files(self, pattern):
        """Paths in its data directory that match, sorted. A member removes files and whole stores while one looks: pathlib fails then."""
        return sorted(self.data_dir / name for name in glob.glob(pattern, root_dir=self.data_dir, recursive=True))

    def log_tail(self, lines=15):
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n" + " ".join(map(str, self.command())) + "\n" + "\n".join(text.splitlines()[-lines:])


class Cluster:
    """N members that know each other from the start, named n0, n1, ...; each on its host, where hosts are given."""

    def __init__(self, program, n, directory, flags=(), token="raftfs-test", hosts=None):
        self.nodes = [Node(program, directory, f"n{i}", flags, token, host=hosts[i] if hosts else None) for i in range(n)]
        initial = ",".join(node.initial_cluster for node in self.nodes)
        for node in self.nodes:
            node.initial_cluster = initial

    def start(self):
        for node in self.nodes:
            node.start(wait=False)
        self.wait_ready()

    def stop(self):
        for node in self.nodes:
            node.stop()

    def close(self):
        failed = None
        for node in self.nodes:
            try:
                node.close()
            except ServerError as error:
                failed = error
        if failed:
            raise failed

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def __getitem__(self, i):
        return self.nodes[i]

    def __iter__(self):
        return iter(self.nodes)

    def running(self):
        return [node for node in self.nodes if node.is_running() and not node.paused]

    def wait_ready(self, nodes=None, seconds=READY_SECONDS):
        """Until every one of the nodes (default: all) answers linearizable reads."""
        for node in self.nodes if nodes is None else nodes:
            node.wait_ready(seconds)

    def leader(self, seconds=READY_SECONDS):
        """The running member that claims to lead, waiting for an election to end."""
        deadline = time.monotonic() + seconds
        while True:
            for node in self.running():
                if node.is_leader():
                    return node
            if time.monotonic() > deadline:
                raise ServerError(f"no leader after {seconds} s")
            time.sleep(0.05)

    def followers(self):
        leader = self.leader()
        return [node for node in self.running() if node is not leader]

    def endpoints(self):
        """For etcdctl --endpoints."""
        return ",".join(node.client_url for node in self.nodes)

    def cpu_seconds(self):
        return sum(node.cpu_seconds() for node in self.running())

    def rss_bytes(self):
        return [node.rss_bytes() for node in self.running()]
