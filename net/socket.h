/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening and connecting without blocking. Descriptors are non-blocking and close-on-exec, TCP_NODELAY and
 * keep-alive are set (a peer that vanished is noticed within 20 s). A Unix socket is made with mode 0600 under a safe umask; a
 * stale one (nobody answers) is removed, a live one is ST_BUSY.
 */
#ifndef NET_SOCKET_H
#define NET_SOCKET_H

#include "common/error.h"
#include "net/loop.h"
#include "net/url.h"

struct listener;
/* accept_fn owns the descriptor (and closes what is beyond CONNS_MAX). Accepting pauses while descriptors are exhausted. */
enum status listener_open(struct loop *l, const struct url *url,
                          void (*accept_fn)(void *arg, int fd), void *arg,
                          struct listener **ret_listener, struct error *ret_error) MUST_CHECK;
void listener_close(struct listener *l); /* NULL is fine; removes a Unix socket it made */

/* A connection attempt at the address of that URL: *ret_fd is connecting; it is writable when done, then socket_connect_result tells. */
enum status socket_connect_start(const struct url *url, const struct sockaddr_storage *address, socklen_t len, int *ret_fd,
                                 struct error *ret_error) MUST_CHECK;
int socket_connect_result(int fd); /* 0 or an errno */

/* The peer as text for log lines: "127.0.0.1:1234", "unix". */
void socket_peer_text(int fd, char *ret_text, size_t cap);

#endif
