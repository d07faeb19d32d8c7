# SPDX-License-Identifier: Apache-2.0
"""A disk that stops doing anything: its member does not lead, nobody else notices, and all is as before when it goes on."""

import contextlib
import re
import subprocess
import time

import kv
import pytest
import servers
from conftest import rounds
from disks import Disk, NoDisk
from writers import Writers

DISK_MIB = 300
ELECTION_SECONDS = 1  # raftd's default
CALL_SECONDS = 20


class StallingDisk(Disk):
    """Frozen, a file system lets every write wait until it thaws; whoever writes cannot even be killed."""

    frozen = False

    def freeze(self):
        done = subprocess.run(["fsfreeze", "-f", str(self.where)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoDisk(f"fsfreeze: {done.stderr.strip()}")
        self.frozen = True

    def thaw(self):
        if self.frozen:
            subprocess.run(["fsfreeze", "-u", str(self.where)], check=True)
        self.frozen = False

    def __exit__(self, *_):
        self.thaw()
        self.unmount()


@pytest.fixture
def stalling(raftd, tmp_path):
    """(three members, {member: its disk})"""
    cluster = servers.Cluster(raftd, 3, tmp_path)
    with contextlib.ExitStack() as stack:
        try:
            disks = {node: stack.enter_context(StallingDisk(tmp_path, node.data_dir, DISK_MIB)) for node in cluster}
            disks[cluster[0]].freeze()
            disks[cluster[0]].thaw()
        except (NoDisk, FileNotFoundError) as reason:
            pytest.skip(str(reason))
        stack.callback(lambda: [disk.thaw() for disk in disks.values()])
        stack.enter_context(_closing(cluster, disks))
        cluster.start()
        yield cluster, disks


@contextlib.contextmanager
def _closing(cluster, disks):
    """Before the disks go: nobody who waits for a frozen one can be ended."""
    try:
        yield
    finally:
        for disk in disks.values():
            disk.thaw()
        cluster.close()


def log_of(node, since=0):
    return node.log_path.read_text(errors="replace")[since:]


def terms(nodes):
    """The highest term that each has told of."""
    return [max(map(int, re.findall(r"role changed role=\S+ term=(\d+)", log_of(node)))) for node in nodes]


def wait_for(condition, what, seconds):
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() < begun + seconds, f"{what} did not happen within {seconds} s"
        time.sleep(0.005)
    return time.monotonic() - begun


def test_a_leader_whose_disk_stalls_is_followed_by_another(stalling):
    cluster, disks = stalling
    for i in range(rounds(2)):
        old = cluster.leader()
        others = [node for node in cluster if node is not old]
        with Writers(others, b"leader/%d/" % i) as writers:
            writers.wait_for_more(50)
            mark = len(log_of(old))
            disks[old].freeze()
            # It gives up within two election timeouts (the simulator and test_node_leader hold it to that); an election may follow,
            # should nobody take what it hands over.
            wait_for(lambda: any(node.is_leader() for node in others), "another leader", 4 * ELECTION_SECONDS)
            writers.wait_for_more(50)
            assert "the disk of the log stalls" in log_of(old, mark)
            # It stays like that as long as the disk does: nobody is disturbed.
            before = terms(others)
            time.sleep(5 * ELECTION_SECONDS)
            assert terms(others) == before
            assert "candidate" not in log_of(old, mark), log_of(old, mark)
            writers.wait_for_more(50)
            disks[old].thaw()
            wait_for(lambda: "the disk of the log goes on" in log_of(old, mark), "news of the disk", CALL_SECONDS)
            cluster.wait_ready()
        writers.check(cluster)
        assert len(kv.hashes(cluster, CALL_SECONDS)) == 1


def test_a_follower_whose_disk_stalls_hurts_nobody(stalling):
    cluster, disks = stalling
    leader, (slow, other) = cluster.leader(), cluster.followers()
    before = terms([leader, other])
    with Writers([leader, other], b"follower/") as writers:
        writers.wait_for_more(50)
        disks[slow].freeze()
        wait_for(lambda: "the disk of the log stalls" in log_of(slow), "news of the disk", CALL_SECONDS)
        count, begun = writers.count(), time.monotonic()
        while time.monotonic() < begun + 5 * ELECTION_SECONDS:
            writers.wait_for_more(1, ELECTION_SECONDS)
        assert writers.failures == []
        assert terms([leader, other]) == before
        assert cluster.leader() is leader
        assert writers.count() > count
        disks[slow].thaw()
        cluster.wait_ready()
    writers.check(cluster)
    assert terms([leader, other]) == before
