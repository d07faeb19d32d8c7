# SPDX-License-Identifier: Apache-2.0
"""etcdctl move-leader against three raftd and three etcd 3.7.1: the same words and exit codes, and leadership is where it was sent."""

import os
import subprocess

import pytest
from conftest import peer_or_skip, raftd_or_skip, reference_or_skip

import servers
from normalise import normalise

# (arguments, which members are named as endpoints, who leads then); {target} and {other} stand for followers, {leader} for itself.
SCRIPT = [
    ("{target}", "all", "target"),
    ("{target}", "leader", "target"),
    ("{target}", "followers", "leader"),
    ("{target}", "target", "leader"),
    ("{leader}", "all", "leader"),
    ("1234", "all", "leader"),
    ("0", "all", "leader"),
    ("", "all", "leader"),
    ("xyz", "all", "leader"),
    ("{target} {other}", "all", "leader"),
]


def run(etcdctl, cluster, step):
    """(exit code, stdout, stderr), with each member called by its part in the step."""
    arguments, endpoints, then = step
    leader = cluster.leader()
    target, other = (node for node in cluster if node is not leader)
    parts = {"leader": leader, "target": target, "other": other}
    ids = {name: node.ids()[0] for name, node in parts.items()}
    named = {"all": list(cluster), "followers": [target, other]}.get(endpoints) or [parts[endpoints]]
    argv = [etcdctl, "move-leader", *arguments.format(**{name: f"{number:x}" for name, number in ids.items()}).split()]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
    environment |= {"ETCDCTL_ENDPOINTS": ",".join(f"127.0.0.1:{node.client_port}" for node in sorted(named, key=lambda n: list(parts.values()).index(n)))}
    done = subprocess.run(argv, capture_output=True, env=environment, timeout=30, check=False)
    assert cluster.leader() is parts[then], step
    ports = {node.client_port: name.upper() for name, node in parts.items()}
    names = {number: name.upper() for name, number in ids.items()}
    return done.returncode, *(normalise(text.decode(), "move-leader", ports, names) for text in (done.stdout, done.stderr))


@pytest.fixture(scope="module")
def clusters(tmp_path_factory):
    """(of the reference, of raftd)"""
    reference, version = reference_or_skip()
    if version < (3, 7):
        pytest.skip("etcd 3.4 words its refusals differently")
    raftd = raftd_or_skip()
    with servers.Cluster(reference, 3, tmp_path_factory.mktemp("etcd")) as first, servers.Cluster(raftd, 3, tmp_path_factory.mktemp("raftd")) as second:
        yield first, second


@pytest.mark.parametrize("step", SCRIPT, ids=[f"{arguments} by {endpoints}" for arguments, endpoints, _ in SCRIPT])
def test_step(clusters, step):
    etcdctl = peer_or_skip("etcdctl-3.7.1")
    expected, got = (run(etcdctl, cluster, step) for cluster in clusters)
    assert got == expected
