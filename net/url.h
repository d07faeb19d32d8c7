/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses as etcd writes them: http://HOST:PORT, https://HOST:PORT, unix:///PATH (also unix://PATH), and HOST:PORT
 * for http. IPv6 in brackets.
 */
#ifndef NET_URL_H
#define NET_URL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/error.h"

struct url {
    bool tls;
    bool is_unix;
    char host[256]; /* without brackets */
    uint16_t port;  /* host byte order */
    char path[108]; /* is_unix; a sun_path */
};

/* ST_BAD_ARGUMENT says what is wrong with which part. A path behind host:port other than "/" is refused. */
enum status url_parse(const char *text, struct url *ret_url, struct error *ret_error) MUST_CHECK;

/* URLs separated by commas; at most max; ST_LIMIT beyond. */
enum status url_parse_list(const char *text, struct url *ret_urls, unsigned max, unsigned *ret_count,
                           struct error *ret_error) MUST_CHECK;

/* scheme://host:port or unix://path, the canonical spelling. */
void url_format(const struct url *url, char *ret_text, size_t cap);

/*
 * The address of an IP address, "localhost" or a Unix path, at once. ST_BAD_ARGUMENT: it is a name. Addresses to listen on are no names, as
 * with etcd: these do not resolve quickly or surely at start.
 */
enum status url_address(const struct url *url, struct sockaddr_storage *ret_address, socklen_t *ret_len, struct error *ret_error)
    MUST_CHECK;
/* A name's, too. Blocks, for seconds when no name server answers: never on a loop (net/resolver.h). ST_UNREACHABLE says why not. */
enum status url_resolve(const struct url *url, struct sockaddr_storage *ret_address, socklen_t *ret_len, struct error *ret_error)
    MUST_CHECK;

#endif
