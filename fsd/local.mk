# SPDX-License-Identifier: Apache-2.0
# What decides, and asks nobody: its unit tests link nothing else of this room.
noinst_LIBRARIES += libfsd-pure.a libfsd.a
libfsd_pure_a_CFLAGS = $(AM_CFLAGS) $(PROTOBUFC_CFLAGS)
libfsd_pure_a_SOURCES = \
	fsd/children.c fsd/children.h \
	fsd/commit.c fsd/commit.h \
	fsd/emptied.c fsd/emptied.h \
	fsd/fh.c fsd/fh.h \
	fsd/heard.c fsd/heard.h \
	fsd/ino.c fsd/ino.h \
	fsd/ns.c fsd/ns.h \
	fsd/request.c fsd/request.h \
	fsd/revclock.c fsd/revclock.h

libfsd_a_CFLAGS = $(AM_CFLAGS) $(FUSE_CFLAGS) $(PROTOBUFC_CFLAGS)
libfsd_a_SOURCES = \
	fsd/embedded.c fsd/embedded.h \
	fsd/fs.h \
	fsd/list.c \
	fsd/mount.c fsd/mount.h \
	fsd/notify.c fsd/notify.h \
	fsd/op.c \
	fsd/ops_attr.c \
	fsd/ops_dir.c \
	fsd/ops_file.c \
	fsd/ops_make.c \
	fsd/ops_remove.c \
	fsd/ops_rename.c fsd/rename.h fsd/rename_dir.c \
	fsd/options.c \
	fsd/publish.c \
	fsd/resolve.c \
	fsd/state.c \
	fsd/tell.c fsd/tell.h \
	fsd/watch.c

bin_PROGRAMS += fsd/raftfs
fsd_raftfs_CFLAGS = $(AM_CFLAGS) $(FUSE_CFLAGS) $(PROTOBUFC_CFLAGS)
fsd_raftfs_SOURCES = fsd/main.c
fsd_raftfs_LDADD = libfsd.a libfsd-pure.a libproto.a libnet.a libcommon.a $(FUSE_LIBS) $(PROTOBUFC_LIBS) $(NET_LIBS)

if HAVE_CMOCKA
fsd_test_cflags = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(PROTOBUFC_CFLAGS)
# libnet.a: the digest in names that are too long.
fsd_test_libs = libfsd-pure.a libnet.a libcommon.a $(CMOCKA_LIBS) $(CRYPTO_LIBS)

check_PROGRAMS += test_fsd_names test_fsd_files test_fsd_tables
TESTS += test_fsd_names test_fsd_files test_fsd_tables
test_fsd_names_SOURCES = tests/unit/test_fsd_names.c tests/unit/check.h
test_fsd_names_CFLAGS = $(fsd_test_cflags)
test_fsd_names_LDADD = $(fsd_test_libs)
test_fsd_files_SOURCES = tests/unit/test_fsd_files.c tests/unit/check.h
test_fsd_files_CFLAGS = $(fsd_test_cflags)
test_fsd_files_LDADD = $(fsd_test_libs)
test_fsd_tables_SOURCES = tests/unit/test_fsd_tables.c tests/unit/check.h
test_fsd_tables_CFLAGS = $(fsd_test_cflags)
test_fsd_tables_LDADD = $(fsd_test_libs)
endif
