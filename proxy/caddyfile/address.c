/* Site and origin addresses: [scheme://]host[:port][/path].
 *
 * In:  the text of one token.
 * Out: its parts, in the caller's arena, or a sentence saying what is wrong with it.
 * Syntax only: which schemes, ranges, wildcards or paths are allowed where, and whether scheme and
 * port go together, is for the caller to judge. */
#include "proxy/caddyfile/caddyfile.h"

#include <arpa/inet.h>

#define LABEL_MAX 63 /* RFC 1035 section 2.3.4 */
#define NAME_MAX_BYTES 253
#define ADDRESS_MAX 2048

static bool refuse(struct slice *why, struct slice message)
{
    *why = message;
    return false;
}

/* RFC 3986 section 3.1, with '+' as in "unix+h2c". Moves *text behind "://" if there is one. */
static bool take_scheme(struct arena *a, struct slice *text, struct slice *scheme,
                        struct slice *why)
{
    size_t at = slice_find_slice(*text, S("://"));
    size_t slash = slice_find(*text, '/');
    *scheme = S("");
    if (at == SLICE_NPOS || slash < at) {
        return true; /* a "://" behind the first slash belongs to the path */
    }
    struct slice s = slice_upto(*text, at);
    if (s.n == 0 || !ascii_is_alpha(s.p[0])) {
        return refuse(why, S("there is no scheme in front of \"://\""));
    }
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '+' && c != '-' && c != '.') {
            return refuse(why, S("the scheme in front of \"://\" has a character that is no "
                                 "letter or digit"));
        }
    }
    *scheme = arena_lower(a, s);
    *text = slice_from(*text, at + 3);
    return true;
}

static bool label_is_valid(struct arena *a, struct slice label, struct slice *why)
{
    if (label.n == 0) {
        return refuse(why, S("the host name has an empty label (two dots, or a dot in front)"));
    }
    if (label.n > LABEL_MAX) {
        return refuse(why, S("a label of the host name is longer than 63 bytes"));
    }
    if (slice_eq(label, S("*"))) {
        return true;
    }
    if (slice_find(label, '*') != SLICE_NPOS) {
        return refuse(why, S("\"*\" stands for a whole label of a host name, as in "
                             "\"*.example.com\""));
    }
    for (size_t i = 0; i < label.n; i++) {
        unsigned char c = (unsigned char)label.p[i];
        if (c >= 0x80) {
            return refuse(why, S("the host name has letters beyond ASCII; write it in its "
                                 "\"xn--\" form"));
        }
        if (!ascii_is_alpha((char)c) && !ascii_is_digit((char)c) && c != '-' && c != '_') {
            return refuse(why, arena_printf(a, "the host name has a \"%c\", which no host name may"
                                               " have", label.p[i]));
        }
    }
    if (label.p[0] == '-' || label.p[label.n - 1] == '-') {
        return refuse(why, S("a label of the host name begins or ends with \"-\""));
    }
    return true;
}

/* Digits and dots only, last label a number: an IPv4 address and nothing else (RFC 3986 3.2.2),
 * because resolvers disagree about what "127.1" or "010.0.0.1" mean. */
static bool is_numeric(struct slice host)
{
    size_t dot = slice_rfind(host, '.');
    struct slice last = dot == SLICE_NPOS ? host : slice_from(host, dot + 1);
    for (size_t i = 0; i < last.n; i++) {
        if (!ascii_is_digit(last.p[i])) {
            return false;
        }
    }
    return last.n > 0;
}

static bool pton(int family, struct slice host)
{
    char text[INET6_ADDRSTRLEN + 1];
    unsigned char raw[sizeof(struct in6_addr)];
    if (host.n >= sizeof(text) || memchr(host.p, 0, host.n)) {
        return false;
    }
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    return inet_pton(family, text, raw) == 1;
}

static bool host_is_valid(struct arena *a, struct slice host, struct slice *why)
{
    struct slice name = host.n > 1 && host.p[host.n - 1] == '.' ? slice_upto(host, host.n - 1)
                                                                : host;
    if (name.n > NAME_MAX_BYTES) {
        return refuse(why, S("the host name is longer than 253 bytes"));
    }
    if (is_numeric(name)) {
        return pton(AF_INET, host) || refuse(why, S("the host is no valid IPv4 address"));
    }
    struct slice rest = name;
    struct slice label;
    while (slice_cut(&rest, '.', &label)) {
        if (!label_is_valid(a, label, why)) {
            return false;
        }
    }
    return true;
}

static bool port_is_valid(struct slice port, struct slice *why)
{
    struct slice rest = port;
    struct slice first;
    uint64_t low;
    uint64_t high;
    if (!slice_cut(&rest, '-', &first) || first.n > 5 || !slice_u64(first, 65535, &low)) {
        return refuse(why, S("the port must be a number from 1 to 65535"));
    }
    if (rest.p == NULL) {
        return true;
    }
    if (rest.n > 5 || !slice_u64(rest, 65535, &high)) {
        return refuse(why, S("the end of the port range must be a number from 1 to 65535"));
    }
    return high >= low || refuse(why, S("the port range ends below its beginning"));
}

/* "[v6]", "[v6]:port", a bare "::1". Sets host and port. */
static bool split_ipv6(struct slice s, struct slice *host, struct slice *port, struct slice *why)
{
    *port = S("");
    if (s.p[0] != '[') {
        *host = s;
    } else {
        size_t end = slice_find(s, ']');
        if (end == SLICE_NPOS) {
            return refuse(why, S("\"[\" without \"]\""));
        }
        *host = slice_upto(slice_from(s, 1), end - 1);
        struct slice rest = slice_from(s, end + 1);
        if (rest.n > 0 && rest.p[0] != ':') {
            return refuse(why, S("behind \"]\" only \":port\" may follow"));
        }
        if (rest.n == 1) {
            return refuse(why, S("there is no port behind \":\""));
        }
        *port = slice_from(rest, rest.n ? 1 : 0);
    }
    if (!pton(AF_INET6, *host)) {
        return refuse(why, s.p[0] == '[' ? S("between \"[\" and \"]\" must be an IPv6 address")
                                         : S("more than one \":\"; an IPv6 address with a port is "
                                             "written \"[::1]:8080\""));
    }
    return port->n == 0 || port_is_valid(*port, why);
}

static bool split_host_port(struct arena *a, struct slice s, struct slice *host,
                            struct slice *port, struct slice *why)
{
    size_t colon = slice_find(s, ':');
    *host = s;
    *port = S("");
    if (s.n == 0) {
        return true;
    }
    if (s.p[0] == '[' || (colon != SLICE_NPOS && slice_rfind(s, ':') != colon)) {
        return split_ipv6(s, host, port, why);
    }
    if (colon != SLICE_NPOS) {
        *host = slice_upto(s, colon);
        *port = slice_from(s, colon + 1);
        if (port->n == 0) {
            return refuse(why, S("there is no port behind \":\""));
        }
        if (!port_is_valid(*port, why)) {
            return false;
        }
    }
    return host->n == 0 || host_is_valid(a, *host, why);
}

/* Lower-case; IPv6 in the one spelling that requests are compared with (RFC 5952). */
static struct slice canonical(struct arena *a, struct slice host)
{
    char text[INET6_ADDRSTRLEN + 1];
    struct in6_addr raw;
    if (slice_find(host, ':') == SLICE_NPOS || host.n >= sizeof(text)) {
        return arena_lower(a, host);
    }
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    if (inet_pton(AF_INET6, text, &raw) != 1 ||
        !inet_ntop(AF_INET6, &raw, text, sizeof(text))) {
        return arena_lower(a, host);
    }
    return arena_copy(a, slice_str(text));
}

bool cf_parse_address(struct arena *a, struct slice text, struct cf_address *out,
                      struct slice *why)
{
    struct slice rest = text;
    *why = S("");
    *out = (struct cf_address){S_INIT(""), S_INIT(""), S_INIT(""), S_INIT("")};
    if (text.n == 0) {
        return refuse(why, S("the address is empty"));
    }
    if (text.n > ADDRESS_MAX) {
        return refuse(why, S("the address is longer than 2048 bytes"));
    }
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c <= 0x20 || c == 0x7f) {
            return refuse(why, S("the address has a space or a control character"));
        }
        if (c == '?' || c == '#' || c == '@') {
            return refuse(why, S("an address has no query, fragment or user name"));
        }
    }
    if (!take_scheme(a, &rest, &out->scheme, why)) {
        return false;
    }
    size_t slash = slice_find(rest, '/');
    struct slice authority = slice_upto(rest, slash);
    struct slice host;
    struct slice port;
    if (!split_host_port(a, authority, &host, &port, why)) {
        return false;
    }
    if (authority.n == 0 && out->scheme.n == 0) {
        return refuse(why, S("the address has no host and no port"));
    }
    out->host = host.n ? canonical(a, host) : S("");
    out->port = port.n ? arena_copy(a, port) : S("");
    out->path = slash == SLICE_NPOS ? S("") : arena_copy(a, slice_from(rest, slash));
    return !a->failed || refuse(why, S("out of memory"));
}
