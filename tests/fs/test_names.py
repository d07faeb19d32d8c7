# SPDX-License-Identifier: Apache-2.0
"""Every key has exactly one path, every path names exactly one key, whoever wrote it."""

import errno
import os
import shutil

import pytest
from conftest import read, sh, wait_until, write

# Keys below the mount's prefix, and their only paths.
NAMES = [
    (b"plain", b"plain"),
    (b"deep/er/still", b"deep/er/still"),
    (b" ", b" "),
    (b"-rf", b"-rf"),
    (b"a b\tc", b"a b\tc"),
    (b"new\nline", b"new\nline"),
    (b"\xff\xfe\x80", b"\xff\xfe\x80"),
    ("größe/日本".encode(), "größe/日本".encode()),
    (b"nul\0byte", b"nul%00byte"),
    (b"50%", b"50%25"),
    (b"%41", b"%2541"),
    (b"%value", b"%25value"),
    (b"%empty", b"%25empty"),
    (b".", b"%2E"),
    (b"..", b"%2E%2E"),
    (b"...", b"..."),
    (b"dots/.", b"dots/%2E"),
    (b"dots/../x", b"dots/%2E%2E/x"),
    (b".hidden", b".hidden"),
    (b".linearizable", b"%2Elinearizable"),
    (b".watch/x", b"%2Ewatch/x"),
    (b".leases", b"%2Eleases"),
    (b".revisions", b"%2Erevisions"),
    (b".status", b"%2Estatus"),
    (b"below/.linearizable", b"below/.linearizable"),
    (b"a//b", b"a/%empty/b"),
    (b"a///c", b"a/%empty/%empty/c"),
    (b"/lead", b"%empty/lead"),
    (b"filled/", b"filled/%empty"),
    (b"both", b"both/%value"),
    (b"both/child", b"both/child"),
    (b"x" * 255, b"x" * 255),
]
NOT_CANONICAL = [b"%41", b"%2f", b"%2F", b"%zz", b"%", b"100%", b"%2", b"%2e", b"%2E%2e", b"%2Ehidden", b"%00x%", b"%2Eleases2", b"%empty2"]


def walk(top):
    """All files below, as paths from it."""
    top = os.fsencode(top)
    return {os.path.relpath(os.path.join(d, name), top) for d, _, names in os.walk(top) for name in names}


def path_of(mount, path):
    return os.path.join(os.fsencode(mount.path), path)


def test_keys_of_others_have_their_paths(keys, mount):
    for key, path in NAMES:
        keys.put(key, b"value of " + path)
    wait_until("all keys are seen", lambda: len(walk(mount.path)) == len(NAMES))
    assert walk(mount.path) == {path for _, path in NAMES}
    for _, path in NAMES:
        assert read(path_of(mount, path)) == b"value of " + path
        assert read(path_of(mount, b".linearizable/" + path)) == b"value of " + path


def test_paths_make_their_keys(keys, mount):
    for _, path in NAMES:
        os.makedirs(os.path.dirname(path_of(mount, path)), exist_ok=True)
    for _, path in NAMES:
        write(path_of(mount, path), path)
    found = {key: value for key, value in keys.all().items() if value}
    assert found == dict(NAMES)


def test_keys_and_paths_after_a_removal(keys, mount):
    """both/%value is the value of a key that is also a directory: either goes without the other."""
    keys.put(b"both", b"value")
    keys.put(b"both/child", b"x")
    wait_until("this member has both", lambda: read(mount.at("both", "%value")) == b"value")
    os.unlink(mount.at("both", "%value"))
    assert set(keys.all()) == {b"both/child"}
    keys.put(b"both", b"again")
    wait_until("it is back", lambda: read(mount.at("both", "%value")) == b"again")
    os.unlink(mount.at("both", "child"))
    wait_until("it is a file now", lambda: read(mount.at("both")) == b"again")


def test_a_directory_outlives_what_is_named_empty_in_it(keys, mount):
    """The key of %empty is the directory's own marker."""
    os.mkdir(mount.at("made"))
    write(mount.at("made", "%empty"), b"x")
    write(mount.at("made", "other"), b"x")
    assert sorted(os.listdir(mount.at("made"))) == ["%empty", "other"]
    os.unlink(mount.at("made", "%empty"))
    assert os.listdir(mount.at("made")) == ["other"]
    with pytest.raises(FileNotFoundError):
        os.unlink(mount.at("made", "%empty"))
    write(mount.at("made", "%empty"), b"again")
    shutil.rmtree(mount.at("made"))
    assert keys.all() == {}


@pytest.mark.parametrize("name", NOT_CANONICAL, ids=os.fsdecode)
def test_only_the_canonical_spelling_exists(keys, mount, name):
    keys.put(b"A", b"not this one")
    with pytest.raises(FileNotFoundError):
        os.stat(path_of(mount, name))
    with pytest.raises(OSError) as caught:
        write(path_of(mount, name), b"x")
    assert caught.value.errno in (errno.ENOENT, errno.EINVAL)
    with pytest.raises(OSError):
        os.mkdir(path_of(mount, name))
    assert keys.all() == {b"A": b"not this one"}


@pytest.mark.parametrize("key", [b"y" * 256, b"%" * 100, b"z" * 2000], ids=["256", "escaped", "2000"])
def test_components_too_long_for_a_name(keys, mount, key):
    keys.put(key, b"value")
    keys.put(b"dir/" + key + b"/below", b"value below")
    wait_until("both are there", lambda: len(os.listdir(mount.path)) == 2)
    (name,) = [name for name in os.listdir(mount.path) if name != "dir"]
    assert name.startswith("%long-") and len(name) < 256
    assert read(mount.at(name)) == b"value"
    assert os.listdir(mount.at("dir")) == [name]
    assert read(mount.at("dir", name, "below")) == b"value below"
    write(mount.at(name), b"changed")
    assert keys.get(key) == b"changed"
    os.unlink(mount.at(name))
    assert keys.get(key) is None


def test_a_digest_of_nothing_is_no_name(mount):
    with pytest.raises(FileNotFoundError):
        os.stat(mount.at("%long-" + "0" * 32))


def test_a_name_too_long_to_be_one(mount):
    for call in (os.stat, os.mkdir, lambda path: write(path, b"x")):
        with pytest.raises(OSError) as caught:
            call(mount.at("n" * 256))
        assert caught.value.errno == errno.ENAMETOOLONG


def test_directories_with_and_without_a_marker(keys, mount):
    os.mkdir(mount.at("made"))
    assert keys.all() == {b"made/": b""}
    assert os.listdir(mount.at("made")) == []
    keys.put(b"implied/child", b"x")
    wait_until("it is seen", lambda: os.path.isdir(mount.at("implied")))
    os.unlink(mount.at("implied", "child"))
    wait_until("nobody made it, and its last key is gone", lambda: not os.path.exists(mount.at("implied")))
    write(mount.at("made", "f"), b"x")
    os.unlink(mount.at("made", "f"))
    assert os.path.isdir(mount.at("made"))
    os.rmdir(mount.at("made"))
    assert keys.all() == {}


def test_a_tree_of_names_from_another_mount(two):
    for _, path in NAMES:
        os.makedirs(os.path.dirname(path_of(two[0], path)), exist_ok=True)
        write(path_of(two[0], path), path)
    wait_until("all are seen", lambda: walk(two[1].path) == {path for _, path in NAMES})
    assert all(read(path_of(two[1], path)) == path for _, path in NAMES)


def test_the_views_are_not_listed(mount):
    assert os.listdir(mount.path) == []
    assert os.path.isdir(mount.at(".linearizable"))


def test_a_prefix_without_its_slash_and_the_whole_store(keys, mount_on, store, prefix):
    keys.put(b"k", b"v")
    bare = mount_on(store[0], f"prefix={prefix.rstrip('/')}")
    wait_until("the same keys", lambda: read(bare.at("k")) == b"v")
    whole = mount_on(store[0], "prefix=/")
    wait_until("it is below", lambda: read(whole.at(prefix.strip("/"), "k")) == b"v")


@pytest.mark.parametrize("command", ["rm -r implied", "find implied -delete"])
def test_a_tree_that_nobody_made_can_be_removed(mount, keys, command):
    for name in (b"implied/a", b"implied/sub/b", b"implied/sub/deeper/c"):
        keys.put(name, b"x")
    wait_until("it is seen", lambda: os.path.exists(mount.at("implied", "sub", "deeper", "c")))
    sh(command, cwd=mount.path)
    assert keys.all() == {}
    assert not os.path.exists(mount.at("implied"))
