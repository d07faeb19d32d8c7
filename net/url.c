/* SPDX-License-Identifier: Apache-2.0 */
/* URLs of endpoints. */
#include "net/url.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
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

/* [ADDRESS]:PORT or NAME:PORT: where the host ends, and where the colon is; NULL if it is neither. */
static const char *find_host_end(const char **host, const char **ret_colon)
{
    const char *end;

    if (**host == '[') {
        end = strchr(++*host, ']');
        *ret_colon = end ? end + 1 : NULL;
        return end && end[1] == ':' ? end : NULL;
    }
    /* No scheme has more in it: neither user@ nor a path, and a colon more is an address without brackets. */
    end = *host + strcspn(*host, ":/@?#[] \t");
    *ret_colon = end;
    return *end == ':' ? end : NULL;
}

/* The number that the text begins with, and how many digits it has; -1 if it is none in 0..65535. */
static int parse_port(const char *text, size_t *ret_digits)
{
    size_t digits = strspn(text, "0123456789");
    int number = 0;

    *ret_digits = digits;
    for (size_t i = 0; i < digits && i < 6; i++)
        number = number * 10 + (text[i] - '0');
    return digits < 1 || digits > 5 || number > 65535 ? -1 : number;
}

enum status url_parse(const char *text, struct url *ret_url, struct error *ret_error)
{
    struct url url = {0};
    const char *host = text, *end, *colon;
    enum status st;
    size_t digits;
    int port;

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
    end = find_host_end(&host, &colon);
    if (!end || end == host || (size_t)(end - host) >= sizeof url.host)
        return error_set(ret_error, ST_BAD_ARGUMENT, "\"%s\": not HOST:PORT", text);
    port = parse_port(colon + 1, &digits);
    if (port < 0)
        return error_set(ret_error, ST_BAD_ARGUMENT, "\"%s\": the port is not in 0..65535", text);
    if (colon[1 + digits] && strcmp(colon + 1 + digits, "/") != 0)
        return error_set(ret_error, ST_BAD_ARGUMENT, "\"%s\": nothing may stand behind the port", text);
    memcpy(url.host, host, (size_t)(end - host));
    url.port = (uint16_t)port;
    *ret_url = url;
    return ST_OK;
}

enum status url_parse_list(const char *text, struct url *ret_urls, unsigned max, unsigned *ret_count,
                           struct error *ret_error)
{
    unsigned count = 0;
    bool more = *text != 0;

    while (more) {
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
        more = text[len] == ','; /* and then there must be one */
        text += len + more;
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

static enum status find_address(const struct url *url, int flags, enum status not_found, struct sockaddr_storage *ret_address,
                                socklen_t *ret_len, struct error *ret_error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags}, *found = NULL;
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
    snprintf(port, sizeof port, "%u", url->port);
    error = getaddrinfo(host, port, &hints, &found);
    if (error)
        return error_set(ret_error, not_found, "%s: %s", url->host,
                         flags & AI_NUMERICHOST ? "must be an IP address, localhost or a Unix socket" : gai_strerror(error));
    memcpy(ret_address, found->ai_addr, found->ai_addrlen);
    *ret_len = found->ai_addrlen;
    freeaddrinfo(found);
    return ST_OK;
}

enum status url_address(const struct url *url, struct sockaddr_storage *ret_address, socklen_t *ret_len, struct error *ret_error)
{
    return find_address(url, AI_NUMERICHOST, ST_BAD_ARGUMENT, ret_address, ret_len, ret_error);
}

enum status url_resolve(const struct url *url, struct sockaddr_storage *ret_address, socklen_t *ret_len, struct error *ret_error)
{
    return find_address(url, 0, ST_UNREACHABLE, ret_address, ret_len, ret_error);
}
