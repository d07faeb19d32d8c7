# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += libfsd.a
libfsd_a_CFLAGS = $(AM_CFLAGS) $(FUSE_CFLAGS) $(PROTOBUFC_CFLAGS)
libfsd_a_SOURCES = \
	fsd/commit.c \
	fsd/embedded.c fsd/embedded.h \
	fsd/fs.h \
	fsd/ino.c fsd/ino.h \
	fsd/mount.c fsd/mount.h \
	fsd/notify.c fsd/notify.h \
	fsd/ns.c fsd/ns.h \
	fsd/op.c \
	fsd/ops_attr.c fsd/ops_dir.c fsd/ops_file.c fsd/ops_name.c \
	fsd/request.c fsd/request.h \
	fsd/state.c \
	fsd/watch.c

bin_PROGRAMS += fsd/raftfs
fsd_raftfs_CFLAGS = $(AM_CFLAGS) $(FUSE_CFLAGS) $(PROTOBUFC_CFLAGS)
fsd_raftfs_SOURCES = fsd/main.c
fsd_raftfs_LDADD = libfsd.a libproto.a libnet.a libcommon.a $(FUSE_LIBS) $(PROTOBUFC_LIBS) $(NET_LIBS)
