# SPDX-License-Identifier: Apache-2.0
"""What a mount says when the cluster cannot answer: in time, with the reason, and never something stale as if it were new."""

import errno
import os
import signal
import subprocess
import threading
import time

import network
import pytest
import servers
from conftest import SHELL_SECONDS, read, rounds, sh, wait_until, write

TIMEOUT = 1.5  # of the mounts here
LATE_SECONDS = 20  # a busy machine may be late; a call that hangs is later


@pytest.fixture
def cluster(raftd, tmp_path):
    """One of this test's own, to break."""
    with servers.Cluster(raftd, 3, tmp_path) as cluster:
        yield cluster


@pytest.fixture
def lonely(cluster, mount_on):
    """A mount on a member that has lost both others, with the file f that was read before."""
    mount = mount_on(cluster[0], f"timeout={TIMEOUT}")
    write(mount.at("f"), b"value")
    os.mkdir(mount.at("d"))
    assert read(mount.at("f")) == b"value"
    wait_until("it is applied here", lambda: read(mount.linearizable("f")) == b"value")
    cluster[1].kill9()
    cluster[2].kill9()
    return mount


def times_out(call, name=""):
    begin = time.monotonic()
    with pytest.raises(OSError) as caught:
        call()
    took = time.monotonic() - begin
    got = errno.errorcode[caught.value.errno]
    assert got == "ETIMEDOUT", f"{name}: {got} after {took:.1f} s"
    assert TIMEOUT * 0.9 < took < LATE_SECONDS, f"{name}: after {took:.1f} s"


def write_only(path, data):
    """The error must come from write(2), not from close(2), which shells ignore."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, data)
    finally:
        try:
            os.close(fd)
        except OSError:
            pass


def test_without_a_quorum(lonely):
    assert read(lonely.at("f")) == b"value"
    assert sorted(os.listdir(lonely.path)) == ["d", "f"]
    times_out(lambda: write_only(lonely.at("f"), b"new"), "write")
    times_out(lambda: os.close(os.open(lonely.at("g"), os.O_WRONLY | os.O_CREAT | os.O_EXCL)), "O_EXCL")
    times_out(lambda: os.mkdir(lonely.at("e")), "mkdir")
    times_out(lambda: os.rmdir(lonely.at("d")), "rmdir")
    times_out(lambda: os.unlink(lonely.at("f")), "unlink")
    times_out(lambda: os.rename(lonely.at("f"), lonely.at("h")), "rename")
    times_out(lambda: os.truncate(lonely.at("f"), 1), "truncate")
    times_out(lambda: read(lonely.linearizable("f")), "linearizable open")
    times_out(lambda: os.stat(lonely.linearizable("f")), "linearizable stat")
    times_out(lambda: os.listdir(lonely.linearizable()), "linearizable readdir")
    assert read(lonely.at("f")) == b"value", "what never went through is not to be seen"


@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_a_shell_hears_of_it(lonely, shell):
    for command in ("echo new > f", "echo new >> f"):
        done = sh(command, shell, cwd=lonely.path, check=False)
        assert done.returncode != 0, command
        assert os.strerror(errno.ETIMEDOUT) in done.stderr or "I/O error" in done.stderr, done


def test_it_goes_on_when_the_quorum_is_back(cluster, lonely):
    times_out(lambda: write_only(lonely.at("f"), b"lost or not"))
    cluster[1].start(wait=False)
    cluster.wait_ready(cluster.running())
    write(lonely.at("f"), b"back")
    assert read(lonely.at("f")) == b"back" == read(lonely.linearizable("f"))


CALLS = {
    "write": "import os; os.write(os.open('f', os.O_WRONLY), b'x')",
    "mkdir": "import os; os.mkdir('new')",
    "unlink": "import os; os.unlink('f')",
    "linearizable": "import os; open('.linearizable/f').read()",
}


@pytest.mark.parametrize("what", CALLS)
def test_interrupts(cluster, mount_on, what):
    mount = mount_on(cluster[0], "timeout=600")
    write(mount.at("f"), b"value")
    cluster[1].kill9()
    cluster[2].kill9()
    # No KeyboardInterrupt: the system call must return EINTR. Python repeats one after a handler that returns, so the handler raises.
    program = "import signal\nclass E(Exception): pass\ndef h(*_): raise E()\nsignal.signal(signal.SIGINT, h)\nprint('go', flush=True)\n"
    program += f"try:\n    {CALLS[what]}\nexcept E:\n    print('EINTR', flush=True)\n"
    process = subprocess.Popen(["python3", "-c", program], cwd=mount.path, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "go\n"
        time.sleep(0.5)
        assert process.poll() is None, "it should be waiting"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=SHELL_SECONDS)[0] == "EINTR\n"
    finally:
        process.kill()
        process.wait()
    assert read(mount.at("f")) == b"value", "the mount serves on"


def test_a_killed_client_does_not_stay(cluster, mount_on):
    mount = mount_on(cluster[0], "timeout=600")
    write(mount.at("f"), b"value")
    cluster[1].kill9()
    cluster[2].kill9()
    process = subprocess.Popen(["bash", "-c", "echo x > f"], cwd=mount.path)
    time.sleep(0.5)
    process.kill()
    process.wait(SHELL_SECONDS)


def test_a_dead_store(cluster, mount_on):
    mount = mount_on(cluster[0], f"timeout={TIMEOUT}")
    write(mount.at("f"), b"value")
    assert read(mount.at("f")) == b"value"
    cluster[0].kill9()
    with pytest.raises(OSError) as caught:
        write_only(mount.at("f"), b"new")
    assert caught.value.errno in (errno.EHOSTUNREACH, errno.ETIMEDOUT)
    with pytest.raises(OSError) as caught:
        read(mount.linearizable("f"))
    assert caught.value.errno in (errno.EHOSTUNREACH, errno.ETIMEDOUT)
    cluster[0].start()
    wait_until("it is used again", lambda: read(mount.linearizable("f")) == b"value")
    write(mount.at("f"), b"after")
    assert read(mount.at("f")) == b"after"


def test_the_next_endpoint_is_used(cluster, mount_on):
    mount = mount_on(cluster[0], source=",".join(node.client_url for node in cluster))
    write(mount.at("f"), b"one")
    cluster[0].kill9()
    cluster.wait_ready(cluster.running())
    wait_until("another endpoint", lambda: read(mount.linearizable("f")) == b"one")
    write(mount.at("f"), b"two")
    assert read(mount.at("f")) == b"two"


def test_on_a_member_that_is_cut_off(raftd, tmp_path, mount_on):
    reason = network.why_not()
    if reason:
        pytest.skip(reason)
    with network.Network(3) as net, servers.Cluster(raftd, 3, tmp_path, hosts=net.hosts) as cluster:
        victim = cluster.followers()[0]
        here = mount_on(victim, f"timeout={TIMEOUT}")
        there = mount_on(cluster.leader())
        write(there.at("k"), b"old")
        assert read(here.linearizable("k")) == b"old"
        victim.host.cut()
        write(there.at("k"), b"new")
        assert sh("cat k", cwd=here.path).stdout == "old"
        done = sh("cat .linearizable/k", cwd=here.path, check=False)
        assert done.returncode != 0 and os.strerror(errno.ETIMEDOUT) in done.stderr, done
        times_out(lambda: read(here.linearizable("k")))
        times_out(lambda: write_only(here.at("k"), b"x"))
        victim.host.heal()
        wait_until("it has rejoined", lambda: read(here.linearizable("k")) == b"new")
        wait_until("and heard what it missed", lambda: read(here.at("k")) == b"new")
        here.close()
        there.close()


def test_linearizable_while_leaders_die(cluster, mount_on):
    """Never stale: what the other mount wrote last, or an error. A write of unknown outcome moves on to a fresh key."""
    count = rounds(400)
    leaders = max(2, min(count // 200, 40))
    endpoints = [",".join(cluster[(i + k) % 3].client_url for k in range(3)) for i in range(2)]
    two = [mount_on(cluster[i], f"timeout={TIMEOUT}", source=endpoints[i]) for i in range(2)]
    stop, killed = threading.Event(), []

    def chaos():
        while not stop.is_set() and len(killed) < leaders:
            if stop.wait(0.5):
                return
            leader = cluster.leader()
            leader.kill9()
            killed.append(leader.name)
            stop.wait(1.0)
            leader.start(wait=False)
            cluster.wait_ready()
        stop.wait()  # the servers it started die with this thread

    thread = threading.Thread(target=chaos)
    thread.start()
    checked = refused = generation = i = 0
    deadline = time.monotonic() + 120 + count
    try:
        while checked < count or (len(killed) < leaders and thread.is_alive()):
            assert time.monotonic() < deadline, f"{checked} of {count} after {len(killed)} leaders"
            here, there = two[i % 2], two[(i + 1) % 2]
            i += 1
            name, value = f"k{generation}", b"%d" % i
            try:
                write(here.at(name), value)
            except OSError as error:
                assert error.errno in (errno.ETIMEDOUT, errno.EHOSTUNREACH), error
                refused, generation = refused + 1, generation + 1
                continue
            try:
                assert read(there.linearizable(name)) == value
                checked += 1
            except OSError as error:
                assert error.errno in (errno.ETIMEDOUT, errno.EHOSTUNREACH), error
                refused += 1
    finally:
        stop.set()
        thread.join(SHELL_SECONDS)
    print(f"{checked} reads after writes on the other mount, {refused} refused, leaders killed: {len(killed)}")
    assert len(killed) == leaders
