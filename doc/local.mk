# SPDX-License-Identifier: Apache-2.0
dist_man_MANS += doc/mount.raftfs.8 doc/raftd.8 doc/raftfs.8
EXTRA_DIST += doc/planted-bugs.md doc/benchmarks.md doc/faults.md doc/format-peer.md doc/format-segment.md doc/format-snapshot.md doc/format-wal.md doc/rounds.md
