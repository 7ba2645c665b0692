/* TLS towards clients: contexts, the choice of certificate and protocol, accepting. */
#include "proxy/tls/tls_server.h"

#include <openssl/err.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "proxy/base/mem.h"
#include "proxy/net/sock.h"
#include "proxy/net/tcp.h"
#include "proxy/tls/cert.h"
#include "proxy/tls/demand.h"
#include "proxy/tls/ossl.h"
#include "proxy/tls/policy_priv.h"
#include "proxy/tls/sni.h"
#include "proxy/tls/tls_challenge.h"
#include "proxy/tls/tls_stream.h"

struct tls_server {
    atomic_uint refs;
    struct certs *certs; /* borrowed */
    struct tls_policy *policy; /* counted: where no site has one of its own */
};

struct tls_accept {
    struct tls_handshake h;
    struct tls_challenge *challenge; /* a look for an answer in the store, or NULL */
    struct tls_server *server; /* counted */
    struct tls_policy *policy; /* counted: the site's own, once the name is known; or NULL */
    tls_choose_site *choose_site; /* NULL: all are alike */
    void *choose_ctx;
    struct demand_waiter *waiter; /* it waits for a certificate, or has; NULL: no */
};

/* ---- choices during the handshake ------------------------------------------------------------ */

static bool keep_server_name(struct tls_stream *s, const char *name, size_t n)
{
    free(s->server_name); /* after a HelloRetryRequest there is a second hello */
    s->server_name = malloc(n);
    if (!s->server_name) {
        return false;
    }
    memcpy(s->server_name, name, n);
    s->info.server_name = slice_of(s->server_name, n);
    return true;
}

/* Where the client went: asked for when it is needed. */
static const struct addr *local_of(const struct tls_stream *s, struct addr *room)
{
    int fd = s->under->ops->raw_fd(s->under);
    if (s->base.local->len || fd < 0) {
        return s->base.local;
    }
    sock_local(fd, room);
    return room;
}

static int refuse(struct tls_stream *s, int *alert, int which, const char *why)
{
    *alert = which;
    s->refused = why;
    return SSL_CLIENT_HELLO_ERROR;
}

/* Nothing of such a session is to be resumed. */
static void no_tickets(SSL *ssl)
{
    SSL_set_options(ssl, SSL_OP_NO_TICKET);
    (void)SSL_set_num_tickets(ssl, 0);
}

/* False: there is no answer; the hello goes the way of every other, which ends with the alert
 * no_application_protocol. */
static bool answer_challenge(struct tls_server *t, struct tls_stream *s, SSL *ssl, int *alert,
                             int *result)
{
    struct tls_accept *a = container_of(s->handshake, struct tls_accept, h);
    struct cert *cert = NULL;
    switch (tls_challenge_find(t->certs, s->info.server_name, s->base.loop, &s->task, &a->challenge,
                               &cert)) {
    case TLS_CHALLENGE_WAIT:
        *result = SSL_CLIENT_HELLO_RETRY;
        return true;
    case TLS_CHALLENGE_UNKNOWN:
        return false;
    case TLS_CHALLENGE_KNOWN:
        break;
    }
    bool ok = cert_use(cert, ssl);
    cert_unref(cert);
    *result = ok ? SSL_CLIENT_HELLO_SUCCESS
                 : refuse(s, alert, SSL_AD_INTERNAL_ERROR, ossl_reason("out of memory"));
    s->challenge = ok;
    no_tickets(ssl);
    return true;
}

/* The policy of the site that the name belongs to. False: memory. */
static bool follow_policy(struct tls_accept *a, SSL *ssl, struct tls_policy *p)
{
    if (!p || a->policy) {
        return true;
    }
    a->policy = tls_policy_ref(p);
    a->h.stream->info.client_policy = tls_policy_client_id(p);
    return tls_policy_apply(p, ssl);
}

/* For a name without a certificate, on demand: true when the handshake waits now. It does so once:
 * what is not there afterwards will not come. */
static bool wait_for_certificate(struct tls_accept *a)
{
    struct tls_stream *s = a->h.stream;
    struct demand *demand = certs_demand(a->server->certs);
    return demand && !a->waiter && s->info.server_name.n &&
           demand_wait(demand, s->info.server_name, s->base.peer, s->base.loop, &s->task,
                       &a->waiter) == DEMAND_WAIT &&
           timer_set(&s->timer, DEMAND_WAIT_MS);
}

/* The site's wishes and the name's certificate; *waits: there is none yet. */
static struct cert *choose(struct tls_accept *a, struct tls_choice *choice, bool *waits)
{
    struct tls_stream *s = a->h.stream;
    struct slice name = s->info.server_name;
    struct addr room = {.len = 0};
    const struct addr *local = name.n ? s->base.local : local_of(s, &room);
    *choice = a->choose_site ? a->choose_site(a->choose_ctx, name, local)
                             : (struct tls_choice){.policy = NULL};
    struct cert *cert = certs_choose(a->server->certs, name, local);
    if (choice->on_demand && (!cert || cert->stand_in)) {
        cert_unref(cert);
        *waits = wait_for_certificate(a);
        return NULL;
    }
    return cert;
}

/* Runs before OpenSSL looks at the extensions. An unknown name ends the handshake at once. */
static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
    struct tls_server *t = arg;
    struct tls_stream *s = SSL_get_app_data(ssl);
    const unsigned char *ext = NULL;
    size_t ext_n = 0;
    char name[SNI_NAME_MAX];
    size_t n = 0;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &ext, &ext_n) == 1) {
        if (!sni_parse(slice_of(ext, ext_n), name, &n)) {
            return refuse(s, alert, SSL_AD_DECODE_ERROR, "malformed server name");
        }
        if (!keep_server_name(s, name, n)) {
            return refuse(s, alert, SSL_AD_INTERNAL_ERROR, "out of memory");
        }
    }
    int result;
    if (tls_challenge_hello(ssl) && answer_challenge(t, s, ssl, alert, &result)) {
        return result;
    }
    struct tls_accept *a = container_of(s->handshake, struct tls_accept, h);
    struct tls_choice choice;
    bool waits = false;
    struct cert *cert = choose(a, &choice, &waits);
    if (waits) {
        return SSL_CLIENT_HELLO_RETRY;
    }
    if (!cert) {
        return refuse(s, alert, SSL_AD_UNRECOGNIZED_NAME,
                      n ? "unknown server name" : "no server name");
    }
    s->no_h2 = choice.no_h2;
    bool ok = follow_policy(a, ssl, choice.policy) && cert_use(cert, ssl);
    s->info.stand_in = cert->stand_in;
    cert_unref(cert);
    if (!ok) {
        return refuse(s, alert, SSL_AD_INTERNAL_ERROR, ossl_reason("out of memory"));
    }
    if (s->info.stand_in) {
        no_tickets(ssl); /* once the certificate is there it is to be seen */
    }
    return SSL_CLIENT_HELLO_SUCCESS;
}

/* ---- the policy ------------------------------------------------------------------------------ */

struct tls_server *tls_server_new(struct certs *certs, const struct slice *alpn, size_t alpn_count,
                                  struct err *err)
{
    struct tls_policy_spec spec = {.alpn = alpn, .alpn_count = alpn_count};
    struct tls_policy *policy = tls_policy_new(&spec, err);
    if (!policy) {
        return NULL;
    }
    struct tls_server *t = mem_zalloc(sizeof(*t));
    atomic_init(&t->refs, 1);
    t->certs = certs;
    t->policy = policy;
    SSL_CTX_set_client_hello_cb(policy->ctx, on_client_hello, t);
    return t;
}

struct tls_server *tls_server_ref(struct tls_server *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void tls_server_unref(struct tls_server *t)
{
    if (t && atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1) {
        tls_policy_unref(t->policy);
        free(t);
    }
}

/* ---- accepting ------------------------------------------------------------------------------- */

static bool begin(struct tls_handshake *h)
{
    struct tls_accept *a = container_of(h, struct tls_accept, h);
    SSL *ssl = SSL_new(a->server->policy->ctx);
    if (ssl) {
        SSL_set_accept_state(ssl);
    }
    return tls_stream_set_ssl(h->stream, ssl);
}

static void release(struct tls_handshake *h)
{
    struct tls_accept *a = container_of(h, struct tls_accept, h);
    tls_challenge_forget(a->challenge);
    demand_forget(a->waiter);
    tls_policy_unref(a->policy);
    tls_server_unref(a->server);
    free(a);
}

struct tls_accept *tls_accept_start(struct tls_server *t, struct loop *l, int fd,
                                    const struct addr *peer, const struct addr *local,
                                    int64_t timeout_ms, tls_choose_site *choose_site,
                                    tls_accepted *done, void *ctx)
{
    struct stream *under = tcp_stream_new(l, fd, peer, local);
    struct tls_stream *s = under ? tls_stream_new(under) : NULL;
    struct tls_accept *a = s ? calloc(1, sizeof(*a)) : NULL;
    if (!a) {
        if (s) {
            tls_stream_free(s, true);
        }
        return NULL;
    }
    a->server = tls_server_ref(t);
    a->choose_site = choose_site;
    a->choose_ctx = ctx;
    a->h = (struct tls_handshake){
        .stream = s, .done = done, .ctx = ctx, .server = true, .begin = begin, .release = release};
    if (!tls_handshake_start(&a->h, timeout_ms)) {
        tls_handshake_cancel(&a->h);
        return NULL;
    }
    return a;
}

void tls_accept_cancel(struct tls_accept *a)
{
    tls_handshake_cancel(&a->h);
}
