# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += libwal.a
libwal_a_SOURCES = \
	raftd/wal/aside.c raftd/wal/aside.h \
	raftd/wal/disk.h raftd/wal/disk_posix.c \
	raftd/wal/format.c raftd/wal/format.h \
	raftd/wal/promise.c raftd/wal/promise.h \
	raftd/wal/reader.c raftd/wal/reader.h \
	raftd/wal/spare.c raftd/wal/spare.h \
	raftd/wal/wal.c raftd/wal/wal.h \
	raftd/wal/writer.c raftd/wal/writer.h

if HAVE_CMOCKA
wal_test_sources = \
	tests/unit/memory_disk.c tests/unit/memory_disk.h \
	tests/unit/test_wal_fixture.c tests/unit/test_wal_fixture.h
wal_test_cflags = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
wal_test_libs = libwal.a libraft.a libcommon.a $(CMOCKA_LIBS)

check_PROGRAMS += test_wal_log test_wal_damage test_wal_failure test_wal_threads
TESTS += test_wal_log test_wal_damage test_wal_failure test_wal_threads
test_wal_log_SOURCES = tests/unit/test_wal_log.c $(wal_test_sources)
test_wal_log_CFLAGS = $(wal_test_cflags)
test_wal_log_LDADD = $(wal_test_libs)
test_wal_damage_SOURCES = tests/unit/test_wal_damage.c $(wal_test_sources)
test_wal_damage_CFLAGS = $(wal_test_cflags)
test_wal_damage_LDADD = $(wal_test_libs)
test_wal_failure_SOURCES = tests/unit/test_wal_failure.c $(wal_test_sources)
test_wal_failure_CFLAGS = $(wal_test_cflags)
test_wal_failure_LDADD = $(wal_test_libs)
test_wal_threads_SOURCES = tests/unit/test_wal_threads.c
test_wal_threads_CFLAGS = $(wal_test_cflags)
test_wal_threads_LDADD = $(wal_test_libs)
endif
