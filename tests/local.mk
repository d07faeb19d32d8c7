# SPDX-License-Identifier: Apache-2.0
# Tests with processes and mounts: every file of pytest is one test of make check, run by tests/run-pytest (C unit tests stand with
# the room they test). What they need and a machine does not have skips them, with the reason.
TEST_EXTENSIONS = .py
PY_LOG_COMPILER = $(SHELL) $(top_srcdir)/tests/run-pytest
AM_TESTS_ENVIRONMENT = top_builddir='$(abs_top_builddir)'; export top_builddir; PYTHON='$(PYTHON)'; export PYTHON;

pytest_files = \
	tests/cluster/test_crash.py \
	tests/cluster/test_handshake.py \
	tests/cluster/test_long_ranges.py \
	tests/cluster/test_partition.py \
	tests/cluster/test_replication.py \
	tests/cluster/test_segments.py \
	tests/cluster/test_start.py \
	tests/compat/test_client.py \
	tests/compat/test_etcdctl.py \
	tests/fs/test_embedded.py \
	tests/fs/test_faults.py \
	tests/fs/test_list.py \
	tests/fs/test_names.py \
	tests/fs/test_two_mounts.py \
	tests/fs/test_write.py
TESTS += $(pytest_files)

EXTRA_DIST += $(pytest_files) \
	tests/bench \
	tests/cluster/conftest.py tests/cluster/writers.py \
	tests/compat \
	tests/fs/conftest.py \
	tests/peers \
	tests/run-pytest

# What Python left beside its sources is no part of a release.
dist-hook:
	find $(distdir) -name __pycache__ -prune -exec rm -rf {} +

include tests/bench/local.mk

# Tests that need more than one room; those of a single room are named in its own fragment.

check_PROGRAMS += tests/sim/test_sim
TESTS += tests/sim/test_sim
tests_sim_test_sim_CFLAGS = $(AM_CFLAGS) $(PROTOBUFC_CFLAGS)
tests_sim_test_sim_SOURCES = \
	raftd/peer/frame.c raftd/peer/frame.h \
	tests/sim/history.c tests/sim/history.h \
	tests/sim/member.c tests/sim/member.h \
	tests/sim/run.c tests/sim/run.h \
	tests/sim/test_sim.c \
	tests/sim/world.c tests/sim/world.h \
	tests/unit/memory_disk.c tests/unit/memory_disk.h
tests_sim_test_sim_LDADD = libnode.a libwal.a libraft.a libmvcc.a libproto.a libcommon.a $(TDB_LIBS) $(PROTOBUFC_LIBS)
