/* Socket addresses as values: parsed from and printed as text. No name resolution here. */
#include "proxy/net/addr.h"

#include <arpa/inet.h>
#include <stdio.h>

bool addr_parse_ip(struct slice text, uint16_t port, struct addr *out)
{
    char buf[INET6_ADDRSTRLEN];
    if (text.n == 0 || text.n >= sizeof(buf) || memchr(text.p, '\0', text.n)) {
        return false;
    }
    memcpy(buf, text.p, text.n);
    buf[text.n] = '\0';
    struct addr a;
    memset(&a, 0, sizeof(a));
    if (inet_pton(AF_INET, buf, &a.u.in.sin_addr) == 1) {
        a.u.in.sin_family = AF_INET;
        a.len = sizeof(a.u.in);
    } else {
        memset(&a, 0, sizeof(a));
        if (inet_pton(AF_INET6, buf, &a.u.in6.sin6_addr) != 1) {
            return false;
        }
        a.u.in6.sin6_family = AF_INET6;
        a.len = sizeof(a.u.in6);
    }
    *out = a;
    addr_set_port(out, port);
    return true;
}

bool addr_unix(struct slice path, struct addr *out)
{
    /* One byte stays for the NUL, which other programs expect. */
    if (path.n == 0 || path.n >= sizeof(out->u.un.sun_path) || memchr(path.p, '\0', path.n)) {
        return false;
    }
    memset(out, 0, sizeof(*out));
    out->u.un.sun_family = AF_UNIX;
    memcpy(out->u.un.sun_path, path.p, path.n);
    out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n + 1);
    return true;
}

/* The path of a Unix address; "@" for the unnamed end of a connection, as Go prints it. */
static struct slice unix_path(const struct addr *a)
{
    size_t head = offsetof(struct sockaddr_un, sun_path);
    size_t room = a->len > head ? a->len - head : 0;
    if (room > sizeof(a->u.un.sun_path)) {
        room = sizeof(a->u.un.sun_path);
    }
    size_t n = strnlen(a->u.un.sun_path, room);
    return n ? slice_of(a->u.un.sun_path, n) : S("@");
}

static struct slice copy_into(char buf[ADDR_TEXT_BYTES], struct slice s)
{
    s = slice_upto(s, ADDR_TEXT_BYTES - 1);
    memcpy(buf, s.p, s.n);
    buf[s.n] = '\0';
    return slice_of(buf, s.n);
}

/* "127.0.0.1": each proxied request needs one, and inet_ntop goes through printf. */
static struct slice v4_text(const unsigned char bytes[4], char buf[ADDR_TEXT_BYTES])
{
    char *at = buf;
    for (int i = 0; i < 4; i++) {
        unsigned value = bytes[i];
        if (i) {
            *at++ = '.';
        }
        if (value >= 100) {
            *at++ = (char)('0' + value / 100);
        }
        if (value >= 10) {
            *at++ = (char)('0' + value / 10 % 10);
        }
        *at++ = (char)('0' + value % 10);
    }
    *at = '\0';
    return slice_of(buf, (size_t)(at - buf));
}

struct slice addr_host_text(const struct addr *a, char buf[ADDR_TEXT_BYTES])
{
    int family = a->len ? a->u.sa.sa_family : AF_UNSPEC;
    if (family == AF_INET) {
        return v4_text((const unsigned char *)&a->u.in.sin_addr, buf);
    }
    if (family == AF_UNIX) {
        return copy_into(buf, unix_path(a));
    }
    if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->u.in6.sin6_addr)) {
        return v4_text(&a->u.in6.sin6_addr.s6_addr[12], buf);
    }
    if (family != AF_INET6 ||
        !inet_ntop(AF_INET6, &a->u.in6.sin6_addr, buf, ADDR_TEXT_BYTES)) {
        return copy_into(buf, S("-"));
    }
    return slice_str(buf);
}

struct slice addr_text(const struct addr *a, char buf[ADDR_TEXT_BYTES])
{
    char host[ADDR_TEXT_BYTES];
    struct slice h = addr_host_text(a, host);
    if (a->len == 0 || addr_is_unix(a)) {
        return copy_into(buf, h);
    }
    bool brackets = slice_find(h, ':') != SLICE_NPOS;
    int n = snprintf(buf, ADDR_TEXT_BYTES, brackets ? "[%.64s]:%u" : "%.64s:%u", host,
                     (unsigned)addr_port(a));
    return slice_of(buf, n > 0 ? (size_t)n : 0);
}

uint16_t addr_port(const struct addr *a)
{
    if (a->len && a->u.sa.sa_family == AF_INET) {
        return ntohs(a->u.in.sin_port);
    }
    if (a->len && a->u.sa.sa_family == AF_INET6) {
        return ntohs(a->u.in6.sin6_port);
    }
    return 0;
}

void addr_set_port(struct addr *a, uint16_t port)
{
    if (a->len && a->u.sa.sa_family == AF_INET) {
        a->u.in.sin_port = htons(port);
    } else if (a->len && a->u.sa.sa_family == AF_INET6) {
        a->u.in6.sin6_port = htons(port);
    }
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    if (a->len == 0 || b->len == 0) {
        return a->len == b->len;
    }
    if (a->u.sa.sa_family != b->u.sa.sa_family || addr_port(a) != addr_port(b)) {
        return false;
    }
    switch (a->u.sa.sa_family) {
    case AF_INET:
        return a->u.in.sin_addr.s_addr == b->u.in.sin_addr.s_addr;
    case AF_INET6:
        return memcmp(&a->u.in6.sin6_addr, &b->u.in6.sin6_addr, sizeof(struct in6_addr)) == 0 &&
               a->u.in6.sin6_scope_id == b->u.in6.sin6_scope_id;
    case AF_UNIX:
        return slice_eq(unix_path(a), unix_path(b));
    default:
        return false;
    }
}

void addr_mask(struct addr *a, unsigned bits)
{
    unsigned char *p = a->u.sa.sa_family == AF_INET6 ? a->u.in6.sin6_addr.s6_addr
                                                     : (unsigned char *)&a->u.in.sin_addr;
    size_t n = a->u.sa.sa_family == AF_INET6 ? 16 : a->u.sa.sa_family == AF_INET ? 4 : 0;
    for (size_t i = 0; i < n; i++) {
        unsigned kept = bits > i * 8 ? bits - (unsigned)i * 8 : 0;
        unsigned mask = kept >= 8 ? 0xff : (0xff00u >> kept) & 0xff;
        p[i] = (unsigned char)(p[i] & mask);
    }
}

size_t addr_bytes(const struct addr *a)
{
    size_t n = a->len < sizeof(a->u.in) ? sizeof(a->u.in) : a->len;
    return offsetof(struct addr, u) + (n < sizeof(a->u) ? n : sizeof(a->u));
}

bool addr_is_unix(const struct addr *a)
{
    return a->len && a->u.sa.sa_family == AF_UNIX;
}
