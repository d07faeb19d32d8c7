noinst_LIBRARIES += libwal.a
libwal_a_SOURCES = \
	raftd/wal/disk.h raftd/wal/disk_posix.c \
	raftd/wal/format.c raftd/wal/format.h \
	raftd/wal/reader.c raftd/wal/reader.h \
	raftd/wal/spare.c raftd/wal/spare.h \
	raftd/wal/wal.c raftd/wal/wal.h \
	raftd/wal/writer.c raftd/wal/writer.h
