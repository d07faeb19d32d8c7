# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += libraft.a
libraft_a_SOURCES = \
	raft/conf.c \
	raft/election.c \
	raft/entry.c \
	raft/follower.c \
	raft/internal.h \
	raft/leader.c \
	raft/log.c \
	raft/progress.c \
	raft/raft.c raft/raft.h \
	raft/read.c \
	raft/ready.c \
	raft/snapshot.h

if HAVE_CMOCKA
check_PROGRAMS += test_raft test_raft_snapshot
TESTS += test_raft test_raft_snapshot
test_raft_SOURCES = tests/unit/test_raft.c tests/unit/raft_cluster.c tests/unit/raft_cluster.h tests/unit/check.h
test_raft_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
test_raft_LDADD = libraft.a libcommon.a $(CMOCKA_LIBS)
test_raft_snapshot_SOURCES = tests/unit/test_raft_snapshot.c tests/unit/raft_cluster.c tests/unit/raft_cluster.h \
	tests/unit/check.h
test_raft_snapshot_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
test_raft_snapshot_LDADD = libraft.a libcommon.a $(CMOCKA_LIBS)
endif
