# SPDX-License-Identifier: Apache-2.0
"""What shells and tools do is one revision, in the store when it returned, and never seen half."""

import contextlib
import errno
import os
import signal
import stat

import pytest
from conftest import WAIT_SECONDS, read, sh, wait_until, write

PAGE = 4096


@pytest.mark.parametrize("shell", ["bash", "dash"])
@pytest.mark.parametrize("before", [None, b"a longer value from before\n"], ids=["new", "old"])
def test_echo_is_one_revision(keys, mount, shell, before):
    if before:
        write(mount.at("f"), before)
    revision, version = keys.revision(), keys.version(b"f")
    sh("echo v > f", shell, cwd=mount.path)
    assert keys.get(b"f") == b"v\n"
    assert keys.version(b"f") == version + 1
    assert keys.revision() == revision + 1


COMMANDS = {
    "printf": ("printf %s v > f", b"v"),
    "cp": ("cp {small} f", b"s" * 100),
    "cp a page": ("cp {page} f", b"p" * PAGE),
    "cat big": ("cat {big} > f", b"b" * 1000000),
    "cp big": ("cp {big} f", b"b" * 1000000),
    "dd": ("dd if={pages} of=f bs=4096 status=none", b"q" * 3 * PAGE),
    "dd with fsync": ("dd if={pages} of=f bs=4096 conv=fsync status=none", b"q" * 3 * PAGE),
    "tee": ("echo v | tee f", b"v\n"),
    "stdio": ("seq 1 5000 | sed -n p > f", b"".join(b"%d\n" % i for i in range(1, 5001))),
    "a here document": ("cat > f <<END\none\ntwo\nEND", b"one\ntwo\n"),
    "a command list": ("{{ cat {small}; }} > f", b"s" * 100),
}


@pytest.mark.parametrize("what", COMMANDS)
@pytest.mark.parametrize("before", [None, b"the value from before"], ids=["new", "old"])
def test_tools_make_one_revision(keys, mount, tmp_path, what, before):
    files = {"small": b"s" * 100, "page": b"p" * PAGE, "pages": b"q" * 3 * PAGE, "big": b"b" * 1000000}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    command, expected = COMMANDS[what]
    if before:
        write(mount.at("f"), before)
    first = keys.revision() + 1
    sh(command.format(**{name: tmp_path / name for name in files}), cwd=mount.path)
    last = keys.revision()
    assert keys.get(b"f") == expected == read(mount.at("f"))
    seen = [keys.get(b"f", revision) for revision in range(first, last + 1)]
    if what.startswith("cp") and not before and seen[:1] == [b""]:
        del seen[0]  # GNU cp makes a new file with O_EXCL, and who wins that must be known before there is a value
    assert seen == [expected], f"{len(seen)} revisions of {[len(value) if value is not None else None for value in seen]} bytes"


def test_jq(keys, mount):
    sh("command -v jq >/dev/null && jq -n '[range(3000)]' > f", cwd=mount.path, check=False)
    if keys.get(b"f") is None:
        pytest.skip("no jq")
    assert keys.version(b"f") == 1
    assert keys.get(b"f").endswith(b"]\n")


def test_truncation_alone_is_a_revision_at_the_end(keys, mount):
    write(mount.at("f"), b"value")
    version = keys.version(b"f")
    fd = os.open(mount.at("f"), os.O_WRONLY | os.O_TRUNC)
    assert keys.get(b"f") == b"value", "the truncation waits for the first write"
    assert os.fstat(fd).st_size == 0, "here it is empty at once"
    assert read(mount.at("f")) == b""
    os.close(fd)
    wait_until("it is empty", lambda: keys.get(b"f") == b"")
    assert keys.version(b"f") == version + 1


def test_a_file_is_made_by_touch_and_by_colon(keys, mount):
    sh("touch a; : > b; > c", cwd=mount.path)
    wait_until("all are there", lambda: keys.all() == {b"a": b"", b"b": b"", b"c": b""})


def test_append_is_a_revision_a_write(keys, mount):
    for i in range(5):
        sh(f"echo line {i} >> log", cwd=mount.path)
    assert keys.get(b"log") == b"".join(b"line %d\n" % i for i in range(5))
    assert keys.version(b"log") == 5


def test_writes_in_place_merge(keys, mount):
    write(mount.at("f"), b"0123456789")
    fd = os.open(mount.at("f"), os.O_RDWR)
    assert os.pwrite(fd, b"AB", 2) == 2
    assert keys.get(b"f") == b"01AB456789"
    keys.put(b"f", b"abcdefghij")
    assert os.pwrite(fd, b"Z", 9) == 1
    assert keys.get(b"f") == b"abcdefghiZ"
    assert os.pwrite(fd, b"!", 12) == 1
    assert keys.get(b"f") == b"abcdefghiZ\0\0!"
    os.close(fd)


def test_truncate(keys, mount):
    write(mount.at("f"), b"0123456789")
    os.truncate(mount.at("f"), 4)
    assert keys.get(b"f") == b"0123" == read(mount.at("f"))
    os.truncate(mount.at("f"), 6)
    assert keys.get(b"f") == b"0123\0\0" == read(mount.at("f"))
    fd = os.open(mount.at("f"), os.O_RDWR)
    os.ftruncate(fd, 0)
    os.close(fd)
    wait_until("it is empty", lambda: keys.get(b"f") == b"")


def test_sync_writes_commit_at_once(keys, mount):
    fd = os.open(mount.at("f"), os.O_WRONLY | os.O_CREAT | os.O_SYNC)
    os.write(fd, b"p" * PAGE)
    assert keys.get(b"f") == b"p" * PAGE
    os.close(fd)


def test_a_held_page_is_committed_by_fsync(keys, mount):
    fd = os.open(mount.at("f"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(fd, b"p" * PAGE)
    assert keys.get(b"f") in (None, b"")
    os.fsync(fd)
    assert keys.get(b"f") == b"p" * PAGE
    os.write(fd, b"q" * PAGE)
    assert os.fstat(fd).st_size == 2 * PAGE
    os.close(fd)
    assert keys.get(b"f") == b"p" * PAGE + b"q" * PAGE


@pytest.mark.parametrize("mode, writes, versions", [("write", 3, 3), ("close", 3, 1)])
def test_commit_modes(keys, store, mount_on, mode, writes, versions):
    mount = mount_on(store[0], f"commit={mode}")
    fd = os.open(mount.at("f"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for i in range(writes):
        os.write(fd, b"%d" % i)
    os.close(fd)
    assert keys.get(b"f") == b"012"
    assert keys.version(b"f") == versions


def test_a_value_too_large_leaves_the_old_one(keys, mount, tmp_path):
    write(mount.at("f"), b"old")
    (tmp_path / "large").write_bytes(b"x" * (2 << 20))
    with pytest.raises(OSError) as caught:
        with open(mount.at("f"), "wb", buffering=0) as file:
            for _ in range(32):
                file.write(b"x" * (128 << 10))
            os.fsync(file.fileno())
    assert caught.value.errno == errno.EFBIG
    assert keys.get(b"f") == b"old"
    assert sh(f"cat {tmp_path / 'large'} > f", cwd=mount.path, check=False).returncode != 0
    assert keys.get(b"f") == b"old"
    wait_until("it reads as before", lambda: read(mount.at("f")) == b"old")
    with pytest.raises(OSError) as caught:
        os.truncate(mount.at("f"), 1 << 40)
    assert caught.value.errno == errno.EFBIG
    assert keys.get(b"f") == b"old"
    write(mount.at("f"), b"new")
    assert keys.get(b"f") == b"new"


def test_as_large_as_can_be(keys, mount):
    write(mount.at("f"), b"")
    with open(mount.at("f"), "wb", buffering=0) as file:
        for _ in range(10):
            file.write(b"x" * (140 << 10))
    assert keys.get(b"f") == b"x" * (1400 << 10) == read(mount.at("f"))


def test_rename(keys, mount):
    write(mount.at("a"), b"of a")
    write(mount.at("b"), b"of b")
    revision = keys.revision()
    os.rename(mount.at("a"), mount.at("b"))
    assert keys.revision() == revision + 1
    assert keys.all() == {b"b": b"of a"}
    assert os.listdir(mount.path) == ["b"]
    os.mkdir(mount.at("d"))
    os.rename(mount.at("b"), mount.at("d", "c"))
    assert keys.all() == {b"d/": b"", b"d/c": b"of a"}
    with pytest.raises(FileNotFoundError):
        os.rename(mount.at("gone"), mount.at("x"))
    os.mkdir(mount.at("e"))
    with pytest.raises(IsADirectoryError):
        os.rename(mount.at("d", "c"), mount.at("e"))


def test_sed_in_place_and_editors(keys, mount):
    write(mount.at("f"), b"color = red\n")
    sh("sed -i s/red/blue/ f", cwd=mount.path)
    assert keys.all() == {b"f": b"color = blue\n"}
    sh("cp f f.new && mv f.new f", cwd=mount.path)
    assert keys.all() == {b"f": b"color = blue\n"}


def test_an_unlinked_file_lives_on_in_its_handles(keys, mount):
    write(mount.at("f"), b"value")
    fd = os.open(mount.at("f"), os.O_RDWR)
    os.unlink(mount.at("f"))
    assert keys.all() == {} and os.listdir(mount.path) == []
    assert os.pread(fd, 100, 0) == b"value"
    assert os.pwrite(fd, b"VAL", 0) == 3
    assert os.pread(fd, 100, 0) == b"VALue"
    assert os.fstat(fd).st_nlink == 0
    os.close(fd)
    assert keys.all() == {}


def test_removed_elsewhere_while_open(keys, mount):
    write(mount.at("f"), b"value")
    fd = os.open(mount.at("f"), os.O_RDWR)
    assert os.pread(fd, 100, 0) == b"value"
    keys.delete(b"f")
    wait_until("it is gone", lambda: not os.path.exists(mount.at("f")))
    with pytest.raises(OSError) as caught:
        os.pwrite(fd, b"x", 0)
    assert caught.value.errno == errno.ESTALE
    os.close(fd)
    assert keys.all() == {}


def test_refusals(mount):
    os.mkdir(mount.at("d"))
    write(mount.at("d", "f"), b"x")
    cases = [
        (errno.ENOTEMPTY, lambda: os.rmdir(mount.at("d"))),
        (errno.EEXIST, lambda: os.mkdir(mount.at("d"))),
        (errno.EEXIST, lambda: os.mkdir(mount.at("d", "f"))),
        (errno.EISDIR, lambda: os.open(mount.at("d"), os.O_WRONLY)),
        (errno.EISDIR, lambda: os.unlink(mount.at("d"))),
        (errno.ENOTDIR, lambda: os.rmdir(mount.at("d", "f"))),
        (errno.ENOTDIR, lambda: os.stat(mount.at("d", "f", "g"))),
        (errno.ENOTDIR, lambda: write(mount.at("d", "f", "g"), b"x")),
        (errno.ENOENT, lambda: os.unlink(mount.at("gone"))),
        (errno.ENOENT, lambda: os.rmdir(mount.at("gone"))),
        (errno.ENOENT, lambda: write(mount.at("gone", "f"), b"x")),
        (errno.EPERM, lambda: os.link(mount.at("d", "f"), mount.at("l"))),
        (errno.EPERM, lambda: os.mkfifo(mount.at("fifo"))),
        (errno.EPERM, lambda: os.mknod(mount.at("dev"), stat.S_IFCHR | 0o600, os.makedev(1, 3))),
    ]
    for expected, call in cases:
        with pytest.raises(OSError) as caught:
            call()
        got = caught.value.errno
        assert got == expected, f"{errno.errorcode[got]}, not {errno.errorcode[expected]}: {caught.value}"


def test_a_read_only_mount(keys, store, mount_on):
    keys.put(b"f", b"value")
    mount = mount_on(store[0], "ro")
    wait_until("it is there", lambda: read(mount.at("f")) == b"value")
    for call in (lambda: write(mount.at("g"), b"x"), lambda: os.unlink(mount.at("f")), lambda: os.mkdir(mount.at("d"))):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EROFS


def test_attributes(mount):
    write(mount.at("f"), b"12345")
    os.mkdir(mount.at("d"))
    file, directory = os.stat(mount.at("f")), os.stat(mount.at("d"))
    assert stat.S_IFMT(file.st_mode) == stat.S_IFREG and file.st_mode & 0o777 == 0o644
    assert stat.S_IFMT(directory.st_mode) == stat.S_IFDIR and directory.st_mode & 0o777 == 0o755
    assert file.st_size == 5 and directory.st_nlink == 1
    assert (file.st_uid, file.st_gid) == (os.geteuid(), os.getegid())
    assert file.st_ino not in (0, directory.st_ino, os.stat(mount.linearizable("f")).st_ino)
    assert os.statvfs(mount.path).f_files >= 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_what_handles_hold_is_committed_when_raftfs_is_told_to_end(mount, keys, number):
    fd = os.open(mount.at("f"), os.O_WRONLY | os.O_CREAT)
    try:
        os.write(fd, b"x" * 4096)  # may be the middle of a stream: held
        assert keys.version(b"f") == 0
        mount.process.send_signal(number)
        assert mount.process.wait(WAIT_SECONDS) == 0
        assert keys.get(b"f") == b"x" * 4096
        assert not os.path.ismount(mount.path)
    finally:
        with contextlib.suppress(OSError):  # nobody answers any more
            os.close(fd)


def test_a_close_does_not_commit_the_truncation_of_another(keys, mount):
    """Two write one after the other, each in one revision; the first closes when the second has opened and not written yet."""
    first = os.open(mount.at("f"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(first, b"one")
    second = os.open(mount.at("f"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.close(first)
    os.write(second, b"two")
    os.close(second)
    assert keys.get(b"f") == b"two" == read(mount.at("f"))
    assert keys.version(b"f") == 2, "it was empty in between"
