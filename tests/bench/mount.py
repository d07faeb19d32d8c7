#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What reading and writing files costs, in any directories side by side.

    tests/bench/mount.py --minfuse tmpfs=/dev/shm raftfs=/mnt/config linearizable=/mnt/config/.linearizable

Each DIR gets a directory (or, where directories cannot be made, files) of its own for the run, with 1000 files of 256 bytes. Every
measurement takes the directories in turn within each round, so that what else the machine does falls on all. Ratios are to the first
directory named; above 1 is slower than that. --minfuse compiles tests/bench/minfuse.c, mounts it, and adds it.
"""

import argparse
import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from report import machine, median, pairs, percentile, table

FILES = 1000
VALUE = b"x" * 255 + b"\n"
MOUNT_SECONDS = 10


class Place:
    """A directory under test and the files in it."""

    def __init__(self, name, directory):
        self.name = name
        self.root = pathlib.Path(directory)
        self.own = self.root / f"raftfs-bench-{os.getpid()}"
        self.is_flat = False

    def prepare(self):
        try:
            self.own.mkdir()
        except OSError:
            self.own, self.is_flat = self.root, True
        for i in range(FILES):
            (self.own / f"bench-{i:04d}").write_bytes(VALUE)
        self.read_path = str(self.own / "bench-0500")
        self.write_path = str(self.own / "bench-0501")
        self.list_path = str(self.own)

    def clean(self):
        with contextlib.suppress(OSError):
            for path in self.own.glob("bench-[0-9]*"):
                path.unlink()
            if not self.is_flat:
                self.own.rmdir()


def open_read_close(place):
    fd = os.open(place.read_path, os.O_RDONLY)
    size = len(os.read(fd, 4096))
    os.close(fd)
    assert size == len(VALUE)


def stat(place):
    os.stat(place.read_path)


def list_names(place):
    assert len(os.listdir(place.list_path)) >= FILES


def list_long(place):
    """Names and attributes, as ls -l asks for them."""
    with os.scandir(place.list_path) as entries:
        for entry in entries:
            entry.stat(follow_symlinks=False)


def echo(place):
    """What a shell's > does: open with O_TRUNC, write, close."""
    fd = os.open(place.write_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(fd, VALUE)
    os.close(fd)


class Bash:
    """One bash that runs echo > file on demand; the time includes its parsing and two pipes, a fork is not among it."""

    def __init__(self):
        self.process = subprocess.Popen(["bash", "--norc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, place):
        self.process.stdin.write(b"echo value > '%s' && echo ok || echo failed\n" % os.fsencode(place.write_path))
        self.process.stdin.flush()
        assert self.process.stdout.readline() == b"ok\n"

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def measurements(bash):
    """(what, function, times per round)"""
    return [
        ("open, read, close", open_read_close, 2000),
        ("stat", stat, 2000),
        (f"list {FILES} names", list_names, 40),
        (f"list {FILES} with attributes", list_long, 20),
        ("echo in process", echo, 300),
        ("echo in bash", bash, 300),
    ]


def time_once(function, place):
    begin = time.perf_counter_ns()
    function(place)
    return (time.perf_counter_ns() - begin) / 1000


def measure(places, function, times, rounds):
    """{name: microseconds in ascending order}; the order of places turns from round to round."""
    micros = {place.name: [] for place in places}
    for turn in range(rounds):
        at = turn % len(places)
        for place in places[at:] + places[:at]:
            function(place)  # the first one meets cold caches
            micros[place.name] += [time_once(function, place) for _ in range(times)]
    return {name: sorted(values) for name, values in micros.items()}


def compile_minfuse(directory):
    source = pathlib.Path(__file__).resolve().parent / "minfuse.c"
    program = os.path.join(directory, "minfuse")
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], capture_output=True, text=True, check=True).stdout.split()
    compiler = os.environ.get("CC", "gcc").split()
    subprocess.run([*compiler, "-std=gnu11", "-O2", "-Wall", "-Wextra", str(source), "-o", program, *flags], check=True)
    return program


@contextlib.contextmanager
def minfuse(directory):
    """A mount of the least FUSE server, gone at the end."""
    program = compile_minfuse(directory)
    mount = os.path.join(directory, "minfuse.mnt")
    os.mkdir(mount)
    process = subprocess.Popen([program, "-f", mount])
    try:
        deadline = time.monotonic() + MOUNT_SECONDS
        while not os.path.ismount(mount):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("minfuse does not mount")
            time.sleep(0.02)
        yield mount
    finally:
        process.terminate()
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minfuse", action="store_true", help="add the least FUSE server")
    parser.add_argument("--markdown", metavar="FILE", help="write the table there too")
    parser.add_argument("places", nargs="*", metavar="NAME=DIR")
    options = parser.parse_args()
    named = pairs(options.places)
    if not named and not options.minfuse:
        parser.error("no directory")
    if options.minfuse and not os.access("/dev/fuse", os.R_OK | os.W_OK):
        print("no /dev/fuse here", file=sys.stderr)
        return 77
    with contextlib.ExitStack() as stack:
        if options.minfuse:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="raftfs-bench-"))
            named.append(("minfuse", stack.enter_context(minfuse(scratch))))
        bash = Bash()
        stack.callback(bash.close)
        places = [Place(name, directory) for name, directory in named]
        for place in places:
            stack.callback(place.clean)
            place.prepare()
        rows = []
        for what, function, times in measurements(bash):
            micros = measure(places, function, times, options.rounds)
            first = micros[places[0].name]
            for place in places:
                mine = micros[place.name]
                p50, p99 = median(mine), percentile(mine, 0.99)
                rows.append([what, place.name, p50, p50 / median(first), p99, p99 / percentile(first, 0.99)])
        text = f"{machine()}. {options.rounds} rounds, microseconds.\n\n"
        text += table(["work", "directory", "median us", "ratio", "p99 us", "ratio"], rows)
    print(text, end="")
    if options.markdown:
        pathlib.Path(options.markdown).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
