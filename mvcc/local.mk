# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += libmvcc.a
libmvcc_a_CFLAGS = $(AM_CFLAGS) $(TDB_CFLAGS)
libmvcc_a_SOURCES = \
	mvcc/index.c mvcc/index.h \
	mvcc/internal.h \
	mvcc/memtable.c mvcc/memtable.h \
	mvcc/mvcc.h \
	mvcc/read.c \
	mvcc/record.c mvcc/record.h \
	mvcc/seal.c \
	mvcc/segment.h mvcc/segment_tdb.c \
	mvcc/store.c \
	mvcc/watch.c mvcc/watch.h \
	mvcc/write.c
