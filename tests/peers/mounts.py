# SPDX-License-Identifier: Apache-2.0
"""raftfs as a process of a test: a directory with a store mounted on it. Unmounted at the end, however the test went."""

import os
import subprocess
import tempfile
import threading
import time

import servers

MOUNT_SECONDS = 20
# A call that hangs in the kernel hangs the test, too: after so long the daemon is killed, and the call fails with ENOTCONN.
LIFE_SECONDS = int(os.environ.get("RAFTFS_MOUNT_SECONDS", "300"))


def find_raftfs():
    """The raftfs to test: $RAFTFS, else the one of the build directory; None if there is none."""
    return servers.first_program([os.environ.get("RAFTFS"), os.path.join(os.environ.get("top_builddir", "."), "fsd", "raftfs")])


def why_not():
    """Why nothing can be mounted here; None if it can."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"/dev/fuse: {error.strerror}"
    return None


class Mount:
    """source: endpoints with commas; None: the private store of raftfs itself."""

    def __init__(self, program, source, options=(), environment=None, life_seconds=LIFE_SECONDS):
        self.program = program
        self.source = source
        self.options = list(options)
        self.environment = environment
        self.path = tempfile.mkdtemp(prefix="raftfs-mnt.")
        self.log_path = self.path + ".log"
        self.process = None
        self._watchdog = None
        self._life_seconds = life_seconds

    def command(self):
        words = [self.program, "-f"]
        if self.options:
            words += ["-o", ",".join(self.options)]
        return words + ([self.source] if self.source else []) + [self.path]

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **(self.environment or {})}
            )
        self._watchdog = threading.Timer(self._life_seconds, self.process.kill)
        self._watchdog.daemon = True
        self._watchdog.start()
        deadline = time.monotonic() + MOUNT_SECONDS
        while not os.path.ismount(self.path):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise servers.ServerError(f"not mounted{self.log_tail()}")
            time.sleep(0.01)

    def at(self, *names):
        return os.path.join(self.path, *names)

    def linearizable(self, *names):
        return os.path.join(self.path, ".linearizable", *names)

    def stop(self):
        """Unmount as a user would; the exit status of raftfs."""
        self._watchdog.cancel()
        subprocess.run(["fusermount3", "-u", self.path], check=True, timeout=MOUNT_SECONDS)
        return self.process.wait(MOUNT_SECONDS)

    def close(self):
        """Whatever state it is in: no mount and no process stays. What a sanitizer had to say fails the test."""
        if not os.path.exists(self.log_path):
            return  # closed before
        if self._watchdog:
            self._watchdog.cancel()
        if self.process and self.process.poll() is None:
            subprocess.run(["fusermount3", "-u", "-z", self.path], capture_output=True, check=False, timeout=MOUNT_SECONDS)
            try:
                self.process.wait(MOUNT_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if os.path.ismount(self.path) or self._is_dead_mount():
            subprocess.run(["fusermount3", "-u", "-z", self.path], capture_output=True, check=False, timeout=MOUNT_SECONDS)
        os.rmdir(self.path)
        log = self.log()
        os.unlink(self.log_path)
        found = servers.FINDING.search(log)
        if found:
            raise servers.ServerError(f"{' '.join(self.command())}: {found[0]}\n" + "\n".join(log.splitlines()[-60:]))

    def _is_dead_mount(self):
        try:
            os.stat(self.path)
        except OSError:
            return True
        return False

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def log_tail(self, lines=15):
        return "\n" + " ".join(self.command()) + "\n" + "\n".join(self.log().splitlines()[-lines:])

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()
