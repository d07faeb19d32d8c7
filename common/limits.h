/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every bound on what somebody outside can grow, and who refuses beyond it. etcd's value where etcd has
 * one. Bytes and counts unless the name ends in a unit.
 */
#ifndef COMMON_LIMITS_H
#define COMMON_LIMITS_H

/* Client requests (raftd/api): etcd's --max-request-bytes, --max-txn-ops. */
#define REQUEST_BYTES_MAX (1572864u)
#define REQUEST_OVERHEAD_BYTES_MAX (524288u) /* gRPC refuses a message beyond the sum */
#define RESPONSE_BYTES_MAX (1024u * 1024u * 1024u)  /* of one answer; a reader who wants more asks in pages */
#define TXN_OPS_MAX 128u
#define TXN_DEPTH_MAX 8u
#define TXN_PARTS_MAX 4096u                           /* compares and operations on all levels */

#define WAITING_READS_BYTES_MAX (256ull << 20)        /* of requests that wait until they are linearizable: too many requests */
#define HASHES_MAX 64u                                /* stores being hashed, all clients: too many requests */
#define HASH_SLICE_RECORDS 1024u                      /* of them in one turn of the loop */
#define HASH_SLICE_BYTES (1024u * 1024u)              /* likewise */
#define SLICED_ANSWERS_BYTES_MAX (2ull << 30)         /* long ranges being read, all clients: too many requests */

/* One client connection (net/). */
#define CONN_STREAMS_MAX 1024u                        /* concurrent; advertised, then REFUSED_STREAM */
#define CONN_OUTPUT_BYTES_MAX (8u * 1024u * 1024u)    /* unsent answers: above it requests wait */
#define CONN_WRITE_BYTES_MAX (512u * 1024u)           /* of them in frames for the socket */
#define CONN_INPUT_BYTES_MAX (64u * 1024u * 1024u)    /* of unfinished requests: above it they are refused */
#define CONN_HEADER_BYTES_MAX (16u * 1024u)           /* one header block */
#define CONN_ERRORS_MAX 100u                          /* protocol offences in 10 s before GOAWAY */
#define SERVER_INPUT_BYTES_MAX (512u * 1024u * 1024u) /* of unfinished requests, all connections */
#define RESOLVER_NAMES_MAX 32u                        /* being looked up, a resolver: then connecting to others fails, and is tried again */
#define CONNS_MAX 10000u                              /* a process; accepting pauses above it */

/* Watches (raftd/api/watch.c). */
#define WATCHES_PER_STREAM_MAX 10000u
#define WATCHES_MAX 1000000u                          /* a process */
#define WATCH_QUEUE_BYTES_MAX (1u * 1024u * 1024u)    /* queued in one stream: above it, catch up from history */

/* Consensus (raft/, raftd/node/). */
#define RAFT_MESSAGE_BYTES_MAX (1024u * 1024u)        /* entries in one append, at least one entry */
#define RAFT_INFLIGHT_MESSAGES_MAX 512u               /* unanswered appends a follower */
#define RAFT_INFLIGHT_BYTES_MAX (64u * 1024u * 1024u)
#define RAFT_UNCOMMITTED_BYTES_MAX (256u * 1024u * 1024u) /* proposals refused above: too many requests */
#define RAFT_APPLY_LAG_MAX 5000u                      /* committed but not applied: same refusal */
#define RAFT_VOTERS_MAX 15u
#define RAFT_LEARNERS_MAX 15u
#define MEMBERS_MAX (RAFT_VOTERS_MAX + RAFT_LEARNERS_MAX)
#define MEMBER_URLS_MAX 8u                            /* of one kind, of one member */
#define MEMBER_URL_BYTES_MAX 300u
#define MEMBER_NAME_BYTES_MAX 1024u                   /* --name */
#define MEMBERS_REMOVED_MAX 20000u                    /* ids that are remembered for ever: then no member can be removed */
#define LEARNERS_MAX_DEFAULT 1                        /* etcd's --max-learners */
#define RAFT_WINDOW_BYTES_MAX (128u * 1024u * 1024u)  /* entries kept for members that are behind: above it the older half goes */
#define SNAPSHOT_COUNT_DEFAULT 10000                  /* etcd's --snapshot-count, --snapshot-catchup-entries */
#define SNAPSHOT_CATCHUP_DEFAULT 5000
#define PENDING_REQUESTS_MAX 100000u                  /* proposals and reads a node waits for */
#define RAFT_UNSTORED_BYTES_MAX (128u * 1024u * 1024u) /* entries that wait for the own disk: above it appends are not heard, proposals refused */
#define TRANSFER_REQUESTS_MAX 64u                     /* clients that wait for a change of leader: too many requests */

/* Snapshots between members (raftd/node/snapshot.c). */
#define SNAPSHOT_CHUNK_BYTES (256u * 1024u)           /* of records in a message, about; at least one record */
#define SNAPSHOT_CHUNK_RECORDS 1024u                  /* likewise: what is read in one turn of the loop */
#define SNAPSHOT_STATE_BYTES_MAX (1024u * 1024u)      /* what is stored beside the keys; members.c proves it */
#define SNAPSHOT_WINDOW 4u                            /* unanswered messages of a transfer */
#define SNAPSHOT_TRANSFERS_MAX 2u                     /* that a leader has under way; other members wait */

/* Peers (raftd/peer/). */
#define PEER_FRAME_BYTES_MAX (16u * 1024u * 1024u)    /* a larger frame ends the connection */
#define PEER_GREETING_BYTES_MAX 4096u                 /* the same of whoever has not greeted yet */
#define PEER_STRANGERS_MAX MEMBERS_MAX                /* members that this one does not know yet: others are refused, and dial again */
#define PEER_MET_MAX 64u                              /* incarnations that are remembered: then those of strangers go */
#define PEER_GUESTS_MAX 64u                           /* accepted connections: the oldest that has not greeted makes room */
#define PEER_QUEUE_BYTES_MAX (64u * 1024u * 1024u)    /* unsent to one peer: above it messages are dropped */

/* Disk. */
#define WAL_SEGMENT_BYTES (16u * 1024u * 1024u)
#define WAL_RECORD_BYTES_MAX (16u * 1024u * 1024u)
#define MEMTABLE_BYTES (64u * 1024u * 1024u)          /* sealed into a segment at this size (--memtable-bytes) */
#define SEAL_ENTRIES_MAX 1000000u                     /* or after so many entries: the log keeps those that change nothing, too */
#define SPACE_FLOOR_BYTES (1u * 1024u * 1024u)        /* of the log's room on a full disk that are left to terms and votes */
#define SPACE_ENTRY_OVERHEAD_BYTES 64u                /* what an entry takes in the log beside its data, at most */
#define SPACE_BACKLOG_FACTOR 4u                       /* memtables' bytes to their size, above which a full disk takes no entries */
#define SEAL_LOG_FACTOR 4u                            /* or when the log behind the checkpoint is so many times as large */

/* Keys and names. */
#define KEY_BYTES_MAX (REQUEST_BYTES_MAX)
#define NAME_BYTES_MAX 255u                           /* a component at the mount, escaped */

#endif
