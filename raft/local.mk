# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += libraft.a
libraft_a_SOURCES = \
	raft/conf.c \
	raft/conf_change.c raft/conf_change.h \
	raft/election.c \
	raft/entry.c \
	raft/follower.c \
	raft/internal.h \
	raft/leader.c \
	raft/log.c \
	raft/progress.c \
	raft/pull.c \
	raft/raft.c raft/raft.h \
	raft/read.c \
	raft/ready.c \
	raft/snapshot.h \
	raft/transfer.c

if HAVE_CMOCKA
raft_tests = test_raft test_raft_conf test_raft_flow test_raft_lost_log test_raft_member test_raft_partition test_raft_snapshot
check_PROGRAMS += $(raft_tests)
TESTS += $(raft_tests)
raft_cluster = tests/unit/raft_cluster.c tests/unit/raft_cluster.h tests/unit/check.h
test_raft_SOURCES = tests/unit/test_raft.c $(raft_cluster)
test_raft_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
test_raft_LDADD = libraft.a libcommon.a $(CMOCKA_LIBS)
test_raft_flow_SOURCES = tests/unit/test_raft_flow.c $(raft_cluster)
test_raft_flow_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
test_raft_flow_LDADD = libraft.a libcommon.a $(CMOCKA_LIBS)
test_raft_conf_SOURCES = tests/unit/test_raft_conf.c tests/unit/check.h
test_raft_conf_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
test_raft_conf_LDADD = libraft.a libcommon.a $(CMOCKA_LIBS)
test_raft_lost_log_SOURCES = tests/unit/test_raft_lost_log.c $(raft_cluster)
test_raft_lost_log_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
test_raft_lost_log_LDADD = libraft.a libcommon.a $(CMOCKA_LIBS)
test_raft_member_SOURCES = tests/unit/test_raft_member.c $(raft_cluster)
test_raft_member_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
test_raft_member_LDADD = libraft.a libcommon.a $(CMOCKA_LIBS)
test_raft_partition_SOURCES = tests/unit/test_raft_partition.c $(raft_cluster)
test_raft_partition_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
test_raft_partition_LDADD = libraft.a libcommon.a $(CMOCKA_LIBS)
test_raft_snapshot_SOURCES = tests/unit/test_raft_snapshot.c $(raft_cluster)
test_raft_snapshot_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
test_raft_snapshot_LDADD = libraft.a libcommon.a $(CMOCKA_LIBS)
endif
