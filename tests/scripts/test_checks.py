#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The checks of scripts/ find what they are there for: each rule is broken once, in a copy of the tree, and must be reported.

A check that cannot fail is a defect, so this is the test of the tests that read source code.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("top_builddir", ".")).resolve()
LATER = "TO" "DO"
LONG_FUNCTION = "int long_one(void);\nint long_one(void)\n{\n" + "    (void)0;\n" * 75 + "    return 0;\n}\n"

# (check, file, what is appended or what is replaced by what, what must be said)
BROKEN = [
    ("check-includes", "raft/log.c", '#include "mvcc/mvcc.h"', "raft may not use mvcc"),
    ("check-includes", "raft/log.c", '#include "net/loop.h"', "raft may not use net"),
    ("check-includes", "common/log.c", '#include "raft/raft.h"', "common may not use raft"),
    ("check-includes", "fsd/op.c", '#include "raft/raft.h"', "fsd may not use raft"),
    ("check-includes", "raftd/node/node.c", '#include "net/loop.h"', "raftd/node may not use net"),
    ("check-includes", "raftd/server.c", "#include <event2/event.h>", "only net may use <event2/event.h>"),
    ("check-includes", "raftd/server.c", "#  include <nghttp2/nghttp2.h>", "only net may use <nghttp2/nghttp2.h>"),
    ("check-includes", "mvcc/store.c", "#include <tdb.h>", "only mvcc/segment_tdb.c may use <tdb.h>"),
    ("check-includes", "raft/raft.h", ("RAFT_RAFT_H", "RAFT_H"), "the guard is not RAFT_RAFT_H"),
    ("check-includes", "raft/local.mk", "test_raft_LDADD += libnet.a", "unit tests of raft may not link libnet.a"),
    ("tidy", "raft/log.c", LONG_FUNCTION, "a function of 78 lines"),
    ("tidy", "raft/log.c", "/* x */\n" * 800, "lines: past 800"),
    ("tidy", "raft/log.c", f"/* {LATER}: later */", "do it now, or file it"),
    ("tidy", "raft/log.c", "/* see /home/" "me/x */", "somebody's machine"),
    ("tidy", "raft/log.c", "/* x */ ", "spaces at the end"),
    ("tidy", "raft/log.c", "\t/* x */", "a tab"),
    ("tidy", "raft/new.c", "int x;", "the SPDX line"),
    ("tidy", "tests/unit/test_new.c", "/* SPDX-License-Identifier: Apache-2.0 */", "no local.mk names it"),
    ("tidy", "tests/unit/check.h", "usleep(1);", "unit tests do not sleep"),
    ("check-manual", "doc/raftd.8", ("\\-\\-name \"", "\\-\\-mane \""), "--name is in raftd/conf.c and is not in"),
    ("check-manual", "doc/raftd.8", ("\\-\\-name \"", "\\-\\-mane \""), "--mane is in the manual and is not in"),
    ("check-manual", "doc/raftd.8", (".BR 1000 .", ".BR 100 ."), '--election-timeout: the default is "1000"'),
    ("check-manual", "doc/raftfs.8", ("\\-o commit=", "\\-o comet="), "-o commit= is in the summary of raftfs and is not in"),
    ("check-manual", "doc/raftfs.8", ("\\-o commit=", "\\-o comet="), "-o comet= is in the manual and is not in"),
]

# (library, C that goes into it, what must be said)
LINKED = [
    ("libraft.a", "void *event_base_new(void); void *f(void); void *f(void) { return event_base_new(); }", "only net may call event_*"),
    ("libraft.a", "long time(long *); long f(void); long f(void) { return time(0); }", "may not call time"),
    ("libcommon.a", "int raft_tick(void *); int f(void); int f(void) { return raft_tick(0); }", "common may not use raft: raft_tick"),
    ("libmvcc.a", "int loop_run(void *); int f(void); int f(void) { return loop_run(0); }", "mvcc may not use net: loop_run"),
]


def run(check, *args):
    done = subprocess.run([ROOT / "scripts" / check, *args], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def expect(what, check, result, text):
    """0 or 1: how many expectations failed."""
    status, said = result
    if status != 0 and text in said:
        return 0
    print(f"{check} did not report {what} (status {status}); expected to read: {text}\n{said[-1000:]}")
    return 1


def copy_tree(to):
    shutil.copytree(ROOT, to, ignore=shutil.ignore_patterns(".git", "build*", "autom4te.cache", "__pycache__"))
    for directory, _, names in os.walk(to):  # a released tree may be read-only
        os.chmod(directory, 0o755)
        for name in names:
            os.chmod(os.path.join(directory, name), 0o644)


def break_file(path, how):
    old = path.read_text() if path.exists() else None
    path.write_text(old.replace(*how) if isinstance(how, tuple) else (old or "") + how + "\n")
    assert path.read_text() != old, f"{path}: {how} changes nothing; this test needs to learn how the file looks now"
    return old


def test_sources(tree):
    failed = 0
    for check, name, how, text in BROKEN:
        path = tree / name
        old = break_file(path, how)
        failed += expect(f"{name} with {str(how)[:40]!r}", check, run(check, str(tree)), text)
        if old is None:
            path.unlink()
        else:
            path.write_text(old)
    for check in ("check-includes", "tidy", "check-manual"):
        status, said = run(check, str(tree))
        if status != 0:
            print(f"{check} refuses the tree as it is:\n{said}")
            failed += 1
    return failed


def test_libraries(directory):
    failed = 0
    for number, (name, code, text) in enumerate(LINKED):
        build = directory / f"links{number}"
        build.mkdir()
        for library in BUILD.glob("lib*.a"):
            shutil.copy(library, build)
        (build / "x.c").write_text(code)
        subprocess.run([os.environ.get("CC", "cc"), "-c", "x.c", "-o", "x.o"], cwd=build, check=True, timeout=60)
        subprocess.run(["ar", "r", name, "x.o"], cwd=build, check=True, timeout=60)
        failed += expect(f"{name} with {code[:40]!r}", "check-links", run("check-links", str(build)), text)
    return failed


def main():
    with tempfile.TemporaryDirectory() as directory:
        tree = pathlib.Path(directory) / "tree"
        copy_tree(tree)
        failed = test_sources(tree) + test_libraries(pathlib.Path(directory))
    print(f"{len(BROKEN) + len(LINKED) - failed} of {len(BROKEN) + len(LINKED)} broken rules were reported")
    sys.exit(1 if failed else 0)


main()
