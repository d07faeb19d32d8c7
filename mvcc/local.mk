# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += libmvcc.a
libmvcc_a_CFLAGS = $(AM_CFLAGS) $(TDB_CFLAGS)
libmvcc_a_SOURCES = \
	mvcc/hash.c \
	mvcc/index.c mvcc/index.h \
	mvcc/internal.h \
	mvcc/memtable.c mvcc/memtable.h \
	mvcc/mvcc.h \
	mvcc/read.c \
	mvcc/record.c mvcc/record.h \
	mvcc/seal.c \
	mvcc/segment.h mvcc/segment_tdb.c \
	mvcc/store.c \
	mvcc/store_dir.c mvcc/store_dir.h \
	mvcc/transfer.c mvcc/transfer.h \
	mvcc/watch.c mvcc/watch.h \
	mvcc/write.c

if HAVE_CMOCKA
mvcc_fixture_sources = tests/unit/mvcc_fixture.c tests/unit/mvcc_fixture.h tests/unit/mvcc_model.c tests/unit/mvcc_model.h \
	tests/unit/check.h
check_PROGRAMS += test_mvcc test_mvcc_damage
TESTS += test_mvcc test_mvcc_damage
test_mvcc_SOURCES = tests/unit/test_mvcc.c $(mvcc_fixture_sources)
test_mvcc_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
test_mvcc_LDADD = libmvcc.a libcommon.a $(TDB_LIBS) $(CMOCKA_LIBS)
test_mvcc_damage_SOURCES = tests/unit/test_mvcc_damage.c $(mvcc_fixture_sources)
test_mvcc_damage_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
test_mvcc_damage_LDADD = libmvcc.a libcommon.a $(TDB_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += test_mvcc_transfer
TESTS += test_mvcc_transfer
test_mvcc_transfer_SOURCES = tests/unit/test_mvcc_transfer.c tests/unit/check.h
test_mvcc_transfer_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
test_mvcc_transfer_LDADD = libmvcc.a libcommon.a $(CMOCKA_LIBS) $(TDB_LIBS)

check_PROGRAMS += test_syncs
TESTS += test_syncs
test_syncs_SOURCES = tests/unit/test_syncs.c tests/unit/check.h tests/unit/unsynced.c tests/unit/unsynced.h
test_syncs_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
test_syncs_LDADD = libmvcc.a libcommon.a $(CMOCKA_LIBS) $(TDB_LIBS)

check_PROGRAMS += test_store_dir
TESTS += test_store_dir
test_store_dir_SOURCES = tests/unit/test_store_dir.c tests/unit/check.h
test_store_dir_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
test_store_dir_LDADD = libmvcc.a libcommon.a $(CMOCKA_LIBS) $(TDB_LIBS)
endif
