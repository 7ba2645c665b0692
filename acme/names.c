/* Which names can be on a certificate, and which of them no public CA signs. In: a name's text.
 * Out: yes or no. The rules are Caddy's (certmagic's certificates.go as described in its
 * documentation), with one addition: a name without any dot is local too, because the CA/Browser
 * Forum forbids certificates for such names. */
#include "acme/acme.h"

#include "acme/csr.h"

bool acme_name_qualifies(struct slice name)
{
    static const char forbidden[] = "()[]{}<> \t\n\r\"\\!@#$%^&|;'+=,/";
    if (name.n == 0 || name.n > 253 || name.p[0] == '.' || name.p[name.n - 1] == '.') {
        return false;
    }
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        if (c < 0x20 || c >= 0x7f || strchr(forbidden, c)) {
            return false;
        }
        /* A star only as the whole left-most label. */
        if (c == '*' && (i != 0 || (name.n > 1 && name.p[1] != '.'))) {
            return false;
        }
    }
    return true;
}

static bool ends_case(struct slice name, struct slice suffix)
{
    return name.n >= suffix.n &&
           slice_eq_case(slice_from(name, name.n - suffix.n), suffix);
}

/* Not loopback, private, link-local, shared (RFC 6598), for documentation (RFC 5737, 3849),
 * unspecified, multicast or reserved. */
static bool ip_is_public(const unsigned char *ip, size_t n)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (n == 16 && memcmp(ip, mapped, sizeof(mapped)) == 0) {
        ip += 12;
        n = 4;
    }
    static const unsigned char documentation[][4] = {
        {192, 0, 2}, {198, 51, 100}, {203, 0, 113}, {0x20, 0x01, 0x0d, 0xb8}};
    for (size_t i = 0; i < ARRAY_LEN(documentation); i++) {
        if (memcmp(ip, documentation[i], i < 3 ? 3 : 4) == 0 && (n == 4) == (i < 3)) {
            return false;
        }
    }
    if (n == 4) {
        return !(ip[0] == 0 || ip[0] == 10 || ip[0] == 127 || ip[0] >= 224 ||
                 (ip[0] == 100 && (ip[1] & 0xc0) == 64) || (ip[0] == 169 && ip[1] == 254) ||
                 (ip[0] == 172 && (ip[1] & 0xf0) == 16) || (ip[0] == 192 && ip[1] == 168));
    }
    return (ip[0] & 0xe0) == 0x20; /* 2000::/3 is what is given out (RFC 4291 section 2.4) */
}

bool acme_name_is_local(struct slice name)
{
    static const struct slice suffixes[] = {
        S_INIT(".localhost"), S_INIT(".local"), S_INIT(".internal"), S_INIT(".home.arpa"),
    };
    unsigned char ip[16];
    size_t ip_bytes = csr_ip_bytes(name, ip);
    if (ip_bytes) {
        return !ip_is_public(ip, ip_bytes);
    }
    size_t first_dot = slice_find(name, '.');
    if (first_dot == SLICE_NPOS || slice_eq_case(name, S("home.arpa"))) {
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        if (ends_case(name, suffixes[i])) {
            return true;
        }
    }
    /* A wildcard over a whole top-level domain. */
    return name.p[0] == '*' && slice_rfind(name, '.') == first_dot;
}
