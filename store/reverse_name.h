/* The names of IP addresses in the DNS: "1.2.0.192.in-addr.arpa" (RFC 1035 section 3.5) and
 * "….ip6.arpa" (RFC 3596 section 2.5), which TLS-ALPN-01 uses as server names of addresses (RFC
 * 8738 section 6). */
#ifndef STORE_REVERSE_NAME_H
#define STORE_REVERSE_NAME_H

#include "proxy/base/slice.h"

/* 64 digits and dots and "ip6.arpa", with the NUL. */
#define REVERSE_NAME_BYTES 73

/* The reverse name of an IP address text; false: it is none. */
NODISCARD bool reverse_name_of(struct slice address, char out[REVERSE_NAME_BYTES]);
/* The canonical text of the address that a whole reverse name (lower-case, no dot at the end)
 * stands for; false: it is no reverse name of one address. */
NODISCARD bool reverse_name_address(struct slice name, char out[REVERSE_NAME_BYTES]);

#endif
