noinst_LIBRARIES += libraft.a
libraft_a_SOURCES = \
	raft/conf.c \
	raft/election.c \
	raft/entry.c \
	raft/follower.c \
	raft/internal.h \
	raft/leader.c \
	raft/log.c \
	raft/progress.c \
	raft/raft.c raft/raft.h \
	raft/read.c \
	raft/ready.c
