#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long a node with many keys takes to load, to start again after SIGTERM and after kill -9, and to list.

    tests/bench/restart.py RAFTD [--keys 1000000] [--value-bytes 256] [--seconds-max 5]

"Started" is the first linearizable read that is answered. Ends with status 1 if a start took longer than --seconds-max.
"""

import argparse
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))
import bulk  # noqa: E402
import h2c  # noqa: E402
import kv  # noqa: E402
import servers  # noqa: E402

DIRECTORIES = 10
START_SECONDS = 300


def pairs(count, size):
    for i in range(count):
        yield b"/many/%d/%09d" % (i % DIRECTORIES, i), (b"%d " % i).ljust(size, b"v")


def timed(what, function):
    begin = time.monotonic()
    result = function()
    seconds = time.monotonic() - begin
    print(f"{what:<28} {seconds:8.3f} s", flush=True)
    return seconds, result


def start(node):
    node.start(wait=False)
    while not node.is_ready():
        if not node.is_running():
            raise SystemExit("it ended" + node.log_tail())
        time.sleep(0.002)


def count(node):
    request = h2c.field(1, b"/many/") + h2c.field(2, b"/many0") + h2c.field(9, 1)
    return h2c.parse(node.call(kv.RANGE, request, 60)).get(4, [0])[0]


def list_children(node):
    """As a mount does it where the server can group; one call."""
    request = h2c.field(1, b"/many/") + h2c.field(2, b"/many0") + h2c.field(1001, b"/") + h2c.field(1002, len("/many/"))
    return len(h2c.parse(node.call(kv.RANGE, request, 60)).get(2, []))


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("raftd")
    options.add_argument("--keys", type=int, default=1000000)
    options.add_argument("--value-bytes", type=int, default=256)
    options.add_argument("--seconds-max", type=float, default=5)
    args = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="raftfs-restart.") as directory, servers.Node(args.raftd, directory) as node:
        timed(f"load {args.keys} keys", lambda: bulk.load(node, pairs(args.keys, args.value_bytes)))
        disk = sum(path.stat().st_size for path in node.data_dir.rglob("*") if path.is_file())
        print(f"{'resident memory':<28} {node.rss_bytes() / 1e6:8.0f} MB\n{'on disk':<28} {disk / 1e6:8.0f} MB")
        slowest = 0.0
        for what, end in (("SIGTERM", node.stop), ("kill -9", node.kill9)):
            timed(what, end)
            seconds, _ = timed(f"start after {what}", lambda: start(node))
            slowest = max(slowest, seconds)
            print(f"{'resident memory':<28} {node.rss_bytes() / 1e6:8.0f} MB")
            found = count(node)
            if found != args.keys:
                raise SystemExit(f"{found} keys are there")
        timed(f"list {DIRECTORIES} directories", lambda: list_children(node))
    if slowest > args.seconds_max:
        raise SystemExit(f"a start took {slowest:.3f} s, more than {args.seconds_max} s")


main()
