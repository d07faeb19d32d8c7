# SPDX-License-Identifier: Apache-2.0
"""The same changes of the members with etcdctl, on a cluster of raftd and on one of etcd 3.7.1: equal answers, equal error texts."""

import concurrent.futures
import json
import os
import re
import subprocess
import time
from typing import NamedTuple

import h2c
import members
import pytest
import servers
from conftest import peer_or_skip, raftd_or_skip, reference_or_skip
from normalise import normalise

STEP_SECONDS = 30
SETTLE_SECONDS = members.HEALTHY_SECONDS + 1.5  # connected for that long, the check has nothing to say


class Step(NamedTuple):
    line: str  # {n0} is a member's id in hex, {url:n0} its peer URL
    at: str = "leader"  # or "follower", or the name of a member
    before: str = ""  # a method of Session


def each_format(line, **others):
    return [Step(f"{line} -w {name}".replace(" -w simple", ""), **others) for name in ("simple", "json", "table")]


SCRIPT = [
    *each_format("member list"),
    *each_format("member list", at="follower"),
    # refused
    *[
        Step(line, at)
        for at in ("leader", "follower")
        for line in (
            "member add x --peer-urls={url:n1}",
            "member add x --learner --peer-urls={url:n1}",
            "member add x --peer-urls=nonsense",
            "member add x --peer-urls=http://127.0.0.1",
            "member add x --peer-urls=http://127.0.0.1:9/path",
            "member add x --peer-urls=ftp://127.0.0.1:9",
            "member add x",
            "member remove 1234",
            "member remove",
            "member remove nonsense",
            "member promote 1234",
            "member promote {n1}",
            "member update 1234 --peer-urls=http://127.0.0.1:9",
            "member update {n1} --peer-urls={url:n2}",
            "member update {n1} --peer-urls={url:n1}",
            "member update {n1}",
        )
    ],
    # a learner that is not there yet
    Step("member add l0 --learner --peer-urls={url:l0}", "follower"),
    Step("member add l1 --learner --peer-urls={url:l1}"),
    Step("member add l1 --learner --peer-urls={url:l1}", "follower"),
    *each_format("member list"),
    Step("member promote {l0}"),
    Step("member promote {l0}", "follower"),
    Step("member update {l0} --peer-urls={url:l1} -w json"),
    Step("member list"),
    Step("member update {l1} --peer-urls={url:l0}", "follower"),
    # and then is
    Step("member list", before="start_learner"),
    Step("put key value", "l0"),
    Step("get key", "l0"),
    Step("get key --consistency=s", "l0"),
    Step("member list", "l0"),
    Step("del key", "l0"),
    Step("member promote {l0}", "follower"),
    Step("member promote {l0}"),
    *each_format("member list"),
    Step("put key value", "l0", "wait_learner"),
    Step("member list", "l0"),
    Step("member add y --peer-urls={url:l1} -w json", before="settle"),
    Step("member remove {l1} -w json"),
    Step("member remove {l1}"),
    Step("member add y --learner --peer-urls={url:l1} -w json", "follower", "wait_second"),
    Step("member remove {l1}", "follower"),
    # one after the other goes
    Step("member remove {l0}"),
    Step("member list", before="wait_learner_ended"),
    Step("member remove {follower}", before="settle"),
    Step("member list"),
    Step("member remove {follower}", before="settle"),
    Step("member list -w json"),
    Step("member remove {leader}", before="settle"),
    Step("member list"),
]


class Session:
    """A cluster of one kind, and where it is in the script."""

    def __init__(self, program, etcdctl, directory):
        self.etcdctl = etcdctl
        self.cluster = servers.Cluster(program, 3, directory, token="compat-members")
        self.nodes = {node.name: node for node in self.cluster}
        self.cluster_id = self.exit_status = None
        self.gone = set()

    def close(self):
        for node in self.nodes.values():
            node.close()

    def start(self):
        for name in ("l0", "l1"):
            self.nodes[name] = members.joiner(self.cluster, name)
        self.cluster.start()
        self.cluster_id = h2c.parse(h2c.parse(members.insist(self.leader().call, servers.STATUS))[1][0])[1][0]
        self.settle()

    def alive(self):
        return [node for node in self.cluster if node.is_running()]

    def leader(self):
        return self.cluster.leader()

    def follower(self):
        followers = [node for node in self.cluster.running() if node is not self.leader()]
        return followers[0] if followers else self.leader()

    def known(self):
        """{name: Member}"""
        by_url = {node.peer_url: name for name, node in self.nodes.items()}
        return {by_url[member.peer_urls[0]]: member for member in members.insist(lambda: members.members(self.leader(), False)).values()}

    # ---- before steps ----

    def settle(self):
        time.sleep(SETTLE_SECONDS)
        self.cluster.wait_ready(self.alive())

    def start_learner(self):
        learner = self.nodes["l0"]
        learner.initial_cluster = ",".join(f"{name}={self.nodes[name].peer_url}" for name in self.known())
        learner.start(wait=False)
        members.wait_until(lambda: self.known()["l0"].name == "l0", f"the learner publishes itself{learner.log_tail()}")
        members.wait_until(lambda: self._learner_has_all(), "the learner has the log")

    def _learner_has_all(self):
        done = self.run(["get", "none", "--consistency=s", "-w", "json"], "l0")
        return done.returncode == 0

    @staticmethod
    def wait_second():
        """A new member's id follows from its URLs and the second: within one it would be the id that was removed."""
        time.sleep(1.1)

    def wait_learner(self):
        self.nodes["l0"].wait_ready()

    def wait_learner_ended(self):
        self.exit_status = members.wait_ended(self.nodes["l0"])

    # ---- steps ----

    def node_at(self, at):
        return self.nodes[at] if at in self.nodes else getattr(self, at)()

    def run(self, words, at):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
        environment["ETCDCTL_ENDPOINTS"] = self.node_at(at).client_url.removeprefix("http://")
        return subprocess.run([self.etcdctl, *words], capture_output=True, text=True, env=environment, timeout=STEP_SECONDS, check=False)

    def run_step(self, step):
        if step.before:
            getattr(self, step.before)()
        ids = {name: f"{member.id:x}" for name, member in self.known().items()}
        ids |= {role: f"{members.insist(lambda role=role: members.id_of(self.node_at(role))):x}" for role in ("leader", "follower")}
        line = re.sub(r"\{url:(\w+)\}", lambda match: self.nodes[match[1]].peer_url, step.line)
        line = re.sub(r"\{(\w+)\}", lambda match: ids.get(match[1], "4321"), line)
        leader, done = self.leader().name, self.run(line.split(), step.at)
        return done.returncode, *(self.mask(text, step, leader, ids) for text in (done.stdout, done.stderr))

    def mask(self, text, step, leader, ids):
        """Who is who, by name; which of the three first ones leads is no matter, nor the order of ids."""
        ports, numbers = {}, {}
        for name, node in self.nodes.items():
            ports |= {node.client_port: f"CLIENT-{name}", node.peer_port: f"PEER-{name}"}
        for name, member in self.known().items():
            numbers[member.id] = f"ID-{name}"
        for name, number in ids.items():
            numbers.setdefault(int(number, 16), f"ID-{name}")
        text = normalise(text, step.line, ports, numbers | {self.cluster_id: "CLUSTER"})
        # etcdctl prints ids that are shorter than 16 digits with blanks before them
        text = re.sub(r"(Member|cluster) +", r"\1 ", text)
        text = re.sub(r'"(member_id)":"?[\w-]+"?', r'"\1":ID', text)
        if step.at in ("leader", "follower") or "{" in step.line:
            text = self._hide_roles(text, leader)
        return self._sort(text)

    def _hide_roles(self, text, leader):
        others = [node.name for node in self.cluster if node.name != leader]
        for name, mask in {leader: "n#", **{other: "n#" for other in others}}.items():
            text = re.sub(rf"\b{name}\b", mask, text)
        return text

    @staticmethod
    def _sort(text):
        def sort_cluster(match):
            return match[1] + ",".join(sorted(match[2].split(","))) + '"'

        text = re.sub(r'(ETCD_INITIAL_CLUSTER=")([^"]*)"', sort_cluster, text)
        match = re.search(r'"members":\[(.*)\]', text)
        if match:
            rows = re.findall(r"\{[^{}]*\}", match[1])
            return text.replace(match[1], ",".join(sorted(rows)))
        return "\n".join(sorted(text.splitlines()))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    reference, version = reference_or_skip()
    if version < (3, 7):
        pytest.skip("etcd 3.4 has other rules")
    etcdctl = peer_or_skip("etcdctl-3.7.1")
    sessions = [Session(program, etcdctl, tmp_path_factory.mktemp("members")) for program in (reference, raftd_or_skip())]

    def play(session):
        session.start()
        return [session.run_step(step) for step in SCRIPT]

    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            yield (*pool.map(play, sessions), sessions)
    finally:
        for session in sessions:
            session.close()


@pytest.mark.parametrize("place", range(len(SCRIPT)), ids=[f"{i:02d}: {step.line} at {step.at}" for i, step in enumerate(SCRIPT)])
def test_step(results, place):
    expected, ours, _ = results
    assert ours[place] == expected[place], json.dumps([expected[place], ours[place]], indent=1)


def test_a_removed_member_ends_alike(results):
    *_, (reference, ours) = results
    assert ours.exit_status == reference.exit_status
    words = "the member has been permanently removed from the cluster"
    for session in (reference, ours):
        assert words in session.nodes["l0"].log_path.read_text()
