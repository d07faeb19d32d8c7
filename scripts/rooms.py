# SPDX-License-Identifier: Apache-2.0
"""The rooms, and what each may use: the one table that check-includes (words) and check-links (the linker's view) go by."""

import os

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

MAY_USE = {
    "common": set(),
    "raft": {"common"},
    "mvcc": {"common"},
    "net": {"common"},
    "proto": {"common"},
    "raftd/wal": {"common", "raft"},
    "raftd/node": {"common", "raft", "mvcc", "proto", "raftd/wal"},
    "raftd/peer": {"common", "raft", "net"},
    "raftd/api": {"common", "raft", "mvcc", "proto", "net", "raftd/node"},
    "raftd": {"common", "raft", "mvcc", "proto", "net", "raftd/wal", "raftd/node", "raftd/peer", "raftd/api"},
    "fsd": {"common", "net", "proto"},
}

# Whoever includes a header that starts so must be one of these; a file instead of a room is the one door in its room.
HEADERS = {
    "event2/": {"net"},
    "event.h": {"net"},
    "nghttp2/": {"net"},
    "openssl/": {"net"},
    "tdb.h": {"mvcc/segment_tdb.c"},
    "fuse": {"fsd"},
    "protobuf-c/": {"proto"},
    "sys/socket.h": {"net", "raftd/peer", "fsd"},
}

# The same of the libraries' functions, for the linker's view. Generated code and who packs messages use protobuf-c.
SYMBOLS = {
    "event_": {"net"},
    "evbuffer_": {"net"},
    "evthread_": {"net"},
    "nghttp2_": {"net"},
    "EVP_": {"net"},
    "SHA": {"net"},
    "tdb_": {"mvcc"},
    "fuse_": {"fsd"},
    "protobuf_c_": {"proto", "raftd/node", "raftd/api", "raftd", "fsd"},
}

# What the replicated part may not even be able to do: read a clock, draw a random number, and in raft/ any I/O at all.
CLOCK_AND_CHANCE = {"clock_gettime", "gettimeofday", "time", "rand", "random", "getrandom", "rand_r", "localtime"}
INPUT_OUTPUT = {"open", "openat", "read", "write", "pread", "pwrite", "socket", "send", "recv", "fopen", "printf", "puts"}
MAY_NOT_CALL = {
    "raft": CLOCK_AND_CHANCE | INPUT_OUTPUT | {"log_write", "rng_seed_from_system"},
    "mvcc": CLOCK_AND_CHANCE | {"socket", "printf", "fprintf", "log_write", "rng_seed_from_system"},
    "raftd/node": CLOCK_AND_CHANCE | INPUT_OUTPUT,
}


def is_library_of(room, name):
    """libraft.a; and a room may be split: libfsd.a, libfsd-pure.a."""
    base = os.path.basename(room)
    return name == f"lib{base}.a" or (name.startswith(f"lib{base}-") and name.endswith(".a"))
