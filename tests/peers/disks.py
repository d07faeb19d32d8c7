# SPDX-License-Identifier: Apache-2.0
"""A small disk of its own: an ext4 image on a loop device, mounted where a member keeps its data. Needs root and loop devices.

    with Disk(directory, node.data_dir, 200) as disk:
        disk.fill(leave=0)

Filled from outside and emptied again; shut down as by a power cut.
"""

import fcntl
import os
import pathlib
import shutil
import struct
import subprocess

EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, u32)
NO_LOG_FLUSH = 2
MIB = 1 << 20


class NoDisk(Exception):
    """This machine cannot have one; says why."""


def _run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoDisk(f"{' '.join(command)}: {done.stderr.strip()}")


class Disk:
    """Mounted at `where` as long as it is open."""

    def __init__(self, directory, where, mib):
        if os.geteuid() != 0:
            raise NoDisk("mounting needs root")
        if not shutil.which("mkfs.ext4"):
            raise NoDisk("mkfs.ext4 is not there")
        self.where = pathlib.Path(where)
        self.image = pathlib.Path(directory) / f"{self.where.name}.image"
        self.filler = self.where / "filler"
        self.mounted = False
        with open(self.image, "wb") as file:
            file.truncate(mib * MIB)
        _run("mkfs.ext4", "-q", "-m", "0", str(self.image))
        self.where.mkdir(mode=0o700)
        self.mount()
        self.where.chmod(0o700)

    def mount(self):
        _run("mount", "-o", "loop", str(self.image), str(self.where))
        self.mounted = True

    def unmount(self):
        if self.mounted:
            _run("umount", str(self.where))
        self.mounted = False

    def free(self):
        stat = os.statvfs(self.where)
        return stat.f_bavail * stat.f_frsize

    def fill(self, leave):
        """Take what is free but for so many bytes."""
        with open(self.filler, "ab") as file:
            while self.free() > leave:
                size = os.fstat(file.fileno()).st_size
                try:
                    os.posix_fallocate(file.fileno(), size, max(4096, min(self.free() - leave, 8 * MIB)))
                except OSError:
                    if self.free() > 64 * 1024:
                        raise
                    return

    def empty(self):
        self.filler.unlink()

    def cut_power(self):
        """Nothing more reaches the disk, whatever was not synced is gone. Unmount and mount it then."""
        fd = os.open(self.where, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.unmount()
