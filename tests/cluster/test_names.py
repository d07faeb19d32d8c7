# SPDX-License-Identifier: Apache-2.0
"""Members that know each other by name, when no name server answers any more: whoever is connected goes on."""

import os
import shutil
import socket
import subprocess
import time

import kv
import pytest
import servers

SERVER = "127.0.0.9"  # of names: it hears, and says nothing
SLOW = 1.0  # a write that waits for a name waits for 5 s and more


class Named(servers.Node):
    """Its peers have names, in a hosts file that all of them share."""

    etc = None  # directory of what stands in the place of /etc/hosts, resolv.conf and nsswitch.conf

    @property
    def peer_name(self):
        return f"{self.name}.raftfs.example"

    @property
    def peer_url(self):
        return f"http://{self.peer_name}:{self.peer_port}"

    def command(self):
        command = super().command()
        command[command.index("--listen-peer-urls") + 1] = f"http://127.0.0.1:{self.peer_port}"
        mounts = "".join(f"mount --bind {self.etc}/{name} /etc/{name} && " for name in ("hosts", "resolv.conf", "nsswitch.conf"))
        return ["unshare", "--mount", "sh", "-c", mounts + 'exec "$@"', "sh", *command]


@pytest.fixture
def silent_server():
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind((SERVER, 53))
            yield server
    except OSError as error:
        pytest.skip(f"no name server can be imitated at {SERVER}: {error}")


@pytest.fixture
def cluster(raftd, tmp_path, silent_server):
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("hosts files of one's own need root and unshare")
    if subprocess.run(["unshare", "--mount", "mount", "--bind", "/etc/hosts", "/etc/hosts"], check=False).returncode:
        pytest.skip("files cannot be mounted here")
    if not all(os.path.exists(f"/etc/{name}") for name in ("hosts", "resolv.conf", "nsswitch.conf")):
        pytest.skip("no /etc/nsswitch.conf or resolv.conf to stand in for")
    etc = tmp_path / "etc"
    etc.mkdir()
    cluster = servers.Cluster(raftd, 0, tmp_path)
    cluster.nodes = [Named(raftd, tmp_path, f"n{i}") for i in range(3)]
    initial = ",".join(node.initial_cluster for node in cluster)
    for node in cluster:
        node.etc, node.initial_cluster = etc, initial
    (etc / "resolv.conf").write_text(f"nameserver {SERVER}\noptions timeout:5 attempts:2\n")
    (etc / "nsswitch.conf").write_text("hosts: files dns\n")
    know_names(cluster)
    with cluster:
        yield cluster


def know_names(cluster):
    """In place: what was mounted is the file, not its name."""
    (cluster[0].etc / "hosts").write_text("".join(f"127.0.0.1 {node.peer_name}\n" for node in cluster))


def forget_names(cluster):
    (cluster[0].etc / "hosts").write_text("# nothing\n")


def test_who_is_connected_goes_on(cluster, silent_server):
    leader, gone = cluster.leader(), cluster.followers()[0]
    forget_names(cluster)
    gone.kill9()
    slowest, end = 0.0, time.monotonic() + 12
    with leader.channel(20) as channel:
        while time.monotonic() < end:
            begin = time.monotonic()
            kv.put(channel, b"key", b"value")
            slowest = max(slowest, time.monotonic() - begin)
            time.sleep(0.02)
    assert cluster.leader() is leader, "it was lost"
    assert slowest < SLOW, f"a write waited for {slowest:.1f} s"
    silent_server.setblocking(False)
    assert silent_server.recv(2000), "nobody asked for a name: this shows nothing"
    know_names(cluster)
    gone.start()
    cluster.wait_ready()
