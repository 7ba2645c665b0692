/* Socket addresses: IPv4, IPv6 and Unix paths. A plain value. */
#ifndef NET_ADDR_H
#define NET_ADDR_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "proxy/base/slice.h"

struct addr {
    socklen_t len; /* of what is in u; 0: no address */
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } u;
};

/* How many bytes of *a are in use: 20 of 116 for an IPv4 address (and no fewer, if only zeros).
 * Where very many are kept, only these are (tcp.c): nothing that reads *a needs more, but it cannot
 * be copied whole. */
size_t addr_bytes(const struct addr *a);

/* An IP address literal (IPv6 without brackets, a zone is refused); false for anything else. */
NODISCARD bool addr_parse_ip(struct slice text, uint16_t port, struct addr *out);
/* A path that fits sun_path, without NUL. */
NODISCARD bool addr_unix(struct slice path, struct addr *out);

#define ADDR_TEXT_BYTES 128
/* "1.2.3.4", "::1", or the path; no port. Returns a slice of buf. IPv4-mapped IPv6 prints as IPv4.
 */
struct slice addr_host_text(const struct addr *a, char buf[ADDR_TEXT_BYTES]);
/* "1.2.3.4:80", "[::1]:80", or the path. */
struct slice addr_text(const struct addr *a, char buf[ADDR_TEXT_BYTES]);
uint16_t addr_port(const struct addr *a);
void addr_set_port(struct addr *a, uint16_t port);
bool addr_eq(const struct addr *a, const struct addr *b);
/* Zeroes all but the first bits of an IP address (an IPv4-mapped one counts as IPv6). */
void addr_mask(struct addr *a, unsigned bits);
bool addr_is_unix(const struct addr *a);

#endif
