# SPDX-License-Identifier: Apache-2.0
# Schemas; the generated code is made here and never committed.
PROTO_FILES = proto/kv.proto proto/rpc.proto proto/health.proto proto/state.proto
EXTRA_DIST += $(PROTO_FILES)

noinst_LIBRARIES += libproto.a
nodist_libproto_a_SOURCES = \
	proto/kv.pb-c.c proto/kv.pb-c.h \
	proto/rpc.pb-c.c proto/rpc.pb-c.h \
	proto/health.pb-c.c proto/health.pb-c.h \
	proto/state.pb-c.c proto/state.pb-c.h
libproto_a_SOURCES = proto/arena.c proto/arena.h proto/nesting.c proto/nesting.h proto/wire.h
# What the generator writes is not held to our warnings.
libproto_a_CFLAGS = -std=gnu11 -pthread $(HARD_CFLAGS) $(SAN_CFLAGS) $(PROTOBUFC_CFLAGS)

BUILT_SOURCES += $(PROTO_FILES:.proto=.pb-c.h)
CLEANFILES += $(PROTO_FILES:.proto=.pb-c.c) $(PROTO_FILES:.proto=.pb-c.h)

proto/kv.pb-c.c proto/rpc.pb-c.c proto/health.pb-c.c proto/state.pb-c.c: %.pb-c.c: $(srcdir)/%.proto
	$(AM_V_GEN)$(MKDIR_P) proto && $(PROTOC_C) -I$(srcdir) --c_out=. $<
proto/kv.pb-c.h proto/rpc.pb-c.h proto/health.pb-c.h proto/state.pb-c.h: %.pb-c.h: %.pb-c.c
	@:
