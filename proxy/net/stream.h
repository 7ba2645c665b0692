/* The byte-stream interface: what codecs read and write. Plain TCP and Unix sockets (tcp.h), TLS
 * (proxy/tls) and the tests' loopback implement it.
 *
 * Events. The owner sets on_event and says with stream_want() what it waits for. on_event is
 * called from the event loop (or from a task), never from inside a call on the stream. READ is
 * level-triggered: while it is wanted and bytes (or an end or an error) can be read, on_event comes
 * again each turn, bytes buffered inside TLS included. WRITE should be wanted only after a write
 * took less than it was given. Errors show as READ or WRITE whatever was wanted of the two, and the
 * next read or write then returns the failure. With nothing wanted a broken connection may still
 * be reported by on_event(READ): read to learn. */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include <sys/types.h>
#include <sys/uio.h>

#include "proxy/loop/loop.h"
#include "proxy/net/addr.h"

enum { STREAM_READ = 1, STREAM_WRITE = 2 };

/* Results of read and writev below zero. */
enum {
    STREAM_AGAIN = -1,     /* nothing now; an event will come if it is wanted */
    STREAM_ERROR = -2,     /* the connection is broken (reset, TLS failure) */
    STREAM_TRUNCATED = -3, /* end of a TLS stream without close_notify: not a clean end */
};

/* One of the names in a certificate. */
struct stream_alt_name {
    enum stream_alt_kind { ALT_DNS, ALT_EMAIL, ALT_IP, ALT_URI } kind;
    struct slice value;
};

/* The certificate that a client has shown (and proven to own; whether anybody vouches for it is the
 * policy's matter). */
struct stream_client_certificate {
    struct slice der;
    struct slice subject; /* RFC 2253: "CN=alice,O=Example" */
    struct slice issuer;
    struct slice common_name; /* the subject's, or empty */
    struct slice serial;      /* decimal */
    struct slice fingerprint; /* SHA-256 of der, lower-case hexadecimal */
    struct slice public_key;  /* the key's bytes, as the certificate has them */
    struct slice public_key_sha256; /* hexadecimal */
    const struct stream_alt_name *alt_names;
    size_t alt_count;
};

/* What TLS negotiated; lives as long as the stream. */
struct stream_tls {
    struct slice version;     /* "tls1.3", Caddy's spelling */
    struct slice cipher;      /* "TLS_AES_128_GCM_SHA256" */
    struct slice alpn;        /* "http/1.1", "h2" or empty */
    struct slice server_name; /* lower-case SNI or empty */
    const struct stream_client_certificate *client; /* NULL: none was shown */
    uint64_t client_policy; /* what was asked of the client, see tls_policy_client_id; 0: nothing */
    bool resumed;
    bool stand_in; /* served with the self-signed stand-in: there is no certificate yet */
};

struct stream;

struct stream_ops {
    /* Up to n bytes into buf: > 0 bytes, 0 a clean end, or one of the results above. A result
     * shorter than n means that nothing more is there now (no second read needed). */
    ssize_t (*read)(struct stream *s, void *buf, size_t n);
    /* Takes bytes from the front of the vectors: how many (0 only if all are empty), or AGAIN or
     * ERROR. Taken bytes are the stream's: the caller may release them. more: the caller will write
     * more within this turn (MSG_MORE, or TLS may wait to fill a record). */
    ssize_t (*writev)(struct stream *s, const struct iovec *iov, int iov_count, bool more);
    void (*want)(struct stream *s, unsigned events);
    /* No more will be written (FIN, close_notify) after what was taken has been sent. */
    void (*shutdown_write)(struct stream *s);
    /* Sends what it can of what was taken without blocking (TLS: close_notify as well), closes and
     * frees. on_event never comes again. abort: reset the connection instead of ending it. */
    void (*close)(struct stream *s, bool abort);
    /* Bytes taken by writev but not yet handed to the kernel. */
    size_t (*unsent)(const struct stream *s);
    /* For splice(2): the plain socket, or -1 where bytes are transformed. */
    int (*raw_fd)(const struct stream *s);
};

struct stream {
    const struct stream_ops *ops;
    struct loop *loop;
    void (*on_event)(struct stream *self, unsigned events);
    void *owner; /* borrowed; for on_event */
    unsigned wanted;
    const struct addr *peer;  /* never NULL; lives as long as the stream */
    const struct addr *local; /* never NULL; len may be 0 */
    const struct stream_tls *tls; /* NULL on plain streams */
};

static inline ssize_t stream_read(struct stream *s, void *buf, size_t n)
{
    return s->ops->read(s, buf, n);
}

static inline ssize_t stream_writev(struct stream *s, const struct iovec *iov, int n, bool more)
{
    return s->ops->writev(s, iov, n, more);
}

static inline void stream_want(struct stream *s, unsigned events)
{
    if (s->wanted != events) {
        s->wanted = events;
        s->ops->want(s, events);
    }
}

static inline void stream_shutdown_write(struct stream *s)
{
    s->ops->shutdown_write(s);
}

static inline void stream_close(struct stream *s, bool abort)
{
    s->ops->close(s, abort);
}

#endif
