# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += libapi.a
libapi_a_CFLAGS = $(AM_CFLAGS) $(PROTOBUFC_CFLAGS)
libapi_a_SOURCES = \
	raftd/api/api.c raftd/api/api.h \
	raftd/api/cluster.c \
	raftd/api/hash.c \
	raftd/api/health.c \
	raftd/api/internal.h \
	raftd/api/kv.c \
	raftd/api/long_range.c \
	raftd/api/maintenance.c \
	raftd/api/watch.c
