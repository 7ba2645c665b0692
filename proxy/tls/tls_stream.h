/* Inside proxy/tls: the stream both directions share, its BIO and its handshake.
 *
 * A TLS stream sits on a plain one, which it owns. OpenSSL reads and writes through a BIO of ours:
 * reading goes straight into OpenSSL's buffer (which it has only while bytes are in it); writing
 * collects ciphertext in a buffer of the thread, sent at the end of each call with one write. What
 * the socket does not take is kept in `out`, and nothing more is taken until it has gone.
 *
 *   tls_bio.c        the BIO, the thread's buffers, sending
 *   tls_stream.c     struct stream's operations and events
 *   tls_handshake.c  the handshake with its deadline, for server and client alike */
#ifndef TLS_TLS_STREAM_H
#define TLS_TLS_STREAM_H

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "proxy/net/stream.h"

#define TLS_RECORD_BYTES ((size_t)16384)
/* Ciphertext that is sent at once: four full records. */
#define TLS_GATHER_BYTES ((size_t)64 * 1024)
/* Ciphertext kept for one connection; past it the connection is given up (only a handshake with a
 * preposterous certificate chain could get there). */
#define TLS_OUT_MAX_BYTES ((size_t)256 * 1024)
/* Bytes taken from the socket within one call beyond those asked for: bounds the work a peer can
 * cause with records that carry no data. */
#define TLS_READ_EXTRA_BYTES ((size_t)64 * 1024)

struct tls_handshake;

/* A byte string with the part that has been used up in front. */
struct tls_bytes {
    char *p; /* owned; NULL when empty */
    size_t off;
    size_t n; /* bytes from off on */
    size_t cap;
};

struct tls_stream {
    struct stream base;
    struct stream *under;            /* owned: the plain stream */
    SSL *ssl;                        /* owned; NULL until the handshake begins */
    struct tls_handshake *handshake; /* borrowed; NULL once it is done */
    char *server_name;               /* owned; info.server_name */
    struct tls_peer *peer;           /* owned; info.client; NULL: no certificate was shown */
    struct stream_tls info;
    struct tls_bytes in;  /* received before there was an SSL */
    struct tls_bytes out; /* ciphertext the socket has not taken, or that waits for more */
    size_t read_left;     /* bytes the BIO may still take from the socket in this call */
    struct task task;     /* events for what is inside; sends what waits */
    struct timer timer;   /* the handshake's deadline; then: events again, a turn later */
    bool *gone;           /* set to true when the stream is freed; on the stack of who calls out */
    bool drained;         /* the socket has nothing more in this call */
    bool hold_socket;     /* do not read the socket in this call: deliver what is inside */
    bool blocked;         /* the socket is full; WRITE is wanted of it */
    bool flush_due;       /* out waits only for the end of the turn */
    bool inside;          /* OpenSSL has bytes that the last read did not take */
    bool end;             /* close_notify was read */
    bool truncated;       /* the socket ended without it */
    bool failed;          /* broken: TLS failure, reset, memory */
    bool write_failed;    /* the socket takes nothing any more */
    bool reported;        /* the owner has read the end or the failure */
    bool notified;        /* close_notify was written */
    bool suspended;       /* the handshake waits for the store: the socket is left alone */
    bool no_h2;           /* it is not chosen, whatever the policy offers */
    bool challenge;       /* a CA's TLS-ALPN-01 handshake: nothing follows it */
    bool half_closed;     /* and the plain stream's writing side was shut */
    const char *refused;  /* why our own callbacks refused the handshake (static), or NULL */
};

/* A stream over under, not yet with an SSL; NULL: memory (under is closed). */
struct tls_stream *tls_stream_new(struct stream *under);
/* Gives it ssl (owned from now on, also when this fails: memory). */
NODISCARD bool tls_stream_set_ssl(struct tls_stream *s, SSL *ssl);
/* Frees it and closes the plain stream. Says no goodbye. */
void tls_stream_free(struct tls_stream *s, bool abort);
/* After the handshake: fills in info, and becomes an ordinary stream. False: memory. */
NODISCARD bool tls_stream_established(struct tls_stream *s);
/* Asks the plain stream for the events that are needed now. */
void tls_stream_sync_want(struct tls_stream *s);

/* ---- tls_bio.c ------------------------------------------------------------------------------- */

/* The thread's buffers: nothing in them outlives a call. */
struct tls_scratch {
    size_t cipher_n;
    char plain[TLS_RECORD_BYTES];
    char cipher[TLS_GATHER_BYTES + TLS_RECORD_BYTES + 1024];
};
/* NULL: memory. Freed when the thread ends. */
struct tls_scratch *tls_scratch(void);

/* Before each call into OpenSSL: what SSL_get_error says must be about that call. Clearing an empty
 * queue costs ten times as much as looking. */
static inline void tls_clear_errors(void)
{
    if (UNLIKELY(ERR_peek_error() != 0)) {
        ERR_clear_error();
    }
}
BIO *tls_bio_new(struct tls_stream *s);
NODISCARD bool tls_bytes_append(struct tls_bytes *b, const void *p, size_t n);
void tls_bytes_drop(struct tls_bytes *b, size_t n);
/* Ciphertext gathered or kept. */
size_t tls_unsent(const struct tls_stream *s);
/* Sends what is gathered or kept; what is left makes the stream blocked. Any failure is noted in
 * write_failed. Every call into OpenSSL is followed by this or by tls_keep(). */
void tls_flush(struct tls_stream *s);
/* Moves what is gathered into out without sending it; and back, if it is small and not blocked. */
void tls_keep(struct tls_stream *s);
void tls_unkeep(struct tls_stream *s);

/* ---- tls_handshake.c ------------------------------------------------------------------------- */

typedef void tls_handshake_done(void *ctx, struct stream *s, const char *why);

struct tls_handshake {
    struct tls_stream *stream; /* owned until done */
    tls_handshake_done *done;
    void *ctx;
    bool server;
    /* Gives stream its SSL: a server at the first bytes, a client at once. False: memory. */
    bool (*begin)(struct tls_handshake *h);
    /* The reason of a failure (static text), or NULL for the general one. May be NULL. */
    const char *(*explain)(struct tls_handshake *h);
    /* Frees what embeds h. */
    void (*release)(struct tls_handshake *h);
};

/* Starts: the first step runs as a task. False: memory (nothing was taken). */
NODISCARD bool tls_handshake_start(struct tls_handshake *h, int64_t timeout_ms);
/* Ends it without calling done; frees the stream and h. */
void tls_handshake_cancel(struct tls_handshake *h);
/* From the stream's events, task and timer. */
void tls_handshake_step(struct tls_handshake *h);
void tls_handshake_timeout(struct tls_handshake *h);

#endif
