# SPDX-License-Identifier: Apache-2.0
"""Without a source raftfs starts a private store, finds it again, and starts it again when it died. And what it refuses to mount."""

import fcntl
import os
import pathlib
import signal
import subprocess
import tempfile
import time

import mounts
import pytest
import servers
from conftest import WAIT_SECONDS, read, wait_until, write


@pytest.fixture
def home():
    """A short path, for the socket in it; the store that was started there is ended."""
    with tempfile.TemporaryDirectory(prefix="raftfs-home.") as path:
        yield path
        for pid in stores(path):
            os.kill(pid, signal.SIGKILL)
            wait_until("the store has ended", lambda: not stores(path))


def stores(home):
    """The pids of the raftd that keep their data below home."""
    found = []
    for directory in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (directory / "cmdline").read_bytes().split(b"\0")
            state = (directory / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if f"{home}/raftfs/data".encode() in words and state != "Z":
            found.append(int(directory.name))
    return found


@pytest.fixture
def embedded(raftfs, raftd, home):
    """embedded(): one more mount of the private store."""
    made = []

    def mount():
        m = mounts.Mount(raftfs, None, environment={"XDG_DATA_HOME": home, "RAFTFS_RAFTD": raftd})
        made.append(m)
        m.start()
        return m

    yield mount
    for m in made:
        m.close()


def test_it_starts_and_is_found_again(embedded, home):
    first = embedded()
    write(first.at("f"), b"value")
    (pid,) = stores(home)
    second = embedded()
    assert stores(home) == [pid], "one store for all mounts"
    wait_until("the same keys", lambda: read(second.at("f")) == b"value")
    assert first.stop() == 0 and second.stop() == 0
    third = embedded()
    assert read(third.at("f")) == b"value"


def is_free(lock):
    with open(lock, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_it_survives_kill_9(embedded, home):
    mount = embedded()
    write(mount.at("f"), b"value")
    (pid,) = stores(home)
    assert mount.stop() == 0
    os.kill(pid, signal.SIGKILL)
    wait_until("it has ended", lambda: not stores(home))
    (lock,) = pathlib.Path(home).rglob("lock")
    wait_until("a last sync of it has, too", lambda: is_free(lock))
    assert read(embedded().at("f")) == b"value"
    (again,) = stores(home)
    assert again != pid


def test_its_files_are_private(embedded, home):
    embedded()
    assert os.stat(os.path.join(home, "raftfs")).st_mode & 0o077 == 0
    assert os.stat(os.path.join(home, "raftfs", "client.sock")).st_mode & 0o077 == 0


def test_it_goes_to_the_background_once_it_serves(raftfs, raftd, home, tmp_path):
    environment = {**os.environ, "XDG_DATA_HOME": home, "RAFTFS_RAFTD": raftd}
    done = subprocess.run([raftfs, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    try:
        assert done.returncode == 0, done
        write(str(tmp_path / "f"), b"value")
        assert read(str(tmp_path / "f")) == b"value"
    finally:
        subprocess.run(["fusermount3", "-u", "-z", str(tmp_path)], check=False, timeout=WAIT_SECONDS)
    assert not os.path.ismount(tmp_path)


def test_a_store_that_does_not_start_is_reported(raftfs, home, tmp_path):
    environment = {**os.environ, "XDG_DATA_HOME": home, "RAFTFS_RAFTD": "/bin/false"}
    done = subprocess.run([raftfs, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert done.returncode == 1 and "raftd.log" in done.stderr, done
    assert not os.path.ismount(tmp_path)


REFUSED = [
    (["-o", "frobnicate", "http://127.0.0.1:1", "DIR"], "frobnicate"),
    (["-o", "timeout=soon", "http://127.0.0.1:1", "DIR"], "timeout=soon"),
    (["-o", "timeout=0", "http://127.0.0.1:1", "DIR"], "timeout=0"),
    (["-o", "commit=never", "http://127.0.0.1:1", "DIR"], "commit=never"),
    (["-o", "umask=9", "http://127.0.0.1:1", "DIR"], "umask=9"),
    (["ftp://h:1", "DIR"], "ftp://h:1"),
    (["http://h", "DIR"], "http://h"),
    (["-o", "timeout=1", "http://127.0.0.1:1", "DIR"], "127.0.0.1:1"),
    (["-o", "timeout=1", "unix:///nowhere.sock", "DIR"], "/nowhere.sock"),
    ([], "directory"),
]


@pytest.mark.parametrize("words, named", REFUSED, ids=[" ".join(words) or "nothing" for words, _ in REFUSED])
def test_what_cannot_be_mounted_is_refused_in_a_line(raftfs, tmp_path, words, named):
    command = [raftfs, *(str(tmp_path) if word == "DIR" else word for word in words)]
    begin = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert done.returncode != 0, done
    lines = [line for line in done.stderr.splitlines() if line.startswith(("raftfs: ", "usage: "))]
    assert len(lines) == 1 and named in lines[0], done.stderr
    assert not os.path.ismount(tmp_path)
    assert time.monotonic() - begin < WAIT_SECONDS


def test_a_directory_that_is_not_there(raftfs, raftd_cluster):
    command = [raftfs, raftd_cluster[0].client_url, "/nowhere/at/all"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert done.returncode == 1 and "/nowhere/at/all" in done.stderr, done


def test_a_store_of_another_kind(raftfs, tmp_path):
    """Something listens there and speaks no gRPC."""
    port = servers.free_port()
    program = f"import socket\ns = socket.create_server(('127.0.0.1', {port}))\nprint(flush=True)\n"
    program += "while True:\n    c, _ = s.accept(); c.recv(999); c.sendall(b'HTTP/1.1 400 Bad Request\\r\\n\\r\\n'); c.close()\n"
    server = subprocess.Popen(["python3", "-c", program], stdout=subprocess.PIPE)
    try:
        server.stdout.readline()
        command = [raftfs, "-o", "timeout=1", f"http://127.0.0.1:{port}", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
        assert done.returncode == 1 and str(port) in done.stderr, done
        assert not os.path.ismount(tmp_path)
    finally:
        server.kill()
        server.wait()
