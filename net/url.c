/* SPDX-License-Identifier: Apache-2.0 */
/* URLs of endpoints. */
#include "net/url.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static enum status parse_unix(const char *text, const char *path, struct url *ret_url, struct error *ret_error)
{
    if (!*path || strlen(path) >= sizeof ret_url->path)
        return error_set(ret_error, ST_BAD_ARGUMENT, "\"%s\": the path of a Unix socket has 1 to %zu bytes", text,
                         sizeof ret_url->path - 1);
    ret_url->is_unix = true;
    snprintf(ret_url->path, sizeof ret_url->path, "%s", path);
    return ST_OK;
}

enum status url_parse(const char *text, struct url *ret_url, struct error *ret_error)
{
    struct url url = {0};
    const char *host = text, *end, *port;
    enum status st = ST_OK;
    char *port_end;
    long number;

    if (strncmp(text, "unix://", 7) == 0) {
        st = parse_unix(text, text + 7, &url, ret_error);
        if (st == ST_OK)
            *ret_url = url;
        return st;
    }
    if (strncmp(text, "http://", 7) == 0) {
        host = text + 7;
    } else if (strncmp(text, "https://", 8) == 0) {
        host = text + 8;
        url.tls = true;
    } else if (strstr(text, "://")) {
        return error_set(ret_error, ST_BAD_ARGUMENT, "\"%s\": not http://, https:// or unix://", text);
    }
    if (*host == '[') {
        end = strchr(++host, ']');
        port = end ? end + 1 : NULL;
    } else {
        end = port = strchr(host, ':');
    }
    if (!end || !port || *port != ':' || end == host || (size_t)(end - host) >= sizeof url.host)
        return error_set(ret_error, ST_BAD_ARGUMENT, "\"%s\": not HOST:PORT", text);
    number = strtol(port + 1, &port_end, 10);
    if (port_end == port + 1 || number < 0 || number > 65535 || port[1] == '-' || port[1] == '+')
        return error_set(ret_error, ST_BAD_ARGUMENT, "\"%s\": the port is not in 0..65535", text);
    if (*port_end && strcmp(port_end, "/") != 0)
        return error_set(ret_error, ST_BAD_ARGUMENT, "\"%s\": nothing may stand behind the port", text);
    memcpy(url.host, host, (size_t)(end - host));
    url.port = (uint16_t)number;
    *ret_url = url;
    return ST_OK;
}

enum status url_parse_list(const char *text, struct url *ret_urls, unsigned max, unsigned *ret_count,
                           struct error *ret_error)
{
    unsigned count = 0;

    while (*text) {
        size_t len = strcspn(text, ",");
        char word[512];
        enum status st;
        if (len >= sizeof word)
            return error_set(ret_error, ST_BAD_ARGUMENT, "a URL of %zu bytes is too long", len);
        if (count == max)
            return error_set(ret_error, ST_LIMIT, "more than %u URLs", max);
        memcpy(word, text, len);
        word[len] = 0;
        st = url_parse(word, &ret_urls[count], ret_error);
        if (st != ST_OK)
            return st;
        count++;
        text += len + (text[len] == ',');
    }
    *ret_count = count;
    return ST_OK;
}

void url_format(const struct url *url, char *ret_text, size_t cap)
{
    bool v6 = strchr(url->host, ':') != NULL;

    if (url->is_unix)
        snprintf(ret_text, cap, "unix://%s", url->path);
    else
        snprintf(ret_text, cap, "%s://%s%s%s:%u", url->tls ? "https" : "http", v6 ? "[" : "", url->host, v6 ? "]" : "",
                 url->port);
}

enum status url_resolve(const struct url *url, bool listen, struct sockaddr_storage *ret_address, socklen_t *ret_len,
                        struct error *ret_error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found = NULL;
    const char *host = url->host;
    char port[8];
    int error;

    memset(ret_address, 0, sizeof *ret_address);
    if (url->is_unix) {
        struct sockaddr_un *un = (struct sockaddr_un *)ret_address;
        un->sun_family = AF_UNIX;
        snprintf(un->sun_path, sizeof un->sun_path, "%s", url->path);
        *ret_len = sizeof *un;
        return ST_OK;
    }
    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1"; /* like etcd: what listens there is looked for there */
    if (listen)
        hints.ai_flags |= AI_NUMERICHOST;
    snprintf(port, sizeof port, "%u", url->port);
    error = getaddrinfo(host, port, &hints, &found);
    if (error)
        return error_set(ret_error, ST_BAD_ARGUMENT, "%s: %s", url->host,
                         listen ? "an address to listen on must be an IP address, localhost or a Unix socket" :
                                  gai_strerror(error));
    memcpy(ret_address, found->ai_addr, found->ai_addrlen);
    *ret_len = found->ai_addrlen;
    freeaddrinfo(found);
    return ST_OK;
}
