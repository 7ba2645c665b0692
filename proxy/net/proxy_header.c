/* Reading and writing of PROXY protocol headers; see proxy_header.h. Section numbers are those of
 * proxy-protocol.txt. */
#include "proxy/net/proxy_header.h"

#include <arpa/inet.h>
#include <stdio.h>

static const char signature[] = "\r\n\r\n\0\r\nQUIT\n"; /* section 2.2 */
#define SIGNATURE_BYTES ((size_t)12)
#define V2_HEAD_BYTES ((size_t)16)
#define V2_INET_BYTES ((size_t)12)
#define V2_INET6_BYTES ((size_t)36)
#define V2_UNIX_PATH_BYTES ((size_t)108)
#define V2_UNIX_BYTES (2 * V2_UNIX_PATH_BYTES)

enum { CMD_LOCAL = 0, CMD_PROXY = 1 };
enum { FAM_UNSPEC = 0, FAM_INET = 1, FAM_INET6 = 2, FAM_UNIX = 3 };
enum { TRANSPORT_UNSPEC = 0, TRANSPORT_STREAM = 1, TRANSPORT_DGRAM = 2 };

static enum proxy_header_result bad(const char **why, const char *text)
{
    *why = text;
    return PROXY_HEADER_BAD;
}

/* ---- version 1 ------------------------------------------------------------------------------- */

/* No leading zeros (section 2.1). */
static bool parse_port(struct slice s, uint16_t *out)
{
    uint64_t v;
    if (s.n == 0 || s.n > 5 || (s.n > 1 && s.p[0] == '0') || !slice_u64(s, 65535, &v)) {
        return false;
    }
    *out = (uint16_t)v;
    return true;
}

/* "SOURCE DESTINATION PORT PORT", single spaces. */
static bool parse_v1_addrs(struct slice rest, sa_family_t family, struct proxy_header *out)
{
    struct slice word[4];
    uint16_t ports[2];
    for (size_t i = 0; i < ARRAY_LEN(word); i++) {
        if (!slice_cut(&rest, ' ', &word[i])) {
            return false;
        }
    }
    return !rest.p && parse_port(word[2], &ports[0]) && parse_port(word[3], &ports[1]) &&
           addr_parse_ip(word[0], ports[0], &out->source) &&
           addr_parse_ip(word[1], ports[1], &out->destination) &&
           out->source.u.sa.sa_family == family && out->destination.u.sa.sa_family == family;
}

static enum proxy_header_result parse_v1(struct slice in, struct proxy_header *out,
                                         const char **why)
{
    struct slice line = slice_upto(in, PROXY_HEADER_V1_MAX);
    size_t cr = slice_find(line, '\r');
    if (cr == SLICE_NPOS || cr + 1 == line.n) {
        if (line.n == PROXY_HEADER_V1_MAX) {
            return bad(why, "the PROXY line is longer than 107 bytes");
        }
        out->bytes = in.n + 1;
        return PROXY_HEADER_MORE;
    }
    if (line.p[cr + 1] != '\n') {
        return bad(why, "a carriage return inside the PROXY line");
    }
    line = slice_upto(line, cr);
    out->bytes = cr + 2;
    struct slice rest = slice_from(line, strlen("PROXY "));
    struct slice protocol;
    (void)slice_cut(&rest, ' ', &protocol);
    if (slice_eq(protocol, S("UNKNOWN"))) {
        return PROXY_HEADER_OK; /* whatever follows is to be ignored */
    }
    bool v4 = slice_eq(protocol, S("TCP4"));
    if (!v4 && !slice_eq(protocol, S("TCP6"))) {
        return bad(why, "the PROXY line has an unknown protocol");
    }
    if (!parse_v1_addrs(rest, v4 ? AF_INET : AF_INET6, out)) {
        return bad(why, "the PROXY line has malformed addresses");
    }
    return PROXY_HEADER_OK;
}

/* ---- version 2 ------------------------------------------------------------------------------- */

static void set_inet(struct addr *a, const char *ip, const char *port)
{
    memset(a, 0, sizeof(*a));
    a->u.in.sin_family = AF_INET;
    memcpy(&a->u.in.sin_addr, ip, 4);
    memcpy(&a->u.in.sin_port, port, 2);
    a->len = sizeof(a->u.in);
}

static void set_inet6(struct addr *a, const char *ip, const char *port)
{
    memset(a, 0, sizeof(*a));
    a->u.in6.sin6_family = AF_INET6;
    memcpy(&a->u.in6.sin6_addr, ip, 16);
    memcpy(&a->u.in6.sin6_port, port, 2);
    a->len = sizeof(a->u.in6);
}

/* Abstract, empty and over-long paths become the unnamed address: nobody is to connect to it. */
static void set_unix(struct addr *a, const char *path)
{
    if (!addr_unix(slice_of(path, strnlen(path, V2_UNIX_PATH_BYTES)), a)) {
        memset(a, 0, sizeof(*a));
        a->u.un.sun_family = AF_UNIX;
        a->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1);
    }
}

static enum proxy_header_result parse_v2_addrs(struct slice body, unsigned family,
                                               unsigned transport, struct proxy_header *out,
                                               const char **why)
{
    static const size_t needed[] = {0, V2_INET_BYTES, V2_INET6_BYTES, V2_UNIX_BYTES};
    if (family >= ARRAY_LEN(needed) || transport > TRANSPORT_DGRAM) {
        return bad(why, "the PROXY header has an unknown address family");
    }
    if (body.n < needed[family]) {
        return bad(why, "the PROXY header is shorter than its addresses");
    }
    if (transport != TRANSPORT_STREAM) {
        return PROXY_HEADER_OK; /* no TCP client: the addresses are nobody's we serve */
    }
    if (family == FAM_INET) {
        set_inet(&out->source, body.p, body.p + 8);
        set_inet(&out->destination, body.p + 4, body.p + 10);
    } else if (family == FAM_INET6) {
        set_inet6(&out->source, body.p, body.p + 32);
        set_inet6(&out->destination, body.p + 16, body.p + 34);
    } else if (family == FAM_UNIX) {
        set_unix(&out->source, body.p);
        set_unix(&out->destination, body.p + V2_UNIX_PATH_BYTES);
    }
    return PROXY_HEADER_OK;
}

static enum proxy_header_result parse_v2(struct slice in, struct proxy_header *out,
                                         const char **why)
{
    if (in.n < V2_HEAD_BYTES) {
        out->bytes = V2_HEAD_BYTES;
        return PROXY_HEADER_MORE;
    }
    unsigned version = (unsigned char)in.p[12];
    unsigned family = (unsigned char)in.p[13];
    size_t length = (size_t)(unsigned char)in.p[14] << 8 | (unsigned char)in.p[15];
    unsigned command = version & 0x0f;
    if (version >> 4 != 2 || command > CMD_PROXY) {
        return bad(why, "the PROXY header has an unknown version or command");
    }
    if (length > PROXY_HEADER_MAX - V2_HEAD_BYTES) {
        return bad(why, "the PROXY header is too long");
    }
    out->bytes = V2_HEAD_BYTES + length;
    if (in.n < out->bytes) {
        return PROXY_HEADER_MORE;
    }
    if (command == CMD_LOCAL) {
        return PROXY_HEADER_OK; /* its addresses are to be discarded (section 2.2) */
    }
    return parse_v2_addrs(slice_of(in.p + V2_HEAD_BYTES, length), family >> 4, family & 0x0f, out,
                          why);
}

enum proxy_header_result proxy_header_parse(struct slice in, struct proxy_header *out,
                                            const char **why)
{
    struct slice v1 = S("PROXY ");
    struct slice v2 = slice_of(signature, SIGNATURE_BYTES);
    out->bytes = in.n + 1;
    out->source.len = 0;
    out->destination.len = 0;
    *why = NULL;
    if (slice_starts(in, v1)) {
        return parse_v1(in, out, why);
    }
    if (slice_starts(in, v2)) {
        return parse_v2(in, out, why);
    }
    return slice_starts(v1, in) || slice_starts(v2, in) ? PROXY_HEADER_MORE : PROXY_HEADER_NONE;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* The address as IPv6, IPv4 mapped. */
static void to_v6(const struct addr *a, unsigned char out[16])
{
    if (a->u.sa.sa_family == AF_INET6) {
        memcpy(out, &a->u.in6.sin6_addr, 16);
        return;
    }
    memset(out, 0, 10);
    memset(out + 10, 0xff, 2);
    memcpy(out + 12, &a->u.in.sin_addr, 4);
}

static bool is_v4(const unsigned char ip[16])
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    return memcmp(ip, mapped, sizeof(mapped)) == 0;
}

static bool is_ip(const struct addr *a)
{
    return a && a->len && !addr_is_unix(a);
}

static size_t write_v1(const unsigned char from[16], uint16_t from_port, const unsigned char to[16],
                       uint16_t to_port, char out[PROXY_HEADER_V1_MAX + 1])
{
    bool v4 = is_v4(from) && is_v4(to);
    size_t skip = v4 ? 12 : 0;
    char text[2][INET6_ADDRSTRLEN];
    if (!inet_ntop(v4 ? AF_INET : AF_INET6, from + skip, text[0], sizeof(text[0])) ||
        !inet_ntop(v4 ? AF_INET : AF_INET6, to + skip, text[1], sizeof(text[1]))) {
        text[0][0] = text[1][0] = '\0'; /* cannot happen: the buffers are large enough */
    }
    int n = snprintf(out, PROXY_HEADER_V1_MAX + 1, "PROXY %s %s %s %u %u\r\n",
                     v4 ? "TCP4" : "TCP6", text[0], text[1], from_port, to_port);
    must(n > 0 && (size_t)n <= PROXY_HEADER_V1_MAX);
    return (size_t)n;
}

static size_t v2_head(char *out, unsigned command, unsigned family, size_t length)
{
    memcpy(out, signature, SIGNATURE_BYTES);
    out[12] = (char)(0x20 | command);
    out[13] = (char)(family << 4 | (family ? TRANSPORT_STREAM : TRANSPORT_UNSPEC));
    out[14] = (char)(length >> 8);
    out[15] = (char)(length & 0xff);
    return V2_HEAD_BYTES + length;
}

static size_t write_v2(const unsigned char from[16], uint16_t from_port, const unsigned char to[16],
                       uint16_t to_port, char *out)
{
    bool v4 = is_v4(from) && is_v4(to);
    size_t skip = v4 ? 12 : 0;
    size_t n = 16 - skip;
    uint16_t ports[2] = {htons(from_port), htons(to_port)};
    char *p = out + V2_HEAD_BYTES;
    memcpy(p, from + skip, n);
    memcpy(p + n, to + skip, n);
    memcpy(p + 2 * n, ports, sizeof(ports));
    return v2_head(out, CMD_PROXY, v4 ? FAM_INET : FAM_INET6, v4 ? V2_INET_BYTES : V2_INET6_BYTES);
}

size_t proxy_header_write(unsigned version, const struct addr *source,
                          const struct addr *destination, char out[PROXY_HEADER_V1_MAX + 1])
{
    unsigned char from[16];
    unsigned char to[16];
    if (!is_ip(source) || !is_ip(destination)) {
        if (version == 2) {
            return v2_head(out, !source && !destination ? CMD_LOCAL : CMD_PROXY, FAM_UNSPEC, 0);
        }
        memcpy(out, "PROXY UNKNOWN\r\n", 16);
        return 15;
    }
    to_v6(source, from);
    to_v6(destination, to);
    return version == 2
               ? write_v2(from, addr_port(source), to, addr_port(destination), out)
               : write_v1(from, addr_port(source), to, addr_port(destination), out);
}
