/* struct stream over TLS: operations and events. See tls_stream.h. */
#include "proxy/tls/peer.h"
#include "proxy/tls/tls_stream.h"

#include <openssl/err.h>
#include <stdlib.h>

/* ---- events ---------------------------------------------------------------------------------- */

/* Something to read without the socket becoming readable. */
static bool readable_inside(const struct tls_stream *s)
{
    return s->inside || ((s->end || s->truncated || s->failed) && !s->reported);
}

static unsigned due_events(const struct tls_stream *s)
{
    unsigned events = 0;
    if ((s->base.wanted & STREAM_READ) && readable_inside(s)) {
        events |= STREAM_READ;
    }
    if ((s->base.wanted & STREAM_WRITE) && !s->blocked) {
        events |= STREAM_WRITE;
    }
    return events;
}

/* Tells the owner, who may free the stream. When it left something unread the next event comes a
 * turn later, by the timer: by task it would keep this turn from ending. */
static void deliver(struct tls_stream *s, unsigned events, bool hold_socket)
{
    bool gone = false;
    s->gone = &gone;
    s->hold_socket = hold_socket;
    s->base.on_event(&s->base, events);
    if (gone) {
        return;
    }
    s->gone = NULL;
    s->hold_socket = false;
    if (due_events(s) && !task_posted(&s->task)) {
        (void)timer_set(&s->timer, 1);
    }
}

static void finish_half_close(struct tls_stream *s)
{
    if (s->notified && !s->half_closed && s->out.n == 0 && !s->write_failed) {
        s->half_closed = true;
        stream_shutdown_write(s->under);
    }
}

static void on_under(struct stream *under, unsigned events)
{
    struct tls_stream *s = under->owner;
    bool was_blocked = s->blocked;
    if (was_blocked && (events & STREAM_WRITE)) {
        tls_flush(s);
    }
    if (s->handshake) {
        tls_handshake_step(s->handshake);
        return;
    }
    finish_half_close(s);
    tls_stream_sync_want(s);
    unsigned out = events & STREAM_READ;
    if (was_blocked && !s->blocked) {
        out |= s->base.wanted & STREAM_WRITE;
        if (s->write_failed) {
            out |= s->base.wanted ? s->base.wanted : (unsigned)STREAM_READ;
        }
    }
    if (out) {
        deliver(s, out, false);
    }
}

static void on_task(struct task *task)
{
    struct tls_stream *s = container_of(task, struct tls_stream, task);
    if (s->handshake) {
        tls_handshake_step(s->handshake);
        return;
    }
    if (s->flush_due) {
        tls_flush(s);
        finish_half_close(s);
        tls_stream_sync_want(s);
    }
    unsigned events = due_events(s);
    if (events) {
        /* Only what is inside: the socket is read when the loop says so, or one sender that keeps
         * up with us would hold this turn for good. */
        deliver(s, events, true);
    }
}

static void on_timer(struct timer *timer)
{
    struct tls_stream *s = container_of(timer, struct tls_stream, timer);
    if (s->handshake) {
        tls_handshake_timeout(s->handshake);
        return;
    }
    unsigned events = due_events(s);
    if (events) {
        deliver(s, events, false);
    }
}

void tls_stream_sync_want(struct tls_stream *s)
{
    unsigned events = s->blocked ? STREAM_WRITE : 0;
    if ((s->handshake && !s->suspended) || (s->base.wanted & STREAM_READ)) {
        events |= STREAM_READ;
    }
    stream_want(s->under, events);
}

static void tls_want(struct stream *st, unsigned events)
{
    struct tls_stream *s = container_of(st, struct tls_stream, base);
    (void)events; /* in s->base.wanted already */
    tls_stream_sync_want(s);
    if (due_events(s)) {
        loop_post(s->base.loop, &s->task);
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

/* After a call of SSL_read that gave nothing. */
static void note_read_result(struct tls_stream *s, int result)
{
    int why = SSL_get_error(s->ssl, result);
    if (s->truncated || s->failed || why == SSL_ERROR_WANT_READ) {
        return;
    }
    if (why == SSL_ERROR_ZERO_RETURN) {
        s->end = true;
        return;
    }
    s->failed = true;
    ERR_clear_error();
    tls_flush(s); /* the alert */
    s->write_failed = true;
}

static ssize_t tls_read(struct stream *st, void *buf, size_t n)
{
    struct tls_stream *s = container_of(st, struct tls_stream, base);
    size_t got = 0;
    bool full = true;
    s->drained = s->hold_socket;
    s->read_left = n + TLS_READ_EXTRA_BYTES;
    while (got < n && !s->end && !s->truncated && !s->failed) {
        size_t k = 0;
        tls_clear_errors();
        int result = SSL_read_ex(s->ssl, (char *)buf + got, n - got, &k);
        if (result != 1) {
            note_read_result(s, result);
            full = false;
            break;
        }
        got += k;
        if (s->drained && !SSL_has_pending(s->ssl)) {
            full = false;
            break;
        }
    }
    s->inside = full && !s->end && !s->truncated && !s->failed && SSL_has_pending(s->ssl) == 1;
    tls_keep(s); /* should reading have made OpenSSL write: it goes with the next write */
    ssize_t result = (ssize_t)got;
    if (got == 0 && n > 0) {
        bool over = s->end || s->truncated || s->failed;
        s->reported = over;
        result = !over ? STREAM_AGAIN
                 : s->end ? 0
                 : s->truncated ? STREAM_TRUNCATED : STREAM_ERROR;
    }
    if (due_events(s) & STREAM_READ) {
        loop_post(s->base.loop, &s->task);
    }
    return result;
}

/* ---- writing --------------------------------------------------------------------------------- */

struct cursor {
    const struct iovec *iov;
    int count;
    int at;
    size_t off;
};

static struct slice cursor_rest(struct cursor *c)
{
    while (c->at < c->count && c->iov[c->at].iov_len == c->off) {
        c->at++;
        c->off = 0;
    }
    if (c->at == c->count) {
        return (struct slice){0};
    }
    return slice_of((const char *)c->iov[c->at].iov_base + c->off, c->iov[c->at].iov_len - c->off);
}

static bool cursor_is_last(const struct cursor *c)
{
    for (int i = c->at + 1; i < c->count; i++) {
        if (c->iov[i].iov_len) {
            return false;
        }
    }
    return true;
}

/* The plaintext of the next record: a part of the caller's memory where that is a whole record or
 * all there is, else small pieces gathered in scratch. Empty at the end. */
static struct slice next_record(struct cursor *c, char *scratch)
{
    struct slice rest = cursor_rest(c);
    if (rest.n >= TLS_RECORD_BYTES || rest.n == 0 || cursor_is_last(c)) {
        rest = slice_upto(rest, TLS_RECORD_BYTES);
        c->off += rest.n;
        return rest;
    }
    size_t n = 0;
    while (n < TLS_RECORD_BYTES && rest.n > 0 && rest.n < TLS_RECORD_BYTES) {
        rest = slice_upto(rest, TLS_RECORD_BYTES - n);
        memcpy(scratch + n, rest.p, rest.n);
        n += rest.n;
        c->off += rest.n;
        rest = cursor_rest(c);
    }
    return slice_of(scratch, n);
}

static bool write_record(struct tls_stream *s, struct slice record)
{
    size_t taken = 0;
    tls_clear_errors();
    if (SSL_write_ex(s->ssl, record.p, record.n, &taken) == 1) {
        return true;
    }
    /* The BIO never says "later", so this is the end: memory, or a failed connection. */
    s->failed = true;
    ERR_clear_error();
    tls_flush(s);
    s->write_failed = true;
    return false;
}

static ssize_t tls_writev(struct stream *st, const struct iovec *iov, int count, bool more)
{
    struct tls_stream *s = container_of(st, struct tls_stream, base);
    struct tls_scratch *scratch = tls_scratch();
    if (s->write_failed || s->failed || s->notified || !scratch) {
        return STREAM_ERROR;
    }
    if (s->blocked) {
        return STREAM_AGAIN;
    }
    tls_unkeep(s);
    struct cursor c = {iov, count, 0, 0};
    size_t taken = 0;
    for (struct slice record; !s->blocked && (record = next_record(&c, scratch->plain)).n > 0;) {
        if (!write_record(s, record)) {
            return STREAM_ERROR;
        }
        taken += record.n;
        if (tls_unsent(s) >= TLS_GATHER_BYTES) {
            tls_flush(s);
        }
    }
    if (!s->blocked && more && tls_unsent(s)) {
        tls_keep(s);
        s->flush_due = true;
        loop_post(s->base.loop, &s->task);
    } else if (!s->blocked) {
        tls_flush(s);
    }
    if (s->write_failed) {
        return STREAM_ERROR;
    }
    if (s->blocked) {
        tls_stream_sync_want(s);
    }
    return (ssize_t)taken;
}

static void write_close_notify(struct tls_stream *s)
{
    if (!s->notified && !s->failed && !s->write_failed) {
        s->notified = true;
        ERR_clear_error();
        (void)SSL_shutdown(s->ssl);
    }
}

static void tls_shutdown_write(struct stream *st)
{
    struct tls_stream *s = container_of(st, struct tls_stream, base);
    write_close_notify(s);
    if (s->blocked) {
        tls_keep(s);
        return;
    }
    tls_flush(s);
    finish_half_close(s);
    tls_stream_sync_want(s);
}

static void tls_close(struct stream *st, bool abort)
{
    struct tls_stream *s = container_of(st, struct tls_stream, base);
    if (!abort) {
        write_close_notify(s);
        tls_flush(s);
    }
    tls_stream_free(s, abort);
}

static size_t tls_unsent_op(const struct stream *st)
{
    const struct tls_stream *s = (const struct tls_stream *)(const void *)st; /* base is first */
    return s->out.n + (s->under->ops->unsent ? s->under->ops->unsent(s->under) : 0);
}

static int tls_raw_fd(const struct stream *st)
{
    (void)st;
    return -1;
}

/* ---- life ------------------------------------------------------------------------------------ */

static const struct stream_ops tls_ops = {
    .read = tls_read,
    .writev = tls_writev,
    .want = tls_want,
    .shutdown_write = tls_shutdown_write,
    .close = tls_close,
    .unsent = tls_unsent_op,
    .raw_fd = tls_raw_fd,
};

struct tls_stream *tls_stream_new(struct stream *under)
{
    struct tls_stream *s = calloc(1, sizeof(*s));
    if (!s) {
        stream_close(under, true);
        return NULL;
    }
    s->base.ops = &tls_ops;
    s->base.loop = under->loop;
    s->base.peer = under->peer;
    s->base.local = under->local;
    s->base.tls = &s->info;
    s->under = under;
    task_init(&s->task, on_task);
    timer_init(&s->timer, under->loop, on_timer);
    under->owner = s;
    under->on_event = on_under;
    return s;
}

bool tls_stream_set_ssl(struct tls_stream *s, SSL *ssl)
{
    BIO *bio = ssl ? tls_bio_new(s) : NULL;
    if (!bio) {
        SSL_free(ssl);
        return false;
    }
    SSL_set_bio(ssl, bio, bio); /* takes the one reference for both */
    (void)SSL_set_app_data(ssl, s);
    s->ssl = ssl;
    return true;
}

void tls_stream_free(struct tls_stream *s, bool abort)
{
    if (s->gone) {
        *s->gone = true;
    }
    task_cancel(&s->task);
    timer_fini(&s->timer);
    SSL_free(s->ssl);
    free(s->in.p);
    free(s->out.p);
    free(s->server_name);
    tls_peer_free(s->peer);
    stream_close(s->under, abort);
    free(s);
}

bool tls_stream_established(struct tls_stream *s)
{
    bool server = SSL_is_server(s->ssl) == 1;
    bool failed = false;
    s->peer = server ? tls_peer_new(s->ssl, &failed) : NULL;
    s->info.client = tls_peer_certificate(s->peer);
    if (failed) {
        return false;
    }
    const unsigned char *alpn = NULL;
    unsigned alpn_n = 0;
    SSL_get0_alpn_selected(s->ssl, &alpn, &alpn_n);
    bool v13 = SSL_version(s->ssl) >= TLS1_3_VERSION;
    s->info.version = v13 ? S("tls1.3") : S("tls1.2");
    s->info.cipher = slice_str(SSL_CIPHER_standard_name(SSL_get_current_cipher(s->ssl)));
    s->info.alpn = slice_of(alpn, alpn_n);
    s->info.resumed = SSL_session_reused(s->ssl) == 1;
    timer_clear(&s->timer);
    (void)SSL_free_buffers(s->ssl); /* if nothing is in them */
    s->inside = SSL_has_pending(s->ssl) == 1;
    if (v13 && !s->blocked && (!server || s->inside)) {
        /* A server has only a ticket to send, which goes with the answer when the request is here
         * already. When it is not, the ticket goes now: a client with Nagle's algorithm keeps its
         * request until its Finished is acknowledged, which alone would take 40 ms. A client has
         * its Finished to send, which goes with the request or at the end of this turn. */
        tls_keep(s);
        s->flush_due = !server;
    } else {
        tls_flush(s);
    }
    if (s->flush_due) {
        loop_post(s->base.loop, &s->task);
    }
    return true;
}
