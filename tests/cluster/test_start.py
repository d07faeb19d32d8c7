# SPDX-License-Identifier: Apache-2.0
"""Starting and stopping: what raftd refuses, in one line that says what and where, and that it stops cleanly."""

import os
import re
import shutil
import signal
import subprocess

import kv
import pytest
import servers

START_SECONDS = 20
PEER = "http://127.0.0.1:2380"

BAD_FLAGS = [
    (["--frobnicate", "1"], '"--frobnicate"'),
    (["word"], '"word"'),
    (["--data-dir"], "--data-dir needs a value"),
    (["--heartbeat-interval", "soon"], '--heartbeat-interval: "soon"'),
    (["--heartbeat-interval", "0"], "--heartbeat-interval: 0 "),
    (["--election-timeout", "100"], "--election-timeout: 100 "),
    (["--election-timeout", "60000"], "--election-timeout: 60000 "),
    (["--pre-vote", "--pre-vote=perhaps"], '--pre-vote: "perhaps"'),
    (["--log-level", "loud"], '--log-level: "loud"'),
    (["--name", "a,b"], '--name: "a,b"'),
    (["--name", "a\nb"], "--name: holds a control character at byte 1"),
    (["--listen-client-urls", "http://127.0.0.1:1"], "--advertise-client-urls"),
    (["--listen-client-urls", "ftp://h:1", "--advertise-client-urls", "http://h:1"], '--listen-client-urls: "ftp://h:1"'),
    (["--listen-client-urls", "http://example.com:1", "--advertise-client-urls", "http://h:1"], "--listen-client-urls: example.com"),
    (["--listen-client-urls", "https://127.0.0.1:1", "--advertise-client-urls", "http://h:1"], "--listen-client-urls: https://127.0.0.1:1"),
    (["--listen-client-urls", "", "--advertise-client-urls", "http://h:1"], "--listen-client-urls: no URL"),
    (["--advertise-client-urls", "http://h"], '--advertise-client-urls: "http://h"'),
    (["--listen-peer-urls", "http://127.0.0.1:99999"], '--listen-peer-urls: "http://127.0.0.1:99999"'),
    (["--listen-peer-urls", "http://localhost.example:2380"], "--listen-peer-urls: localhost.example"),
    (["--initial-advertise-peer-urls", "https://127.0.0.1:2380"], "--initial-advertise-peer-urls: https://127.0.0.1:2380"),
    (["--initial-cluster", "n1"], '--initial-cluster: "n1"'),
    (["--initial-cluster", "n1=nonsense"], '--initial-cluster: n1: "nonsense"'),
    (["--initial-cluster", f"n1={PEER}"], "--initial-cluster: there is no member named default"),
    (["--initial-cluster", "default=http://127.0.0.1:1"], "--initial-advertise-peer-urls"),
    (["--initial-cluster", f"default={PEER},n1=https://127.0.0.1:1"], "--initial-cluster: n1: https://127.0.0.1:1"),
    (["--corrupt-check-time", "5"], '--corrupt-check-time: "5" is no duration such as 90s or 1h30m'),
    (["--corrupt-check-time", "-1s"], "--corrupt-check-time: -1s is too short"),
    (["--scrub-time", "2000000h"], "--scrub-time: 2000000h is too short or too long"),
    (["--feature-gates", "PriorityRequest=true,Frobnicate=true"], '--feature-gates: etcd has no gate "Frobnicate"'),
    (["--feature-gates", "InitialCorruptCheck"], '--feature-gates: "InitialCorruptCheck" is neither'),
    (["--feature-gates", "LeaseCheckpoint=perhaps"], '--feature-gates: "LeaseCheckpoint=perhaps" is neither'),
    (["--initial-cluster-state", "old"], '--initial-cluster-state: "old"'),
]


def refused(command, directory, environment=None):
    """The one line of a raftd that must not start."""
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=START_SECONDS, env={**os.environ, **(environment or {})}, check=False
    )
    assert done.returncode == 1, f"{command}: {done}"
    lines = done.stderr.splitlines()
    assert lines and lines[-1].startswith("raftd: "), done.stderr
    assert len([line for line in lines if line.startswith("raftd: ")]) == 1, done.stderr
    return lines[-1]


@pytest.mark.parametrize("flags, words", BAD_FLAGS, ids=[" ".join(flags)[:40] for flags, _ in BAD_FLAGS])
def test_bad_flags(raftd, tmp_path, flags, words):
    assert words in refused([raftd, *flags], tmp_path)
    assert not list(tmp_path.iterdir()), "it left something behind"


def test_bad_environment(raftd, tmp_path):
    assert '--heartbeat-interval: "x"' in refused([raftd], tmp_path, {"ETCD_HEARTBEAT_INTERVAL": "x"})
    assert "--name" in refused([raftd, "--name", "b"], tmp_path, {"ETCD_NAME": "a"})


def test_environment_is_heard(raftd, tmp_path):
    line = refused([raftd], tmp_path, {"ETCD_INITIAL_CLUSTER": f"n1={PEER}", "ETCD_NAME": "n2"})
    assert "there is no member named n2" in line


def test_gates_of_etcd_that_mean_nothing_here_are_told(raftd, tmp_path):
    """Flags of a cluster that is to be replaced."""
    gates = "StopGRPCServiceOnDefrag=false,CompactHashCheck=true,TxnModeWriteWithSharedBuffer=T,LeaseCheckpoint=1,LeaseCheckpointPersist=TRUE"
    gates += ",SetMemberLocalAddr=0,FastLeaseKeepAlive=true,InitialCorruptCheck=true,PriorityRequest=true,CompactHashCheck=true"
    with servers.Node(raftd, tmp_path, flags=["--feature-gates", gates, "--corrupt-check-time=1.5h2.5m"]) as node:
        node.stop()
        told = re.findall(r"--feature-gates: (\w+) changes nothing here", node.log_path.read_text())
    assert sorted(told) == sorted(set(re.findall(r"(\w+)=", gates)) - {"InitialCorruptCheck"})


def test_several_peer_urls_of_a_lone_member(raftd, tmp_path):
    node = servers.Node(raftd, tmp_path)
    urls = f"{node.peer_url},http://127.0.0.1:{servers.free_port()}"
    node.flags = ["--listen-peer-urls", urls, "--initial-advertise-peer-urls", urls, "--initial-cluster", ""]
    with node:
        assert kv.Status(node.channel()).leader


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_cleanly(node, number):
    with node.channel() as channel:
        kv.put(channel, b"k", b"v")
        node.process.send_signal(number)
        assert node.process.wait(START_SECONDS) == 0
    node.start()
    with node.channel() as channel:
        assert kv.get(channel, b"k") == b"v"


def test_a_cluster_stops_cleanly(cluster):
    with cluster[0].channel() as channel:
        kv.put(channel, b"k", b"v")
    assert [node.stop() for node in cluster] == [0, 0, 0]


def test_a_lone_survivor_stops_cleanly(cluster):
    """Requests wait that will never be answered; it does not wait for them."""
    cluster[0].kill9()
    cluster[1].kill9()
    with cluster[2].channel() as channel:
        channel.send(kv.PUT, kv.put_message(b"k", b"v"))
        assert cluster[2].stop() == 0


def test_two_on_one_directory(node, raftd, tmp_path):
    second = servers.Node(raftd, tmp_path)  # other ports, the same directory
    line = refused(second.command(), tmp_path)
    assert str(node.data_dir) in line and "in use" in line
    assert node.is_ready()


def test_a_port_that_is_taken(node, raftd, tmp_path):
    second = servers.Node(raftd, tmp_path, name="n1")
    second.client_port = node.client_port
    assert node.client_url in refused(second.command(), tmp_path)
    assert node.is_ready()


def test_a_directory_open_to_others(raftd, tmp_path):
    node = servers.Node(raftd, tmp_path)
    node.data_dir.mkdir(mode=0o755)
    assert str(node.data_dir) in refused(node.command(), tmp_path)


def test_a_directory_of_another_member(cluster, tmp_path):
    """Copied from a neighbour: two processes with one identity could vote twice."""
    victim = cluster[1]
    victim.stop()
    cluster[0].stop()
    victim.wipe()
    shutil.copytree(cluster[0].data_dir, victim.data_dir)
    line = refused(victim.command(), tmp_path)
    assert str(victim.data_dir) in line and "n0" in line and "n1" in line


def wal_segments(node):
    return node.files("member/wal/*-*.wal")


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x40]))


def filled(node):
    with node.channel() as channel:
        for i in range(50):
            kv.put(channel, b"key/%d" % i, b"value of number %04d" % i)


def test_damage_in_the_log_is_refused_with_its_place(node, tmp_path):
    filled(node)
    node.stop()
    segment = wal_segments(node)[0]
    place = segment.read_bytes().index(b"value of number 0010")
    flip(segment, place)
    before = [path.read_bytes() for path in wal_segments(node)]
    line = refused(node.command(), tmp_path)
    found = re.search(r"wal/(\S+): offset (\d+)", line)
    assert found and found[1] == segment.name and place - 512 < int(found[2]) <= place, line
    assert [path.read_bytes() for path in wal_segments(node)] == before, "it changed a damaged log"
    flip(segment, place)
    node.start()
    with node.channel() as channel:
        assert len(kv.scan(channel, b"key/")) == 50


def test_a_missing_identity_is_refused(node, tmp_path):
    filled(node)
    node.stop()
    shutil.move(node.data_dir / "member" / "identity", tmp_path / "identity")
    assert "member/identity" in refused(node.command(), tmp_path)


@pytest.mark.parametrize("what", ["directory", "segments"])
def test_a_missing_log_is_refused(node, tmp_path, what):
    """Also where the store holds nothing yet: it would be a member that forgot its votes."""
    filled(node)
    node.stop()
    directory = node.data_dir / "member" / "wal"
    if what == "directory":
        shutil.rmtree(directory)
    else:
        for segment in wal_segments(node):
            segment.unlink()
    line = refused(node.command(), tmp_path)
    assert "member/wal" in line and "missing" in line
    assert "missing" in refused(node.command(), tmp_path), "the second attempt took it for a new one"


def test_a_birth_that_was_cut_short_goes_on(raftd, tmp_path):
    """Killed when the identity was there and the log was not: nothing was voted yet."""
    node = servers.Node(raftd, tmp_path)
    with node:
        node.stop()
        shutil.rmtree(node.data_dir / "member" / "wal")
        (node.data_dir / "member" / "begun").unlink()
        node.start()


def test_a_damaged_identity_is_refused(node, tmp_path):
    node.stop()
    flip(node.data_dir / "member" / "identity", 20)
    assert "member/identity" in refused(node.command(), tmp_path)
