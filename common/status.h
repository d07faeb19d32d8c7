/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every result the house can give, in one table: the name, the text that clients match on (etcd's, to the
 * letter, where etcd has one), the gRPC code on the wire and the errno at the mount. A new error is one
 * line here and cannot be half-translated.
 */
#ifndef COMMON_STATUS_H
#define COMMON_STATUS_H

#include <stddef.h>

#include "common/invariant.h"

/* gRPC codes, https://grpc.github.io/grpc/core/md_doc_statuscodes.html */
enum grpc_code {
    GRPC_OK = 0,
    GRPC_CANCELED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};

/* clang-format off */
/*  X(name,                 gRPC code,                errno,        text) */
#define STATUS_MAP(X)                                                                                  \
    X(OK,                   GRPC_OK,                  0,            "ok")                              \
    /* Refusals with etcd's texts */                                                                   \
    X(EMPTY_KEY,            GRPC_INVALID_ARGUMENT,    EINVAL,       "etcdserver: key is not provided") \
    X(KEY_NOT_FOUND,        GRPC_INVALID_ARGUMENT,    ENOENT,       "etcdserver: key not found")       \
    X(VALUE_PROVIDED,       GRPC_INVALID_ARGUMENT,    EINVAL,       "etcdserver: value is provided")   \
    X(LEASE_PROVIDED,       GRPC_INVALID_ARGUMENT,    EINVAL,       "etcdserver: lease is provided")   \
    X(TOO_MANY_OPS,         GRPC_INVALID_ARGUMENT,    EXDEV,        "etcdserver: too many operations in txn request") \
    X(DUPLICATE_KEY,        GRPC_INVALID_ARGUMENT,    EINVAL,       "etcdserver: duplicate key given in txn request") \
    X(BAD_SORT_OPTION,      GRPC_INVALID_ARGUMENT,    EINVAL,       "etcdserver: invalid sort option") \
    X(BAD_CLIENT_VERSION,   GRPC_INVALID_ARGUMENT,    EINVAL,       "etcdserver: invalid client api version") \
    X(COMPACTED,            GRPC_OUT_OF_RANGE,        ENOENT,       "etcdserver: mvcc: required revision has been compacted") \
    X(FUTURE_REV,           GRPC_OUT_OF_RANGE,        ENOENT,       "etcdserver: mvcc: required revision is a future revision") \
    X(NO_SPACE,             GRPC_RESOURCE_EXHAUSTED,  ENOSPC,       "etcdserver: mvcc: database space exceeded") \
    X(LEASE_NOT_FOUND,      GRPC_NOT_FOUND,           ENOLCK,       "etcdserver: requested lease not found") \
    X(WATCH_CANCELED,       GRPC_CANCELED,            EINTR,        "etcdserver: watch canceled")      \
    X(REQUEST_TOO_LARGE,    GRPC_INVALID_ARGUMENT,    EFBIG,        "etcdserver: request is too large") \
    /* etcd sends this one with code Unknown; clients match on the text */                             \
    X(TOO_MANY_REQUESTS,    GRPC_UNKNOWN,             EAGAIN,       "etcdserver: too many requests")   \
    X(PERMISSION_DENIED,    GRPC_PERMISSION_DENIED,   EACCES,       "etcdserver: permission denied")   \
    X(BAD_AUTH_TOKEN,       GRPC_UNAUTHENTICATED,     EACCES,       "etcdserver: invalid auth token")  \
    X(NO_LEADER,            GRPC_UNAVAILABLE,         ETIMEDOUT,    "etcdserver: no leader")           \
    X(NOT_LEADER,           GRPC_FAILED_PRECONDITION, EAGAIN,       "etcdserver: not leader")          \
    X(BAD_TRANSFEREE,       GRPC_FAILED_PRECONDITION, EINVAL,       "etcdserver: bad leader transferee") \
    X(LEADER_CHANGED,       GRPC_UNAVAILABLE,         ETIMEDOUT,    "etcdserver: leader changed")      \
    X(STOPPED,              GRPC_UNAVAILABLE,         EHOSTUNREACH, "etcdserver: server stopped")      \
    X(TIMEOUT,              GRPC_UNAVAILABLE,         ETIMEDOUT,    "etcdserver: request timed out")   \
    X(TIMEOUT_LEADER_FAIL,  GRPC_UNAVAILABLE,         ETIMEDOUT,    "etcdserver: request timed out, possibly due to previous leader failure") \
    X(TIMEOUT_CONNECTION,   GRPC_UNAVAILABLE,         ETIMEDOUT,    "etcdserver: request timed out, possibly due to connection lost") \
    /* likewise with code Unknown */                                                                   \
    X(TIMEOUT_TRANSFER,     GRPC_UNKNOWN,             ETIMEDOUT,    "etcdserver: request timed out, leader transfer took too long") \
    X(CORRUPT_CLUSTER,      GRPC_DATA_LOSS,           EIO,          "etcdserver: corrupt cluster")     \
    X(NOT_FOR_LEARNER,      GRPC_FAILED_PRECONDITION, EAGAIN,       "etcdserver: rpc not supported for learner") \
    X(MEMBER_EXISTS,        GRPC_FAILED_PRECONDITION, EEXIST,       "etcdserver: member ID already exist") \
    X(PEER_URL_EXISTS,      GRPC_FAILED_PRECONDITION, EEXIST,       "etcdserver: Peer URLs already exists") \
    X(MEMBER_NOT_FOUND,     GRPC_NOT_FOUND,           ENOENT,       "etcdserver: member not found")    \
    X(MEMBER_NOT_LEARNER,   GRPC_FAILED_PRECONDITION, EINVAL,       "etcdserver: can only promote a learner member") \
    X(LEARNER_NOT_READY,    GRPC_FAILED_PRECONDITION, EAGAIN,       "etcdserver: can only promote a learner member which is in sync with leader") \
    X(TOO_MANY_LEARNERS,    GRPC_FAILED_PRECONDITION, EAGAIN,       "etcdserver: too many learner members in cluster") \
    X(BAD_MEMBER_URLS,      GRPC_INVALID_ARGUMENT,    EINVAL,       "etcdserver: given member URLs are invalid") \
    /* etcd sends this one with code Unknown, too */                                                   \
    X(NOT_ENOUGH_STARTED,   GRPC_UNKNOWN,             EAGAIN,       "etcdserver: re-configuration failed due to not enough started members") \
    X(UNHEALTHY,            GRPC_UNAVAILABLE,         EAGAIN,       "etcdserver: unhealthy cluster")   \
    /* The gRPC layer's own */                                                                         \
    X(CANCELED,             GRPC_CANCELED,            EINTR,        "context canceled")                \
    X(DEADLINE,             GRPC_DEADLINE_EXCEEDED,   ETIMEDOUT,    "context deadline exceeded")       \
    X(UNKNOWN_METHOD,       GRPC_UNIMPLEMENTED,       ENOSYS,       "unknown method")                  \
    X(MESSAGE_TOO_LARGE,    GRPC_RESOURCE_EXHAUSTED,  EFBIG,        "grpc: received message larger than max") \
    X(ANSWER_TOO_LARGE,     GRPC_RESOURCE_EXHAUSTED,  EFBIG,        "grpc: the answer is larger than a message can be") \
    X(BAD_MESSAGE,          GRPC_INTERNAL,            EIO,          "grpc: error unmarshalling request") \
    X(UNREACHABLE,          GRPC_UNAVAILABLE,         EHOSTUNREACH, "the store cannot be reached")     \
    /* Environment, and what only we have */                                                           \
    X(IO,                   GRPC_INTERNAL,            EIO,          "input/output error")              \
    X(CORRUPT,              GRPC_DATA_LOSS,           EIO,          "stored data is damaged")          \
    X(ANSWER_UNREADABLE,    GRPC_DATA_LOSS,           EIO,          "everything was done, but what the answer shows cannot be read: stored data is damaged") \
    X(BUSY,                 GRPC_UNAVAILABLE,         EBUSY,        "in use by another process")       \
    X(BAD_ARGUMENT,         GRPC_INVALID_ARGUMENT,    EINVAL,       "invalid argument")                \
    X(NAME_TOO_LONG,        GRPC_INVALID_ARGUMENT,    ENAMETOOLONG, "name too long")                   \
    X(CONF_PENDING,         GRPC_UNAVAILABLE,         EAGAIN,       "another change of the membership is under way") \
    X(OTHER_INCARNATION,    GRPC_FAILED_PRECONDITION, ESTALE,       "the member was started with another data directory before: remove it and add it anew") \
    X(LIMIT,                GRPC_RESOURCE_EXHAUSTED,  EAGAIN,       "limit reached")                   \
    X(NOT_FOUND,            GRPC_NOT_FOUND,           ENOENT,       "not found")                       \
    X(STALE,                GRPC_FAILED_PRECONDITION, ESTALE,       "removed or replaced meanwhile")   \
    X(UNKNOWN_ERROR,        GRPC_UNKNOWN,             EIO,          "unknown error")
/* clang-format on */

enum status {
#define STATUS_ENUM(name, code, number, text) ST_##name,
    STATUS_MAP(STATUS_ENUM)
#undef STATUS_ENUM
        ST_COUNT
};

const char *status_text(enum status st);
enum grpc_code status_grpc_code(enum status st);
int status_errno(enum status st); /* positive */
const char *status_name(enum status st);

/*
 * The status a server meant by a code and a text: by the text if the table has it (clients match on texts),
 * else by the code. Never ST_OK for a code that is not GRPC_OK.
 */
enum status status_of_grpc(int code, const char *text, size_t text_len);

#endif
