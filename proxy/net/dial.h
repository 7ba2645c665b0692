/* Opens a connection to a host: resolve, then connect to its addresses, the next one beginning
 * 250 ms after the last or when it fails (RFC 8305, families alternating), first one wins. When all
 * of a remembered answer's addresses fail, the name is asked again and the new answer tried. */
#ifndef NET_DIAL_H
#define NET_DIAL_H

#include "proxy/net/resolve.h"
#include "proxy/net/stream.h"

struct dial; /* one attempt under way */

enum dial_result { DIAL_OK, DIAL_NO_SUCH_HOST, DIAL_REFUSED, DIAL_UNREACHABLE, DIAL_TIMEOUT,
                   DIAL_LOCAL /* descriptors, ports or memory of our own ran out */ };

/* Called once from the loop unless cancelled: s (owned by the callee) on DIAL_OK, else NULL and
 * detail, a text for logs and error pages ("connection refused"). The dial is gone afterwards. */
typedef void dial_done(void *ctx, enum dial_result result, struct stream *s, struct slice detail);

/* unix_path or host and port (host may be an IP literal). Strings must live until done. timeout_ms
 * covers the look-up too. done is called from a later turn, never from inside this call; s is tuned
 * (sock.h) and knows peer and local. When every address refuses, the resolver forgets the name.
 * NULL: memory. */
struct dial *dial_start(struct loop *l, struct resolver *r, struct slice host, uint16_t port,
                        struct slice unix_path, int64_t timeout_ms, dial_done *done, void *ctx);
struct dial_target {
    struct slice host; /* a name or an IP literal */
    uint16_t port;
    struct slice unix_path;    /* instead of both */
    struct slice servers;      /* resolve.h; empty: the system's */
    int64_t fallback_delay_ms; /* head start of an address; 0: 250 ms; < 0: one after the other */
    const struct addr *local;  /* where to come from (its port may be 0), until done; NULL or
                                  len 0: the system chooses. Addresses of another family fail. */
};

/* The same with everything that can be said. The strings of *t must live until done. */
struct dial *dial_start_to(struct loop *l, struct resolver *r, const struct dial_target *t,
                           int64_t timeout_ms, dial_done *done, void *ctx);
/* done will not be called; everything is closed. Not after done. */
void dial_cancel(struct dial *d);

#endif
