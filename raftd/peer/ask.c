/* SPDX-License-Identifier: Apache-2.0 */
/* A question and its answer, waiting. */
#include "raftd/peer/ask.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/limits.h"
#include "net/socket.h"
#include "raftd/peer/frame.h"

#define READ_BYTES 65536

static bool wait_for(int fd, short events, int64_t until_ns)
{
    struct pollfd p = {.fd = fd, .events = events};
    int64_t left = until_ns - clock_monotonic_ns();

    return left > 0 && poll(&p, 1, (int)(left / NS_PER_MS) + 1) > 0;
}

static bool send_all(int fd, struct slice bytes, int64_t until_ns)
{
    while (bytes.len) {
        ssize_t n = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (n > 0)
            bytes = slice_of(bytes.data + n, bytes.len - (size_t)n);
        else if (!wait_for(fd, POLLOUT, until_ns))
            return false;
    }
    return true;
}

static enum status receive_frame(int fd, struct buf *in, int64_t until_ns, struct slice *ret_payload)
{
    enum status st;
    size_t len;

    while ((st = frame_next(buf_slice(in), PEER_FRAME_BYTES_MAX, ret_payload, &len)) == ST_NOT_FOUND) {
        ssize_t n = read(fd, buf_reserve(in, READ_BYTES), READ_BYTES);
        if (n > 0)
            buf_commit(in, (size_t)n);
        else if (n == 0 || (errno != EAGAIN && errno != EINTR) || !wait_for(fd, POLLIN, until_ns))
            return ST_UNREACHABLE;
    }
    return st;
}

enum status peer_ask(const struct url *url, int64_t wait_ns, struct buf *in, struct slice *ret_payload, struct error *ret_error)
{
    int64_t until_ns = clock_monotonic_ns() + wait_ns;
    struct sockaddr_storage address;
    struct buf out = {0};
    socklen_t len;
    enum status st;
    int fd = -1;

    st = url_resolve(url, &address, &len, ret_error);
    if (st == ST_OK)
        st = socket_connect_start(url, &address, len, &fd, ret_error);
    if (st != ST_OK)
        return st;
    frame_append_question(&out);
    if (!wait_for(fd, POLLOUT, until_ns) || socket_connect_result(fd) || !send_all(fd, buf_slice(&out), until_ns) ||
        receive_frame(fd, in, until_ns, ret_payload) != ST_OK)
        st = error_set(ret_error, ST_UNREACHABLE, "no answer");
    close(fd);
    buf_fini(&out);
    return st;
}
