# SPDX-License-Identifier: Apache-2.0
"""Rounds: load, a fault, load goes on, the fault is undone, everybody is well again in time, the judge says yes.

Everything is drawn from one seed, which is printed; what the machine makes of it differs from run to run all the same.
"""

import collections
import contextlib
import dataclasses
import json
import os
import random
import subprocess
import time

import faults
import h2c
import kv
import mounts
import network
import servers

MEMBERS = 5
MOUNT_TIMEOUT_SECONDS = 1
MOUNT_LIFE_SECONDS = 3 * 3600
# So little that segments, snapshots to members that were away, and starts from both come in every run.
FLAGS = ["--snapshot-count", "2000", "--snapshot-catchup-entries", "500", "--memtable-bytes", "1048576"]
ELECTION_SECONDS = 1.0  # --election-timeout's default
CALM_SECONDS = (0.4, 1.0)  # load before the fault
FAULT_SECONDS = (0.5, 2.0)  # how long it lasts once writes work again
NO_QUORUM_SECONDS = (0.2, 0.8)  # how long it lasts where they cannot
LEADER_SECONDS_MAX = 10  # writes must work again, or something is broken
HEALTH_SECONDS_MAX = 30
LOAD_END_SECONDS = 60
JUDGE_SECONDS = 600
PROBE_SECONDS = 0.3


class Load:
    """The recording clients of one round, as one process; they go on until end()."""

    def __init__(self, program, cluster, mounted, number, seed, directory, flags=()):
        self.history = directory / f"round-{number:04}.jsonl"
        members = [f"{node.name}={node.client_url},{mount.path}" for node, mount in zip(cluster, mounted)]
        command = [program, "load", "-out", self.history, "-prefix", f"/r{number:04}-", "-seed", str(seed), *flags]
        # Go's scheduler sends itself signals; in a call to a mount each would be a person's Ctrl-C.
        environment = {**os.environ, "GODEBUG": "asyncpreemptoff=1"}
        self._process = subprocess.Popen(
            [*command, *(word for member in members for word in ("-member", member))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
            preexec_fn=servers.die_with_parent,
        )

    def end(self):
        try:
            said = self._process.communicate(timeout=LOAD_END_SECONDS)[0]
        except subprocess.TimeoutExpired:
            raise AssertionError("the clients hang") from None
        assert self._process.returncode == 0, said

    def close(self):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


@dataclasses.dataclass
class Row:
    """What came of one round."""

    number: int
    fault: faults.Fault
    operations: collections.Counter  # how many of each result
    failover_seconds: float  # from the loss of the leader to the first write acknowledged elsewhere that was begun after it; None: not lost
    health_seconds: float  # from its end until every member answers linearizable reads
    seconds: float


class Rounds:
    """A cluster on hosts of its own with a mount of every member, and what happened to it so far."""

    def __init__(self, program, raftd, raftfs, directory, seed):
        self.seed = seed
        self.rows = []
        self.operations = collections.Counter()  # (way, operation, result): how many
        self.keys = set()
        self.histories = []
        self._program, self._raftd, self._raftfs = program, raftd, raftfs
        self._directory = directory
        self._random = random.Random(seed)
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._network = stack.enter_context(network.Network(MEMBERS + 1))
            self.cluster = stack.enter_context(servers.Cluster(self._raftd, MEMBERS, self._directory, FLAGS, hosts=self._network.hosts))
            self._spare = servers.Node(self._raftd, self._directory, "spare", FLAGS, host=self._network.hosts[MEMBERS])
            stack.callback(self._spare.close)
            self._mounts = [
                stack.enter_context(
                    mounts.Mount(self._raftfs, node.client_url, [f"timeout={MOUNT_TIMEOUT_SECONDS}"], life_seconds=MOUNT_LIFE_SECONDS)
                )
                for node in self.cluster
            ]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        return self._stack.__exit__(*exception)

    def plan(self, count):
        return faults.plan(self._random, count)

    def run(self, fault, flags=()):
        """One round; flags: more of them for the clients."""
        number, begin = len(self.rows), time.monotonic()
        load = Load(self._program, self.cluster, self._mounts, number, self._random.getrandbits(32), self._directory, flags)
        try:
            time.sleep(self._random.uniform(*CALM_SECONDS))
            scene = faults.Scene(self.cluster, self._network, self._spare, self.cluster.leader(), self._random)
            begun = fault.begin(scene)
            struck = begun.since_ns or time.monotonic_ns()  # what is begun from here on is not served by whoever was struck
            try:
                if begun.survivors:
                    self._wait_for_a_write(begun.survivors, fault)
                time.sleep(self._random.uniform(*(FAULT_SECONDS if begun.survivors else NO_QUORUM_SECONDS)))
            finally:
                begun.heal()
            healed = time.monotonic()
            self.cluster.wait_ready(seconds=HEALTH_SECONDS_MAX)
            health = time.monotonic() - healed
            time.sleep(self._random.uniform(*CALM_SECONDS))
            load.end()
        finally:
            load.close()
        self.histories.append(load.history)
        counts, failover = self._read(load.history, struck, begun.survivors)
        lost = fault.elections_max is not None
        assert failover is not None or not lost, f"round {number}, {fault.name}: no write worked after it"
        row = Row(number, fault, counts, failover if lost else None, health, 0.0)
        self._judge([load.history], f"round {number}, {fault.name}")
        row.seconds = time.monotonic() - begin
        self.rows.append(row)
        return row

    def _wait_for_a_write(self, survivors, fault):
        deadline, key = time.monotonic() + LEADER_SECONDS_MAX, b"nemesis"
        while True:
            for node in survivors:
                with contextlib.suppress(h2c.CallFailed, OSError), node.channel(PROBE_SECONDS) as channel:
                    kv.put(channel, key, b"%d" % len(self.rows))
                    return
            logs = "".join(node.log_tail() for node in self.cluster)
            assert time.monotonic() < deadline, f"{fault.name}: no write works after {LEADER_SECONDS_MAX} s{logs}"

    def _read(self, history, struck, survivors):
        """How many operations ended how; after how many seconds a write begun after the fault was acknowledged elsewhere."""
        counts, first = collections.Counter(), None
        pulses = {f"{node.name}/pulse" for node in survivors}
        with open(history, encoding="utf-8") as file:
            for operation in map(json.loads, file):
                self.keys.add(operation["key"])
                counts[operation["result"]] += 1
                self.operations[way(operation["client"]), operation["op"], operation["result"]] += 1
                if operation["client"] in pulses and operation["result"] == "ok" and operation["call"] > struck:
                    first = min(first or operation["return"], operation["return"])
        return counts, (first - struck) / 1e9 if first else None

    def _judge(self, histories, what):
        done = subprocess.run(
            [self._program, "check", *histories], capture_output=True, text=True, timeout=JUDGE_SECONDS, check=False
        )
        assert done.returncode == 0, f"{what}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def finish(self):
        """All members hold the same; every acknowledged write is in it, or was overwritten; all histories together are linearizable."""
        self.cluster.wait_ready(seconds=HEALTH_SECONDS_MAX)
        dumps, hashes, revision = [], [], 0
        for node in self.cluster:
            with node.channel(60) as channel:
                call = time.monotonic_ns()
                revision, pairs = dump(channel, revision)
                dumps.append((call, pairs, time.monotonic_ns()))
                hashes.append(kv.hash_of(channel, revision)[0])
        for node, (_, pairs, _) in zip(self.cluster, dumps):
            assert pairs == dumps[0][1], f"{node.name} and {self.cluster[0].name} differ at revision {revision}"
        assert len(set(hashes)) == 1, f"hashes of the whole history at revision {revision}: {hashes}"
        call, pairs, back = dumps[0]
        last = self._directory / "last.jsonl"
        held = {}
        for pair in map(h2c.parse, pairs):
            held[pair[1][0].decode()] = pair.get(5, [b""])[0].decode(), pair[3][0]
        with open(last, "w", encoding="utf-8") as file:
            for key in self.keys:
                value, rev = held.get(key, ("", 0))
                seen = {"client": "last", "op": "get", "key": key, "result": "ok", "found": key in held, "seen": value, "rev": rev}
                file.write(json.dumps({**seen, "call": call, "return": back}) + "\n")
        judged = self._judge([*self.histories, last], "all rounds")
        return f"{MEMBERS} members equal at revision {revision}: {len(pairs)} pairs, hash {hashes[0]}\n{judged}"


def way(client):
    """How the client of an operation reaches the store: "n0/mount1" does through a mount."""
    return client.split("/")[1].rstrip("0123456789")


def dump(channel, revision):
    """(revision, all pairs as they are sent) of a member; revision 0: as of now, linearizably."""
    start, pairs = b"\0", []
    while True:
        request = h2c.field(1, start) + h2c.field(2, b"\0") + h2c.field(3, kv.PAGE) + h2c.field(4, revision)
        response = h2c.parse(channel.call(kv.RANGE, request))
        revision = revision or kv.revision_of(response)
        pairs += response.get(2, [])
        if not response.get(3, [0])[0]:
            return revision, pairs
        start = h2c.parse(response[2][-1])[1][0] + b"\0"
