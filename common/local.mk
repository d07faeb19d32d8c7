# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += libcommon.a
libcommon_a_SOURCES = \
	common/buf.c common/buf.h \
	common/clock.c common/clock.h \
	common/codec.h \
	common/crc32c.c common/crc32c.h \
	common/error.c common/error.h \
	common/file.c common/file.h \
	common/invariant.c common/invariant.h \
	common/limits.h \
	common/log.c common/log.h \
	common/mem.c common/mem.h \
	common/options.c common/options.h \
	common/planted.c common/planted.def common/planted.h \
	common/rng.c common/rng.h \
	common/slice.h \
	common/status.c common/status.h

if HAVE_CMOCKA
check_PROGRAMS += test_common
TESTS += test_common
test_common_SOURCES = tests/unit/test_common.c tests/unit/check.h
test_common_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
test_common_LDADD = libcommon.a $(CMOCKA_LIBS)
endif
