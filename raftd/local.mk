# SPDX-License-Identifier: Apache-2.0
include raftd/wal/local.mk
include raftd/api/local.mk

noinst_LIBRARIES += libnode.a libpeer.a
libnode_a_CFLAGS = $(AM_CFLAGS) $(PROTOBUFC_CFLAGS)
libnode_a_SOURCES = \
	raftd/node/alone.c \
	raftd/node/apply.c \
	raftd/node/change.c \
	raftd/node/command.c raftd/node/command.h \
	raftd/node/compare.c \
	raftd/node/divergence.c raftd/node/divergence.h \
	raftd/node/heal.c \
	raftd/node/internal.h \
	raftd/node/kv.h raftd/node/kv_apply.c raftd/node/kv_check.c raftd/node/kv_encode.c \
	raftd/node/kv_range.c raftd/node/kv_range.h \
	raftd/node/members.c raftd/node/members.h \
	raftd/node/membership.c raftd/node/membership.h \
	raftd/node/node.c raftd/node/node.h \
	raftd/node/request.c \
	raftd/node/snapshot.c raftd/node/snapshot.h raftd/node/snapshot_receive.c \
	raftd/node/space.c \
	raftd/node/fitness.c \
	raftd/node/read_ahead.c raftd/node/read_ahead.h \
	raftd/node/scrub.c \
	raftd/node/stall.c \
	raftd/node/storage.c \
	raftd/node/transfer.c
libpeer_a_SOURCES = \
	raftd/peer/ask.c raftd/peer/ask.h \
	raftd/peer/frame.c raftd/peer/frame.h \
	raftd/peer/link.c raftd/peer/link.h \
	raftd/peer/peers.c raftd/peer/peers.h

if HAVE_CMOCKA
check_PROGRAMS += test_alone test_compare test_kv test_codecs test_node test_node_leader test_read_ahead test_unreadable
TESTS += test_alone test_compare test_kv test_codecs test_node test_node_leader test_read_ahead test_unreadable
node_test_libs = libnode.a libwal.a libraft.a libmvcc.a libproto.a libcommon.a $(TDB_LIBS) $(PROTOBUFC_LIBS) $(CMOCKA_LIBS)
test_kv_SOURCES = tests/unit/test_kv.c tests/unit/check.h
test_kv_CFLAGS = $(AM_CFLAGS) $(PROTOBUFC_CFLAGS) $(CMOCKA_CFLAGS)
test_kv_LDADD = $(node_test_libs)
test_codecs_SOURCES = tests/unit/test_codecs.c tests/unit/check.h raftd/peer/frame.c raftd/peer/frame.h
test_codecs_CFLAGS = $(AM_CFLAGS) $(PROTOBUFC_CFLAGS) $(CMOCKA_CFLAGS)
test_codecs_LDADD = $(node_test_libs)
one_node = tests/unit/one_node.c tests/unit/one_node.h tests/unit/check.h tests/unit/memory_disk.c tests/unit/memory_disk.h
test_node_SOURCES = tests/unit/test_node.c $(one_node)
test_alone_SOURCES = tests/unit/test_alone.c $(one_node)
test_read_ahead_SOURCES = tests/unit/test_read_ahead.c $(one_node)
test_read_ahead_CFLAGS = $(AM_CFLAGS) $(PROTOBUFC_CFLAGS) $(CMOCKA_CFLAGS)
test_read_ahead_LDADD = $(node_test_libs)
test_unreadable_SOURCES = tests/unit/test_unreadable.c $(one_node)
test_unreadable_CFLAGS = $(AM_CFLAGS) $(PROTOBUFC_CFLAGS) $(CMOCKA_CFLAGS)
test_unreadable_LDADD = $(node_test_libs)
test_compare_SOURCES = tests/unit/test_compare.c $(one_node)
test_compare_CFLAGS = $(AM_CFLAGS) $(PROTOBUFC_CFLAGS) $(CMOCKA_CFLAGS)
test_compare_LDADD = $(node_test_libs)
test_alone_CFLAGS = $(AM_CFLAGS) $(PROTOBUFC_CFLAGS) $(CMOCKA_CFLAGS)
test_alone_LDADD = $(node_test_libs)
test_node_leader_SOURCES = tests/unit/test_node_leader.c $(one_node)
test_node_leader_CFLAGS = $(AM_CFLAGS) $(PROTOBUFC_CFLAGS) $(CMOCKA_CFLAGS)
test_node_leader_LDADD = $(node_test_libs)
test_node_CFLAGS = $(AM_CFLAGS) $(PROTOBUFC_CFLAGS) $(CMOCKA_CFLAGS)
test_node_LDADD = $(node_test_libs)
endif

bin_PROGRAMS += raftd/raftd
raftd_raftd_CFLAGS = $(AM_CFLAGS) $(PROTOBUFC_CFLAGS)
raftd_raftd_SOURCES = \
	raftd/conf.c raftd/conf.h \
	raftd/data_dir.c raftd/data_dir.h \
	raftd/join.c raftd/join.h \
	raftd/main.c \
	raftd/met.c raftd/met.h \
	raftd/publish.c raftd/publish.h \
	raftd/roster.c raftd/roster.h \
	raftd/node_work.c raftd/node_work.h \
	raftd/server.c raftd/server.h \
	raftd/small_file.c raftd/small_file.h \
	raftd/storage.c raftd/storage.h \
	raftd/storage_thread.c raftd/storage_thread.h \
	raftd/voters.c raftd/voters.h \
	raftd/voters_keeper.c raftd/voters_keeper.h
raftd_raftd_LDADD = libapi.a libnode.a libpeer.a libwal.a libraft.a libmvcc.a libproto.a libnet.a libcommon.a \
	$(TDB_LIBS) $(PROTOBUFC_LIBS) $(NET_LIBS)

if HAVE_CMOCKA
server_tests = test_data_dir test_fitness test_join test_kv_range test_membership test_peer_frame test_roster test_snapshot test_snapshot_frame test_snapshot_trust \
	test_storage test_voters_keeper
check_PROGRAMS += $(server_tests)
TESTS += $(server_tests)
test_data_dir_SOURCES = tests/unit/test_data_dir.c raftd/data_dir.c raftd/data_dir.h raftd/small_file.c raftd/small_file.h \
	raftd/voters.c raftd/voters.h tests/unit/check.h tests/unit/temp_dir.h tests/unit/unsynced.c tests/unit/unsynced.h
test_data_dir_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(PROTOBUFC_CFLAGS)
test_data_dir_LDADD = libnode.a libraft.a libmvcc.a libproto.a libcommon.a $(CMOCKA_LIBS) $(TDB_LIBS) $(PROTOBUFC_LIBS)
test_fitness_SOURCES = tests/unit/test_fitness.c tests/unit/node_cluster.c tests/unit/node_cluster.h \
	tests/unit/memory_disk.c tests/unit/memory_disk.h tests/unit/check.h
test_fitness_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(PROTOBUFC_CFLAGS)
test_fitness_LDADD = libnode.a libwal.a libraft.a libmvcc.a libproto.a libcommon.a $(CMOCKA_LIBS) $(TDB_LIBS) \
	$(PROTOBUFC_LIBS)
test_kv_range_SOURCES = tests/unit/test_kv_range.c tests/unit/check.h
test_kv_range_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(PROTOBUFC_CFLAGS)
test_kv_range_LDADD = libnode.a libmvcc.a libproto.a libcommon.a $(CMOCKA_LIBS) $(TDB_LIBS) $(PROTOBUFC_LIBS)
test_join_SOURCES = tests/unit/test_join.c raftd/join.c raftd/join.h raftd/met.c raftd/met.h raftd/small_file.c raftd/small_file.h \
	tests/unit/check.h
test_join_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(PROTOBUFC_CFLAGS)
test_join_LDADD = libnode.a libpeer.a libraft.a libmvcc.a libproto.a libnet.a libcommon.a $(CMOCKA_LIBS) $(TDB_LIBS) \
	$(PROTOBUFC_LIBS) $(NET_LIBS)
test_membership_SOURCES = tests/unit/test_membership.c tests/unit/node_cluster.c tests/unit/node_cluster.h \
	tests/unit/memory_disk.c tests/unit/memory_disk.h tests/unit/check.h
test_membership_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(PROTOBUFC_CFLAGS)
test_membership_LDADD = libnode.a libwal.a libraft.a libmvcc.a libproto.a libcommon.a $(CMOCKA_LIBS) $(TDB_LIBS) \
	$(PROTOBUFC_LIBS)
test_peer_frame_SOURCES = tests/unit/test_peer_frame.c tests/unit/check.h
test_peer_frame_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
test_peer_frame_LDADD = libpeer.a libraft.a libcommon.a $(CMOCKA_LIBS)
test_roster_SOURCES = tests/unit/test_roster.c raftd/met.c raftd/met.h raftd/roster.c raftd/roster.h raftd/small_file.c \
	raftd/small_file.h tests/unit/check.h tests/unit/temp_dir.h
test_roster_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(PROTOBUFC_CFLAGS)
test_roster_LDADD = libnode.a libraft.a libmvcc.a libproto.a libnet.a libcommon.a $(CMOCKA_LIBS) $(TDB_LIBS) $(PROTOBUFC_LIBS) \
	$(NET_LIBS)
test_snapshot_frame_SOURCES = tests/unit/test_snapshot_frame.c tests/unit/check.h
test_snapshot_frame_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
test_snapshot_frame_LDADD = libpeer.a libraft.a libcommon.a $(CMOCKA_LIBS)
test_storage_SOURCES = tests/unit/test_storage.c raftd/data_dir.c raftd/data_dir.h raftd/storage.c raftd/storage.h \
	raftd/small_file.c raftd/small_file.h raftd/voters.c raftd/voters.h tests/unit/check.h
test_storage_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(PROTOBUFC_CFLAGS)
test_storage_LDADD = libnode.a libwal.a libraft.a libmvcc.a libproto.a libcommon.a $(CMOCKA_LIBS) $(TDB_LIBS) \
	$(PROTOBUFC_LIBS)
test_voters_keeper_SOURCES = tests/unit/test_voters_keeper.c raftd/small_file.c raftd/small_file.h raftd/voters.c raftd/voters.h \
	raftd/voters_keeper.c raftd/voters_keeper.h tests/sim/write_errors.c tests/sim/write_errors.h tests/unit/check.h tests/unit/temp_dir.h
test_voters_keeper_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
test_voters_keeper_LDADD = libcommon.a $(CMOCKA_LIBS)
test_snapshot_SOURCES = tests/unit/test_snapshot.c tests/unit/node_cluster.c tests/unit/node_cluster.h \
	tests/unit/memory_disk.c tests/unit/memory_disk.h tests/unit/check.h
test_snapshot_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(PROTOBUFC_CFLAGS)
test_snapshot_LDADD = libnode.a libwal.a libraft.a libmvcc.a libproto.a libcommon.a $(CMOCKA_LIBS) $(TDB_LIBS) \
	$(PROTOBUFC_LIBS)
test_snapshot_trust_SOURCES = tests/unit/test_snapshot_trust.c tests/unit/node_cluster.c tests/unit/node_cluster.h \
	tests/unit/memory_disk.c tests/unit/memory_disk.h tests/unit/check.h
test_snapshot_trust_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(PROTOBUFC_CFLAGS)
test_snapshot_trust_LDADD = libnode.a libwal.a libraft.a libmvcc.a libproto.a libcommon.a $(CMOCKA_LIBS) $(TDB_LIBS) \
	$(PROTOBUFC_LIBS)
endif
