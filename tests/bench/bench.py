#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Throughput, latency, CPU and memory of servers with the etcd v3 API, side by side in one run.

    tests/bench/bench.py raftd=build/raftd/raftd etcd=~/.cache/raftfs-peers/etcd-3.7.1

Each PROGRAM takes etcd's flags. All servers are up all the time and hold load in turn, in each round of each cell, so that what else
the machine does falls on all; the order turns from round to round. The figure of a cell is its median round. CPU is that of all
processes of a server, also of followers. Ratios are to the first server named; above 1 is more throughput, less of the rest.
"""

import argparse
import contextlib
import json
import os
import re
import sys
import tempfile
import time

import load
import servers
from report import machine, median, pairs, table

SETTLE_SECONDS = 0.3  # between two loads: what the last one left behind gets done


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, choices=(1, 3), action="append", help="members of each server; twice for both (default: both)")
    parser.add_argument("--seconds", type=int, default=3, help="of load, each (default: 3)")
    parser.add_argument("--rounds", type=int, default=3, help="of each cell (default: 3)")
    parser.add_argument("--cells", default="1x1,8x32,64x32", help="CONNECTIONSxSTREAMS, with commas")
    parser.add_argument("--operations", default=",".join(load.OPERATIONS), help="of: " + ", ".join(load.OPERATIONS))
    parser.add_argument("--fill", type=int, default=100000, metavar="KEYS", help="keys of the memory figure (default: 100000; 0: none)")
    parser.add_argument("--flags", default="", help="more flags for every server, with spaces")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables there too")
    parser.add_argument("--json", metavar="FILE", help="write every round there, a line each")
    parser.add_argument("servers", nargs="+", metavar="NAME=PROGRAM")
    options = parser.parse_args()
    options.nodes = options.nodes or [1, 3]
    options.cells = [tuple(map(int, cell.split("x"))) for cell in options.cells.split(",")]
    options.operations = options.operations.split(",")
    options.servers = [(name, os.path.expanduser(program)) for name, program in pairs(options.servers)]
    return options


class Target:
    """One member that takes load, and the cluster whose CPU it costs."""

    def __init__(self, name, role, node, cluster):
        self.name, self.role, self.node, self.cluster = name, role, node, cluster


def targets_of(name, cluster):
    leader = cluster.leader()
    load.prepare(leader)
    targets = [Target(name, "leader", leader, cluster)]
    followers = [node for node in cluster if node is not leader]
    if followers:
        targets.append(Target(name, "follower", followers[0], cluster))
    return targets


def measure(target, operation, cell, options, directory):
    before = target.cluster.cpu_seconds()
    sample = load.run(target.node, operation, *cell, options.seconds, directory)
    cpu_us = (target.cluster.cpu_seconds() - before) * 1e6 / max(1, sample.requests)
    if sample.failed:
        raise SystemExit(f"{target.name}: {sample.failed} of {sample.requests} requests failed; logs in {directory}")
    if (target.role == "leader") != target.node.is_leader():
        print(f"{target.name}: leadership moved; its roles are no longer what the table says", file=sys.stderr)
    time.sleep(SETTLE_SECONDS)
    return sample._asdict() | {"cpu_us": cpu_us}


def summary(rounds):
    """The median of each figure over the rounds of a cell."""
    return {figure: median(r[figure] for r in rounds) for figure in ("per_second", "p50_us", "p99_us", "cpu_us")}


def ratio(figure, first, other):
    if not first or not other:
        return None
    return other / first if figure == "per_second" else first / other


def cells_in_turn(targets, nodes, options, directory, log):
    """Rows of the table: [operation, connections x streams, role, server, figures and their ratios]."""
    rows = []
    roles = list(dict.fromkeys(target.role for target in targets))
    for operation in options.operations:
        for cell in options.cells:
            rounds = {id(target): [] for target in targets}
            for turn in range(options.rounds):
                for target in targets[turn % len(targets) :] + targets[: turn % len(targets)]:
                    figures = measure(target, operation, cell, options, directory)
                    rounds[id(target)].append(figures)
                    log(nodes=nodes, operation=operation, cell="%dx%d" % cell, server=target.name, role=target.role, **figures)
            for role in roles:
                rows += rows_of_cell(operation, "%dx%d" % cell, role, [t for t in targets if t.role == role], rounds)
    return rows


def rows_of_cell(operation, cell, role, targets, rounds):
    rows, first = [], None
    for target in targets:
        figures = summary(rounds[id(target)])
        first = first or figures
        row = [f"{operation} {cell} {role}", target.name]
        for figure, value in figures.items():
            row += [value, ratio(figure, first[figure], value)]
        rows.append(row)
    return rows


HEADS = ["work", "server", "req/s", "ratio", "p50 us", "ratio", "p99 us", "ratio", "CPU us", "ratio"]


def memory_rows(clusters, keys):
    """RSS of the largest member: as it is, and with so many keys more."""
    rows = []
    for name, cluster in clusters:
        before = max(cluster.rss_bytes())
        load.fill(cluster.leader(), keys)
        cluster.wait_ready()
        after = max(cluster.rss_bytes())
        rows.append([name, before / 2**20, after / 2**20, (after - before) / keys])
    return rows


def turn_rows(clusters):
    """What a server says at its end of its event loop's longest turn; those that say nothing have no row."""
    rows = []
    for name, cluster in clusters:
        cluster.stop()
        turns = [int(us) for node in cluster for us in re.findall(r"longest_turn_us=(\d+)", node.log_path.read_text(errors="replace"))]
        if turns:
            rows.append([name, max(turns) / 1000])
    return rows


def run(nodes, options, directory, say, log):
    with contextlib.ExitStack() as stack:
        clusters = []
        for name, program in options.servers:
            place = os.path.join(directory, f"{name}-{nodes}")
            os.mkdir(place)
            clusters.append((name, stack.enter_context(servers.Cluster(program, nodes, place, options.flags.split(), name))))
        say(f"\n## {nodes} node{'s' if nodes > 1 else ''}\n")
        if options.fill:
            fresh = table(["server", "MiB empty", f"MiB with {options.fill} keys", "bytes a key"], memory_rows(clusters, options.fill))
        targets = [target for name, cluster in clusters for target in targets_of(name, cluster)]
        say(table(HEADS, cells_in_turn(targets, nodes, options, directory, log)))
        if options.fill:
            say("Memory of the largest member, before and after loading keys of 256-byte values:\n")
            say(fresh)
        rss = [[name, max(cluster.rss_bytes()) / 2**20] for name, cluster in clusters]
        say("Memory of the largest member after all of the above:\n")
        say(table(["server", "MiB"], rss))
        turns = turn_rows(clusters)
        if turns:
            say("Longest turn of the event loop of any member, through all of the above:\n")
            say(table(["server", "ms"], turns))


def main():
    options = arguments()
    if not load.available():
        print("h2load is missing; Debian's package nghttp2-client has it", file=sys.stderr)
        return 77
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="raftfs-bench-"))
        rounds = stack.enter_context(open(options.json, "w")) if options.json else None
        tables = stack.enter_context(open(options.markdown, "w")) if options.markdown else None

        def say(text):
            print(text, flush=True)
            if tables:
                print(text, file=tables, flush=True)

        def log(**record):
            if rounds:
                print(json.dumps(record), file=rounds, flush=True)

        names = ", ".join(name for name, _ in options.servers)
        say(f"# {names}: 256-byte values over gRPC\n")
        say(f"{machine()}. Client and servers share it. Median of {options.rounds} rounds of {options.seconds} s; connections x streams.")
        for nodes in options.nodes:
            run(nodes, options, directory, say, log)
    return 0


if __name__ == "__main__":
    sys.exit(main())
