/* Between OpenSSL and the plain stream: the BIO, the thread's buffers, sending. See tls_stream.h.
 */
#include <openssl/bio.h>
#include <pthread.h>
#include <stdlib.h>

#include "proxy/tls/tls_stream.h"

/* ---- the thread's buffers -------------------------------------------------------------------- */

static _Thread_local struct tls_scratch *scratch_here;
static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;

static void make_scratch_key(void)
{
    must(pthread_key_create(&scratch_key, free) == 0);
}

struct tls_scratch *tls_scratch(void)
{
    if (UNLIKELY(!scratch_here)) {
        pthread_once(&scratch_once, make_scratch_key);
        struct tls_scratch *fresh = malloc(sizeof(*fresh));
        if (!fresh || pthread_setspecific(scratch_key, fresh) != 0) {
            free(fresh);
            return NULL;
        }
        fresh->cipher_n = 0;
        scratch_here = fresh;
    }
    return scratch_here;
}

/* ---- kept bytes ------------------------------------------------------------------------------ */

bool tls_bytes_append(struct tls_bytes *b, const void *p, size_t n)
{
    if (n > TLS_OUT_MAX_BYTES - b->n) {
        return false;
    }
    if (b->off + b->n + n > b->cap) {
        if (b->off) {
            memmove(b->p, b->p + b->off, b->n);
            b->off = 0;
        }
        if (b->n + n > b->cap) {
            size_t cap = b->n + n;
            if (b->n) {
                cap += cap / 2; /* it has grown before and will again */
            }
            char *bigger = realloc(b->p, cap);
            if (!bigger) {
                return false;
            }
            b->p = bigger;
            b->cap = cap;
        }
    }
    memcpy(b->p + b->off + b->n, p, n);
    b->n += n;
    return true;
}

void tls_bytes_drop(struct tls_bytes *b, size_t n)
{
    b->off += n;
    b->n -= n;
    if (b->n == 0) {
        free(b->p);
        *b = (struct tls_bytes){0};
    }
}

/* ---- sending --------------------------------------------------------------------------------- */

size_t tls_unsent(const struct tls_stream *s)
{
    return s->out.n + (scratch_here ? scratch_here->cipher_n : 0);
}

static void give_up_writing(struct tls_stream *s)
{
    s->write_failed = true;
    s->blocked = false;
    tls_bytes_drop(&s->out, s->out.n);
    if (scratch_here) {
        scratch_here->cipher_n = 0;
    }
}

void tls_keep(struct tls_stream *s)
{
    struct tls_scratch *scratch = scratch_here;
    if (!scratch || scratch->cipher_n == 0) {
        return;
    }
    if (!tls_bytes_append(&s->out, scratch->cipher, scratch->cipher_n)) {
        give_up_writing(s);
    }
    scratch->cipher_n = 0;
}

void tls_unkeep(struct tls_stream *s)
{
    struct tls_scratch *scratch = tls_scratch();
    if (!scratch || scratch->cipher_n || s->blocked || s->out.n == 0 ||
        s->out.n > TLS_RECORD_BYTES) {
        return;
    }
    memcpy(scratch->cipher, s->out.p + s->out.off, s->out.n);
    scratch->cipher_n = s->out.n;
    tls_bytes_drop(&s->out, s->out.n);
}

static ssize_t send_bytes(struct tls_stream *s, char *p, size_t n)
{
    struct iovec iov = {p, n};
    ssize_t sent = stream_writev(s->under, &iov, 1, false);
    if (sent == STREAM_AGAIN) {
        return 0;
    }
    if (sent < 0) {
        give_up_writing(s);
    }
    return sent;
}

void tls_flush(struct tls_stream *s)
{
    struct tls_scratch *scratch = scratch_here;
    s->flush_due = false;
    if (s->out.n) {
        tls_keep(s);
        ssize_t sent = s->out.n ? send_bytes(s, s->out.p + s->out.off, s->out.n) : 0;
        if (sent > 0) {
            tls_bytes_drop(&s->out, (size_t)sent);
        }
    } else if (scratch && scratch->cipher_n) {
        ssize_t sent = send_bytes(s, scratch->cipher, scratch->cipher_n);
        if (sent >= 0 && (size_t)sent < scratch->cipher_n &&
            !tls_bytes_append(&s->out, scratch->cipher + sent, scratch->cipher_n - (size_t)sent)) {
            give_up_writing(s);
        }
        scratch->cipher_n = 0;
    }
    s->blocked = s->out.n > 0;
}

/* ---- the BIO --------------------------------------------------------------------------------- */

static int bio_write(BIO *bio, const char *p, int n)
{
    struct tls_stream *s = BIO_get_data(bio);
    struct tls_scratch *scratch = tls_scratch();
    BIO_clear_retry_flags(bio);
    if (n <= 0 || !scratch || s->write_failed) {
        return -1;
    }
    /* Behind what is kept already, else into the thread's buffer as long as there is room. */
    if (s->out.n || (size_t)n > sizeof(scratch->cipher) - scratch->cipher_n) {
        tls_keep(s);
        if (s->write_failed || !tls_bytes_append(&s->out, p, (size_t)n)) {
            give_up_writing(s);
            return -1;
        }
        return n;
    }
    memcpy(scratch->cipher + scratch->cipher_n, p, (size_t)n);
    scratch->cipher_n += (size_t)n;
    return n;
}

static int take_early(struct tls_stream *s, char *p, size_t n)
{
    n = n < s->in.n ? n : s->in.n;
    memcpy(p, s->in.p + s->in.off, n);
    tls_bytes_drop(&s->in, n);
    return (int)n;
}

static int bio_read(BIO *bio, char *p, int n)
{
    struct tls_stream *s = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (n <= 0) {
        return -1;
    }
    if (s->in.n) {
        return take_early(s, p, (size_t)n);
    }
    ssize_t got = s->drained || s->read_left == 0 ? STREAM_AGAIN
                                                  : stream_read(s->under, p, (size_t)n);
    if (got > 0) {
        /* A short read means that the socket is empty: asking again would only cost a call. */
        s->drained = got < n;
        s->read_left -= (size_t)got < s->read_left ? (size_t)got : s->read_left;
        return (int)got;
    }
    if (got == STREAM_AGAIN) {
        s->drained = true;
        BIO_set_retry_read(bio);
        return -1;
    }
    s->drained = true;
    s->truncated = got == 0;
    s->failed = got != 0;
    return got == 0 ? 0 : -1;
}

/* BIO_CTRL_EOF stays 0: the end is known from truncated, and OpenSSL need not write an alert to a
 * peer that is gone. */
static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void)bio;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static void make_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
    if (m && BIO_meth_set_write(m, bio_write) == 1 && BIO_meth_set_read(m, bio_read) == 1 &&
        BIO_meth_set_ctrl(m, bio_ctrl) == 1) {
        method = m;
    }
}

BIO *tls_bio_new(struct tls_stream *s)
{
    pthread_once(&method_once, make_method);
    BIO *bio = method ? BIO_new(method) : NULL;
    if (bio) {
        BIO_set_data(bio, s);
        BIO_set_init(bio, 1);
    }
    return bio;
}
