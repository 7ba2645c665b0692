/* Ranges of IP addresses in CIDR notation (RFC 4632 section 3.1), and lists of them. Values. */
#ifndef NET_CIDR_H
#define NET_CIDR_H

#include "proxy/net/addr.h"

struct cidr {
    unsigned char bytes[16]; /* the first 4 or all 16, host bits zero */
    uint8_t bits;            /* of the prefix */
    bool v6;
};

/* "10.0.0.0/8", "fd00::/8", or one address ("192.0.2.1": all of its bits). Bits behind the prefix
 * are ignored, as Caddy does. IPv4-mapped IPv6 becomes IPv4. False for anything else. */
NODISCARD bool cidr_parse(struct slice text, struct cidr *out);
/* An IPv4-mapped IPv6 address is compared as IPv4. Never true for Unix addresses. */
bool cidr_has(const struct cidr *c, const struct addr *a);
bool cidr_list_has(const struct cidr *list, size_t count, const struct addr *a);

/* What `private_ranges` stands for: 192.168/16, 172.16/12, 10/8, 127/8, fd00::/8, ::1. */
#define CIDR_PRIVATE_COUNT 6
extern const struct slice cidr_private[CIDR_PRIVATE_COUNT];

#endif
