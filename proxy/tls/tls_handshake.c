/* The handshake, with its deadline. See tls_stream.h. */
#include <openssl/err.h>

#include "proxy/tls/tls_client.h"
#include "proxy/tls/ossl.h"
#include "proxy/tls/tls_server.h"
#include "proxy/tls/tls_stream.h"

bool tls_handshake_start(struct tls_handshake *h, int64_t timeout_ms)
{
    struct tls_stream *s = h->stream;
    if (!timer_set(&s->timer, timeout_ms)) {
        return false;
    }
    s->handshake = h;
    loop_post(s->base.loop, &s->task);
    return true;
}

void tls_handshake_cancel(struct tls_handshake *h)
{
    tls_stream_free(h->stream, true);
    h->release(h);
}

static void fail(struct tls_handshake *h, const char *why)
{
    tls_handshake_done *done = h->done;
    void *ctx = h->ctx;
    tls_stream_free(h->stream, false);
    h->release(h);
    done(ctx, NULL, why);
}

void tls_handshake_timeout(struct tls_handshake *h)
{
    fail(h, TLS_TOO_SLOW);
}

/* Go's answer, word for word; then what has come is read away, so that closing does not turn into
 * a reset that overtakes it. */
static void answer_plain_http(struct tls_stream *s)
{
    static const char text[] = "HTTP/1.0 400 Bad Request\r\n\r\n"
                               "Client sent an HTTP request to an HTTPS server.\n";
    struct iovec iov = {(char *)(uintptr_t)text, sizeof(text) - 1};
    struct tls_scratch *scratch = tls_scratch();
    if (stream_writev(s->under, &iov, 1, false) > 0) {
        stream_shutdown_write(s->under);
        for (int i = 0; i < 8 && stream_read(s->under, scratch->plain, TLS_RECORD_BYTES) > 0; i++) {
        }
    }
}

/* Until a client has said something it costs no SSL (40 KB while a handshake is under way). True
 * when there is one now. */
static bool first_bytes(struct tls_handshake *h)
{
    struct tls_stream *s = h->stream;
    struct tls_scratch *scratch = tls_scratch();
    if (!scratch) {
        fail(h, "out of memory");
        return false;
    }
    ssize_t got = stream_read(s->under, scratch->plain, TLS_RECORD_BYTES);
    if (got == STREAM_AGAIN) {
        tls_stream_sync_want(s);
        return false;
    }
    if (got <= 0) {
        fail(h, got == 0 ? "closed before the TLS handshake" : "reset before the TLS handshake");
        return false;
    }
    /* A record begins with its type, 22 for a handshake; a request with a method in capitals. */
    if (scratch->plain[0] >= 'A' && scratch->plain[0] <= 'Z') {
        answer_plain_http(s);
        fail(h, TLS_PLAIN_HTTP);
        return false;
    }
    if (!tls_bytes_append(&s->in, scratch->plain, (size_t)got) || !h->begin(h)) {
        fail(h, "out of memory");
        return false;
    }
    s->drained = (size_t)got < TLS_RECORD_BYTES;
    return true;
}

static const char *failure(struct tls_handshake *h)
{
    const struct tls_stream *s = h->stream;
    const char *why = h->explain ? h->explain(h) : NULL;
    if (why || s->refused) {
        ERR_clear_error();
        return why ? why : s->refused;
    }
    if (s->truncated || s->failed || s->write_failed) {
        ERR_clear_error();
        return s->truncated ? "closed during the TLS handshake" : "reset during the TLS handshake";
    }
    return ossl_reason("TLS handshake failed");
}

/* RFC 8737 section 3: no data follows; the connection ends. */
static void end_challenge(struct tls_handshake *h)
{
    struct tls_stream *s = h->stream;
    ERR_clear_error();
    (void)SSL_shutdown(s->ssl);
    tls_flush(s);
    fail(h, TLS_CHALLENGE_ANSWERED);
}

static void established(struct tls_handshake *h)
{
    struct tls_stream *s = h->stream;
    if (s->challenge) {
        end_challenge(h);
        return;
    }
    tls_handshake_done *done = h->done;
    void *ctx = h->ctx;
    s->handshake = NULL;
    if (!tls_stream_established(s)) {
        fail(h, "out of memory, or a client certificate that is too large");
        return;
    }
    h->release(h);
    /* The plain stream's READ stays wanted until the owner has said what it wants: one change of
     * the watcher less. */
    bool gone = false;
    s->gone = &gone;
    done(ctx, &s->base, NULL);
    if (!gone) {
        s->gone = NULL;
        tls_stream_sync_want(s);
    }
}

void tls_handshake_step(struct tls_handshake *h)
{
    struct tls_stream *s = h->stream;
    s->drained = false;
    if (!s->ssl && h->server) {
        if (!first_bytes(h)) {
            return;
        }
    } else if (!s->ssl && !h->begin(h)) {
        fail(h, "out of memory");
        return;
    }
    s->read_left = TLS_RECORD_BYTES + TLS_READ_EXTRA_BYTES;
    ERR_clear_error();
    int result = SSL_do_handshake(s->ssl);
    if (result == 1) {
        established(h);
        return;
    }
    int error = SSL_get_error(s->ssl, result);
    bool again = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_CLIENT_HELLO_CB;
    s->suspended = error == SSL_ERROR_WANT_CLIENT_HELLO_CB;
    const char *why = again ? NULL : failure(h);
    tls_flush(s); /* our flight, or the alert */
    if (again && !s->write_failed) {
        tls_stream_sync_want(s);
        return;
    }
    fail(h, why ? why : "reset during the TLS handshake");
}
