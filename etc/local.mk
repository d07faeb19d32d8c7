# SPDX-License-Identifier: Apache-2.0
# What other programs of the system expect of us.
EXTRA_DIST += etc/mount.raftfs.in
CLEANFILES += etc/mount.raftfs

etc/mount.raftfs: $(srcdir)/etc/mount.raftfs.in Makefile
	$(AM_V_GEN)$(MKDIR_P) etc && sed 's|@bindir[@]|$(bindir)|' $(srcdir)/etc/mount.raftfs.in >$@.tmp && chmod 755 $@.tmp && mv $@.tmp $@

if MOUNT_HELPER
mount_SCRIPTS = etc/mount.raftfs
endif

# A path of its own: distcheck installs without DESTDIR, too.
AM_DISTCHECK_CONFIGURE_FLAGS = --with-mountdir=$$dc_install_base/sbin
