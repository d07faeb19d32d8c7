# SPDX-License-Identifier: Apache-2.0
# Tests with processes and mounts: every file of pytest is one test of make check, run by tests/run-pytest (C unit tests stand with
# the room they test). What they need and a machine does not have skips them, with the reason.
TEST_EXTENSIONS = .py
PY_LOG_COMPILER = $(SHELL) $(top_srcdir)/tests/run-pytest
AM_TESTS_ENVIRONMENT = top_builddir='$(abs_top_builddir)'; export top_builddir; PYTHON='$(PYTHON)'; export PYTHON;

# The longest first, so that none of them is left alone at the end.
pytest_files = \
	tests/cluster/test_snapshot.py \
	tests/cluster/test_membership.py \
	tests/cluster/test_segments.py \
	tests/cluster/test_partial_partition.py \
	tests/compat/test_etcdctl.py \
	tests/fs/test_faults.py \
	tests/cluster/test_damage.py \
	tests/rounds/test_rounds.py \
	tests/cluster/test_crash.py \
	tests/cluster/test_disk_faults.py \
	tests/cluster/test_full_disk.py \
	tests/cluster/test_back_pressure.py \
	tests/cluster/test_handshake.py \
	tests/cluster/test_divergence.py \
	tests/cluster/test_hash.py \
	tests/cluster/test_interrupted_snapshot.py \
	tests/cluster/test_leader.py \
	tests/cluster/test_long_ranges.py \
	tests/cluster/test_names.py \
	tests/cluster/test_partition.py \
	tests/cluster/test_power_cuts.py \
	tests/cluster/test_replication.py \
	tests/cluster/test_stalled_disk.py \
	tests/cluster/test_start.py \
	tests/cluster/test_windows.py \
	tests/compat/test_client.py \
	tests/compat/test_malformed.py \
	tests/compat/test_members.py \
	tests/compat/test_move_leader.py \
	tests/compat/test_stop.py \
	tests/fs/test_embedded.py \
	tests/fs/test_list.py \
	tests/fs/test_names.py \
	tests/fs/test_random.py \
	tests/fs/test_two_mounts.py \
	tests/fs/test_write.py \
	tests/rounds/test_judge.py
TESTS += $(pytest_files)
# Enough to see that a release is whole, once all of them have passed in the tree: what looks at files, and one of each kind.
release_programs = tests/scenarios/run test_node test_mvcc
release_tests = $(CHECKS) $(release_programs) tests/cluster/test_replication.py tests/compat/test_client.py tests/fs/test_embedded.py

# Under a sanitizer: all that is compiled, and the processes but for tests that take minutes and run what others run as well: etcdctl's texts
# (compat/test_client calls the same), long transfers (test_snapshot in C, test_interrupted_snapshot), networks in parts and damaged files (the simulator).
sanitizer_tests = $(check_PROGRAMS) tests/examples/test_three_node.sh $(filter-out tests/compat/test_etcdctl.py tests/cluster/test_snapshot.py \
	tests/cluster/test_partial_partition.py tests/cluster/test_damage.py tests/rounds/test_rounds.py,$(pytest_files))

# Those in which threads meet, for a build with --enable-sanitizer=thread.
threaded_tests = test_wal_threads test_mvcc test_net_loop test_net_resolver
check-threads: $(threaded_tests)
	for test in $(threaded_tests); do ./$$test || exit 1; done
.PHONY: check-threads

# Files, never a directory: of one, make dist also takes what a build has left there (the tests' own logs).
EXTRA_DIST += $(pytest_files) \
	tests/bench/README.md tests/bench/bench.py tests/bench/load.py tests/bench/minfuse.c tests/bench/mount.py tests/bench/report.py \
	tests/bench/restart.py tests/bench/run \
	tests/cluster/conftest.py tests/cluster/traced.py tests/cluster/writers.py \
	tests/compat/conftest.py tests/compat/etcdctl_script.py tests/compat/normalise.py \
	tests/compat/go/go.mod tests/compat/go/go.sum tests/compat/go/main.go tests/compat/go/range.go tests/compat/go/txn.go \
	tests/compat/go/watch.go \
	tests/fs/conftest.py \
	tests/peers/README.md tests/peers/build tests/peers/bulk.py tests/peers/disks.py tests/peers/h2c.py tests/peers/h2raw.py tests/peers/kv.py tests/peers/members.py \
	tests/peers/etcd-3.5.21/etcd/main.go \
	tests/peers/etcd-3.5.21/go.mod tests/peers/etcd-3.5.21/go.sum \
	tests/peers/etcd-3.7.1/etcd/main.go \
	tests/peers/etcd-3.7.1/etcdctl/main.go \
	tests/peers/etcd-3.7.1/go.mod tests/peers/etcd-3.7.1/go.sum \
	tests/peers/mounts.py tests/peers/network.py tests/peers/servers.py \
	tests/rounds/conftest.py tests/rounds/faults.py tests/rounds/nemesis.py \
	tests/rounds/go/go.mod tests/rounds/go/go.sum tests/rounds/go/grpc.go tests/rounds/go/history.go tests/rounds/go/judge.go \
	tests/rounds/go/load.go tests/rounds/go/main.go tests/rounds/go/model.go tests/rounds/go/mount.go tests/rounds/go/mounts.go \
	tests/run-pytest tests/unit/temp_dir.h

include tests/bench/local.mk
include tests/scenarios/local.mk

# Tests that need more than one room; those of a single room are named in its own fragment.

check_PROGRAMS += tests/sim/test_sim
TESTS += tests/sim/test_sim
tests_sim_test_sim_CFLAGS = $(AM_CFLAGS) $(PROTOBUFC_CFLAGS)
tests_sim_test_sim_SOURCES = \
	raftd/data_dir.c raftd/data_dir.h \
	raftd/met.c raftd/met.h \
	raftd/peer/frame.c raftd/peer/frame.h \
	raftd/roster.c raftd/roster.h \
	raftd/small_file.c raftd/small_file.h \
	raftd/storage.c raftd/storage.h \
	raftd/voters.c raftd/voters.h raftd/voters_keeper.c raftd/voters_keeper.h \
	tests/sim/aim.c \
	tests/sim/ask.c tests/sim/ask.h \
	tests/sim/bounds.c tests/sim/bounds.h \
	tests/sim/client.c \
	tests/sim/core_rules.c tests/sim/core_rules.h \
	tests/sim/cores.c tests/sim/cores.h tests/sim/cores_run.c \
	tests/sim/damage.c tests/sim/damage.h \
	tests/sim/differ.c \
	tests/sim/fault.c \
	tests/sim/greeting.c tests/sim/greeting.h \
	tests/sim/history.c tests/sim/history.h \
	tests/sim/member.c tests/sim/member.h \
	tests/sim/rules.c tests/sim/rules.h \
	tests/sim/run.c tests/sim/run.h \
	tests/sim/seeds.def \
	tests/sim/test_sim.c \
	tests/sim/work.c tests/sim/work.h \
	tests/sim/workers.c tests/sim/workers.h \
	tests/sim/world.c tests/sim/world.h \
	tests/sim/write_errors.c tests/sim/write_errors.h \
	tests/unit/memory_disk.c tests/unit/memory_disk.h \
	tests/unit/unsynced.c tests/unit/unsynced.h
tests_sim_test_sim_LDADD = libnode.a libwal.a libraft.a libmvcc.a libproto.a libnet.a libcommon.a $(TDB_LIBS) $(PROTOBUFC_LIBS)

# Many more seeds than in a check, and past those that fail: each is told with the command that repeats it.
SEEDS = 100000
FIRST = 1000000
JOBS = 2
soak: tests/sim/test_sim
	tests/sim/test_sim -k -p -j $(JOBS) $(FIRST) $(SEEDS)
.PHONY: soak

# In a build with --enable-planted-bugs: how long each of them lives.
HUNT_SECONDS = 600
planted-bugs: tests/sim/test_sim $(raft_tests) test_node_leader test_fitness test_snapshot_trust test_membership test_wal_damage test_syncs tests/scenarios/run
	$(srcdir)/tests/sim/hunt tests/sim/test_sim $(HUNT_SECONDS)
.PHONY: planted-bugs
dist_noinst_SCRIPTS += tests/sim/hunt

# Fuzz targets: with --enable-fuzzers for a fuzzer, else as tests over their corpus.
fuzz_programs = tests/fuzz/fuzz_frame tests/fuzz/fuzz_text tests/fuzz/fuzz_raft tests/fuzz/fuzz_wal tests/fuzz/fuzz_segment \
	tests/fuzz/fuzz_apply
EXTRA_DIST += tests/fuzz/corpus tests/fuzz/make-corpus
if FUZZERS
noinst_PROGRAMS += $(fuzz_programs)
fuzz_main =
fuzz_ldflags = $(AM_LDFLAGS) -fsanitize=fuzzer
else
check_PROGRAMS += $(fuzz_programs)
TESTS += $(fuzz_programs)
fuzz_main = tests/fuzz/replay.c
fuzz_ldflags = $(AM_LDFLAGS)
endif
fuzz_cflags = $(AM_CFLAGS) $(PROTOBUFC_CFLAGS)
fuzz_libs = libnode.a libwal.a libraft.a libmvcc.a libproto.a libcommon.a $(TDB_LIBS) $(PROTOBUFC_LIBS)

tests_fuzz_fuzz_frame_SOURCES = tests/fuzz/fuzz_frame.c tests/fuzz/fuzz.h $(fuzz_main) raftd/peer/frame.c raftd/peer/frame.h
tests_fuzz_fuzz_frame_CFLAGS = $(fuzz_cflags)
tests_fuzz_fuzz_frame_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_frame_LDADD = libraft.a libcommon.a
tests_fuzz_fuzz_text_SOURCES = tests/fuzz/fuzz_text.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_text_CFLAGS = $(fuzz_cflags)
tests_fuzz_fuzz_text_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_text_LDADD = libfsd-pure.a libnet.a libcommon.a $(NET_LIBS)
tests_fuzz_fuzz_raft_SOURCES = tests/fuzz/fuzz_raft.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_raft_CFLAGS = $(fuzz_cflags)
tests_fuzz_fuzz_raft_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_raft_LDADD = libraft.a libcommon.a
tests_fuzz_fuzz_wal_SOURCES = tests/fuzz/fuzz_wal.c tests/fuzz/fuzz.h $(fuzz_main) \
	tests/unit/memory_disk.c tests/unit/memory_disk.h
tests_fuzz_fuzz_wal_CFLAGS = $(fuzz_cflags)
tests_fuzz_fuzz_wal_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_wal_LDADD = libwal.a libraft.a libcommon.a
tests_fuzz_fuzz_segment_SOURCES = tests/fuzz/fuzz_segment.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_segment_CFLAGS = $(fuzz_cflags)
tests_fuzz_fuzz_segment_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_segment_LDADD = libmvcc.a libcommon.a $(TDB_LIBS)
tests_fuzz_fuzz_apply_SOURCES = tests/fuzz/fuzz_apply.c tests/fuzz/fuzz.h $(fuzz_main) \
	tests/unit/memory_disk.c tests/unit/memory_disk.h
tests_fuzz_fuzz_apply_CFLAGS = $(fuzz_cflags)
tests_fuzz_fuzz_apply_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_apply_LDADD = $(fuzz_libs)
