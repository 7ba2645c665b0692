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

bool acme_name_is_local(struct slice name)
{
    static const struct slice suffixes[] = {
        S_INIT(".localhost"), S_INIT(".local"), S_INIT(".internal"), S_INIT(".home.arpa"),
    };
    unsigned char ip[16];
    /* Public addresses join when short-lived profiles do (RFC 8738). */
    if (csr_ip_bytes(name, ip)) {
        return true;
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
