# SPDX-License-Identifier: Apache-2.0
"""The same session with etcdctl against raftd and against etcd 3.7.1: exit code, stdout and stderr of every command are equal."""

import concurrent.futures
import difflib
import itertools
import os
import signal
import subprocess
import threading

import pytest
from conftest import peer_or_skip, raftd_or_skip, reference_or_skip

import h2c
import servers
from etcdctl_script import LATER, SCRIPT, Step
from normalise import normalise

# A shell that starts tests in the background has it ignored, etcdctl would inherit that, and a watch would never end.
signal.signal(signal.SIGINT, signal.default_int_handler)

STEP_SECONDS = 30
CLIENTS = {"3.7.1": (3, 7), "debian": (3, 4)}


def client_or_skip(name):
    if name == "debian":
        program = "/usr/bin/etcdctl"
        if not os.path.exists(program):
            pytest.skip("no /usr/bin/etcdctl; Debian's package etcd-client has it")
        return program
    return peer_or_skip(f"etcdctl-{name}")


def environment_of(version, node):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
    environment |= {"ETCDCTL_ENDPOINTS": node.client_url.removeprefix("http://"), "LC_ALL": "C.UTF-8"}
    if version < (3, 6):
        environment["ETCDCTL_API"] = "3"  # newer ones warn of it
    return environment


def header_of(node):
    """(cluster id, member id, revision) now. RangeResponse: header = 1 {cluster_id = 1, member_id = 2, revision = 3}."""
    header = h2c.parse(h2c.parse(node.call(servers.RANGE, h2c.field(1, "header")))[1][0])
    return header[1][0], header[2][0], header[3][0]


def run_until(argv, environment, step, change):
    """(exit code, stdout, stderr) of a command that does not end by itself: interrupted once it has printed step.lines."""
    running = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    # A watch that never prints enough is ended by this, and its output tells.
    impatience = threading.Timer(STEP_SECONDS, running.kill)
    impatience.start()
    try:
        running.stdin.write(step.stdin)
        running.stdin.flush()  # and stays open: `watch -i` ends when it does
        for line in step.meanwhile:
            change(line)
        out = b"".join(itertools.islice(running.stdout, step.lines))
        running.send_signal(signal.SIGINT)
        running.wait()
        rest, err = running.communicate()
        return running.returncode, out + rest, err
    finally:
        impatience.cancel()
        running.kill()
        running.wait()


def run_step(etcdctl, version, node, step):
    environment = environment_of(version, node)
    cluster, member, revision = header_of(node)
    if step.lines:
        argv = [etcdctl, *step.argv(revision + 1)]
        code, *streams = run_until(argv, environment, step, lambda line: run_step(etcdctl, version, node, Step(line)))
    else:
        done = subprocess.run([etcdctl, *step.argv()], input=step.stdin, capture_output=True, env=environment, timeout=STEP_SECONDS)
        code, streams = done.returncode, (done.stdout, done.stderr)
    ports, ids = {node.client_port: "ENDPOINT", node.peer_port: "PEER"}, {cluster: "CLUSTER", member: "MEMBER"}
    return code, *(normalise(out.decode("utf-8", "surrogateescape"), step.line, ports, ids) for out in streams)


def run_script(etcdctl, node, version, reference_version):
    """The result of each step by its place in the script; once the server is gone the rest has no result."""
    results = {}
    for place, step in enumerate(SCRIPT):
        if version < step.since or reference_version < step.server:
            continue
        if not node.is_running():
            break
        results[place] = run_step(etcdctl, version, node, step)
    return results


@pytest.fixture(scope="module", params=CLIENTS)
def results(request, start_node):
    """(of the reference, of raftd) with one client; the two sessions run side by side."""
    etcdctl, version = client_or_skip(request.param), CLIENTS[request.param]
    reference, reference_version = reference_or_skip()
    nodes = [start_node(program, "server") for program in (reference, raftd_or_skip())]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        expected, ours = pool.map(lambda node: run_script(etcdctl, node, version, reference_version), nodes)
    return expected, ours, nodes[1]


def shorten(text, limit):
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def differences(expected, got):
    lines = []
    for name, want, have in zip(("exit code", "stdout", "stderr"), expected, got):
        if want != have:
            lines.append(f"{name} (-etcd +raftd):")
            lines += (shorten(line, 600) for line in difflib.ndiff(str(want).splitlines(), str(have).splitlines()) if line[0] in "-+")
    return lines


@pytest.mark.parametrize("place", range(len(SCRIPT)), ids=[f"{i:03d}: {shorten(s.title, 90)}" for i, s in enumerate(SCRIPT)])
def test_step(results, place):
    reference, ours, node = results
    if place not in reference:
        pytest.skip("this etcdctl has no such command, or the etcd that stands in answers differently")
    assert place in ours, f"raftd is gone{node.log_tail()}"
    if reference[place] != ours[place]:
        lines = [f"etcdctl {shorten(SCRIPT[place].title, 300)}", *differences(reference[place], ours[place])]
        pytest.fail("\n".join(lines), pytrace=False)


@pytest.mark.parametrize("client", CLIENTS)
def test_what_is_not_served_yet_says_so(client, start_node, tmp_path):
    """The steps of LATER: an error at once that names what is missing, and a server that goes on."""
    etcdctl, node = client_or_skip(client), start_node(raftd_or_skip(), "later")
    for step in itertools.chain(*LATER.values()):
        if CLIENTS[client] < step.since:
            continue
        step = step._replace(line=step.line.replace("SCRATCH", str(tmp_path)))
        code, stdout, stderr = run_step(etcdctl, CLIENTS[client], node, step)
        assert code != 0, step.line
        assert "code = Unimplemented desc = unknown method" in stdout + stderr, step.line
    assert run_step(etcdctl, CLIENTS[client], node, Step("put still here"))[:2] == (0, "OK\n")


def test_ids_follow_from_the_urls(start_node):
    """With equal peer URLs and token, etcd and raftd give cluster and member the same ids."""
    ids, peer_port = [], servers.free_port()
    for program in (reference_or_skip()[0], raftd_or_skip()):
        node = start_node(program, "ids", peer_port=peer_port)
        ids.append(header_of(node)[:2])
        node.stop()
    assert ids[0] == ids[1]
