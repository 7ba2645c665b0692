/* The door to c-ares: one question to the name servers, asynchronously, on one loop. No cache, no
 * thread: that is resolve.c's. */
#ifndef NET_DNS_H
#define NET_DNS_H

#include "proxy/base/err.h"
#include "proxy/loop/loop.h"
#include "proxy/net/addr.h"

#define DNS_ADDRS_MAX 64 /* of them at most 32 IPv6 */
#define DNS_SRV_MAX 64
#define DNS_NAME_MAX 254 /* RFC 1035 section 2.3.4, with the dot at the end */
#define DNS_SERVERS_MAX 256

/* One SRV record (RFC 2782). */
struct dns_srv {
    char target[DNS_NAME_MAX + 1];
    uint16_t port;
    uint16_t priority;
    uint16_t weight;
};

enum dns_kind { DNS_ADDRS, DNS_SRV };

struct dns_answer {
    const struct addr *addrs; /* IPv6 first, port 0 */
    const struct dns_srv *srv; /* by priority, shuffled by weight */
    unsigned count;
    int64_t ttl_ms;    /* the least of the records', not clamped; -1: unknown */
    const char *error; /* static text, where count is 0 */
};

struct dns_query {
    /* Set by the caller. */
    enum dns_kind kind;
    struct slice name;    /* letters, digits, "-", "_", "."; lives until done */
    struct slice servers; /* "10.0.0.53,[::1]:5353", or empty: the system's; lives until done */
    /* Once for each dns_start, possibly from inside it. The answer is gone afterwards. */
    void (*done)(struct dns_query *self, const struct dns_answer *answer);
};

struct dns; /* belongs to its loop's thread */

/* "IP", "IP:PORT", "[IPv6]:PORT", several separated by commas: is it one dns_query.servers takes?
 */
NODISCARD bool dns_servers_valid(struct slice servers);

struct dns *dns_new(struct loop *l, struct err *err);
/* Questions under way are answered ("shutting down") from inside. NULL is allowed. */
void dns_free(struct dns *d);
/* Addresses: /etc/hosts first, then A and AAAA. An answer with addresses of one family waits 250 ms
 * at most for the other one, so that name servers that swallow AAAA cost nothing (RFC 8305 section
 * 3). A change of /etc/resolv.conf is noticed. */
void dns_start(struct dns *d, struct dns_query *q);

#endif
