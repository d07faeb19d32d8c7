# SPDX-License-Identifier: Apache-2.0
"""More data than memory keeps: sealed into segments while it comes in, found again at a start, never taken for whole when it is not."""

import shutil
import time

import bulk
import h2c
import kv
import pytest
import servers
from conftest import rounds
from test_start import flip, refused
from writers import Writers

VALUE_BYTES = 32 << 10
MEMTABLE_BYTES = 64 << 20
SEALED = MEMTABLE_BYTES // VALUE_BYTES + 100  # so many writes seal a segment


def segments(node):
    return node.files("member/store/*.tdb")


def test_kill_while_sealing(raftd, tmp_path):
    with servers.Node(raftd, tmp_path) as node:
        with Writers([node], b"seal/", value_bytes=VALUE_BYTES) as writers:
            for i in range(rounds(3)):
                # Just before, during or just after a segment is made: it begins when the memtable is full.
                writers.wait_for_more(SEALED - 110 + 5 * (i % 5))
                node.kill9()
                node.start()
            writers.wait_for_more(1)
        writers.check([node])
        assert segments(node)


def test_members_that_seal(cluster):
    with Writers(list(cluster), b"seal/", value_bytes=VALUE_BYTES) as writers:
        writers.wait_for_more(SEALED + SEALED // 2, seconds=120)
    for node in cluster:
        node.kill9()
    cluster.start()
    writers.check(cluster)
    assert all(segments(node) for node in cluster)


@pytest.fixture
def sealed(raftd, tmp_path):
    """A member that was stopped, with a segment or two; the keys b"k/%d" with values that begin with their number."""
    with servers.Node(raftd, tmp_path) as node:
        bulk.load(node, ((b"k/%d" % i, (b"number %06d " % i).ljust(8 << 10, b"v")) for i in range(9000)))
        deadline = time.monotonic() + servers.READY_SECONDS
        while node.files("member/wal/0000000000000001-*"):
            assert time.monotonic() < deadline, "the log is not released behind a segment"
            time.sleep(0.05)
        assert node.stop() == 0
        assert segments(node)
        yield node


def test_damage_in_a_value_is_no_value(sealed):
    segment = segments(sealed)[0]
    data = segment.read_bytes()
    flip(segment, data.index(b"number 000007 ") + 100)
    sealed.start()
    with sealed.channel() as channel:
        with pytest.raises(h2c.CallFailed):
            kv.get(channel, b"k/7")
        assert kv.get(channel, b"k/8").startswith(b"number 000008 ")
    assert sealed.is_running()


def test_a_segment_without_its_side_file(sealed):
    for path in segments(sealed):
        path.with_suffix(".keys").unlink()
    sealed.start()
    with sealed.channel() as channel:
        assert kv.get(channel, b"k/0").startswith(b"number 000000 ")
        assert kv.get(channel, b"k/8999").startswith(b"number 008999 ")


def test_a_segment_with_a_damaged_side_file(sealed):
    flip(segments(sealed)[0].with_suffix(".keys"), 5000)
    sealed.start()
    with sealed.channel() as channel:
        assert kv.get(channel, b"k/0").startswith(b"number 000000 ")


@pytest.mark.parametrize("how", ["cut", "emptied", "gone"])
def test_a_segment_that_is_not_whole_is_refused(sealed, tmp_path, how):
    segment = segments(sealed)[0]
    if how == "gone":
        segment.unlink()
    else:
        with open(segment, "r+b") as file:
            file.truncate(0 if how == "emptied" else segment.stat().st_size // 2)
        segment.with_suffix(".keys").unlink()
    line = refused(sealed.command(), tmp_path)
    assert "store" in line or "log" in line, line


def test_a_log_that_is_gone_is_refused(sealed, tmp_path):
    shutil.rmtree(sealed.data_dir / "member" / "wal")
    line = refused(sealed.command(), tmp_path)
    assert "member/wal" in line and "missing" in line
