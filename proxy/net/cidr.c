/* Ranges of IP addresses; see cidr.h. */
#include "proxy/net/cidr.h"

const struct slice cidr_private[CIDR_PRIVATE_COUNT] = {
    S_INIT("192.168.0.0/16"), S_INIT("172.16.0.0/12"), S_INIT("10.0.0.0/8"),
    S_INIT("127.0.0.1/8"),    S_INIT("fd00::/8"),      S_INIT("::1"),
};

#define MAPPED_BITS 96u /* of ::ffff:0:0/96, RFC 4291 section 2.5.5.2 */

/* The address in network order, mapped ones as IPv4; NULL if it is none. */
static const unsigned char *ip_bytes(const struct addr *a, bool *v6)
{
    if (a->len == 0) {
        return NULL;
    }
    if (a->u.sa.sa_family == AF_INET) {
        *v6 = false;
        return (const unsigned char *)&a->u.in.sin_addr;
    }
    if (a->u.sa.sa_family != AF_INET6) {
        return NULL;
    }
    *v6 = !IN6_IS_ADDR_V4MAPPED(&a->u.in6.sin6_addr);
    return a->u.in6.sin6_addr.s6_addr + (*v6 ? 0 : MAPPED_BITS / 8);
}

bool cidr_parse(struct slice text, struct cidr *out)
{
    size_t slash = slice_find(text, '/');
    struct addr a;
    bool v6 = false;
    if (!addr_parse_ip(slice_upto(text, slash), 0, &a)) {
        return false;
    }
    bool written_v6 = a.u.sa.sa_family == AF_INET6;
    uint64_t bits = written_v6 ? 128 : 32;
    if (slash != SLICE_NPOS &&
        (text.n - slash > 4 || !slice_u64(slice_from(text, slash + 1), bits, &bits))) {
        return false;
    }
    const unsigned char *bytes = ip_bytes(&a, &v6);
    if (written_v6 && !v6) {
        if (bits < MAPPED_BITS) {
            return false;
        }
        bits -= MAPPED_BITS;
    }
    memset(out, 0, sizeof(*out));
    out->v6 = v6;
    out->bits = (uint8_t)bits;
    memcpy(out->bytes, bytes, (bits + 7) / 8);
    if (bits % 8) {
        out->bytes[bits / 8] &= (unsigned char)(0xff << (8 - bits % 8));
    }
    return true;
}

bool cidr_has(const struct cidr *c, const struct addr *a)
{
    bool v6 = false;
    const unsigned char *bytes = ip_bytes(a, &v6);
    if (!bytes || v6 != c->v6 || memcmp(bytes, c->bytes, c->bits / 8) != 0) {
        return false;
    }
    unsigned rest = c->bits % 8;
    return rest == 0 || ((bytes[c->bits / 8] ^ c->bytes[c->bits / 8]) >> (8 - rest)) == 0;
}

bool cidr_list_has(const struct cidr *list, size_t count, const struct addr *a)
{
    for (size_t i = 0; i < count; i++) {
        if (cidr_has(&list[i], a)) {
            return true;
        }
    }
    return false;
}
