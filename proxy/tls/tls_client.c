/* TLS towards origins: roots, verification, connecting. */
#include "proxy/tls/tls_client.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "proxy/base/mem.h"
#include "proxy/tls/ossl.h"
#include "proxy/tls/roots.h"
#include "proxy/tls/tls_stream.h"

#define ALPN_WIRE_MAX ((size_t)256)
#define HOST_MAX_BYTES ((size_t)255)

struct tls_client {
    atomic_uint refs;
    SSL_CTX *ctx;      /* owned */
    char *server_name; /* owned; "" when the host is to be used */
    bool insecure;
};

struct tls_connect {
    struct tls_handshake h;
    struct tls_client *client; /* counted */
    struct slice alpn; /* borrowed; the only protocol to offer, or empty */
    char host[HOST_MAX_BYTES + 1];
};

/* ---- roots ----------------------------------------------------------------------------------- */

static bool add_roots(X509_STORE *store, struct slice file, struct err *err)
{
    char *path = mem_dup(file);
    bool ok = X509_STORE_load_file(store, path) == 1;
    if (!ok) {
        err_set(err, "reading the CA file %s: %s", path, ossl_reason("no certificate in it"));
    }
    free(path);
    return ok;
}

static bool set_roots(SSL_CTX *ctx, const struct tls_client_config *config, struct err *err)
{
    X509_STORE *store;
    struct slice ca_file = config->ca_file;
    if (ca_file.n) {
        char *path = mem_dup(ca_file);
        store = roots_load(path);
        if (!store) {
            err_set(err, "reading the CA file %s: %s", path, ossl_reason("no certificate in it"));
        }
        free(path);
        if (!store) {
            return false;
        }
        for (size_t i = 0; i < config->more_ca_count; i++) {
            if (!add_roots(store, config->more_ca_files[i], err)) {
                X509_STORE_free(store);
                return false;
            }
        }
    } else {
        store = roots_system();
    }
    if (store) {
        SSL_CTX_set_cert_store(ctx, store); /* takes the reference */
        return true;
    }
    return SSL_CTX_set_default_verify_paths(ctx) == 1 || ossl_err(err, "finding the system's CAs");
}

/* ---- the policy ------------------------------------------------------------------------------ */

static bool set_own_certificate(SSL_CTX *ctx, const struct tls_client_config *config,
                                struct err *err)
{
    if (!config->cert_file.n) {
        return true;
    }
    char *cert = mem_dup(config->cert_file);
    char *key = mem_dup(config->key_file);
    bool ok = false;
    if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1) {
        err_set(err, "reading the certificate %s: %s", cert, ossl_reason("there is none in it"));
    } else if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1 ||
               SSL_CTX_check_private_key(ctx) != 1) {
        err_set(err, "reading the key %s: %s", key, ossl_reason("it is not the certificate's"));
    } else {
        ok = true;
    }
    free(cert);
    free(key);
    return ok;
}

static bool set_groups(SSL_CTX *ctx, const struct tls_client_config *config, struct err *err)
{
    if (!config->groups.n) {
        return true;
    }
    char *groups = mem_dup(config->groups);
    bool ok = SSL_CTX_set1_groups_list(ctx, groups) == 1;
    free(groups);
    return ok || ossl_err(err, "setting the curves");
}

static bool set_up(struct tls_client *t, const struct tls_client_config *config, struct err *err)
{
    unsigned char wire[ALPN_WIRE_MAX];
    size_t wire_n = ossl_alpn_wire(config->alpn, config->alpn_count, wire, sizeof(wire));
    t->ctx = SSL_CTX_new(TLS_client_method());
    if (!t->ctx || !ossl_common_policy(t->ctx) || (config->alpn_count && !wire_n) ||
        (wire_n && SSL_CTX_set_alpn_protos(t->ctx, wire, (unsigned)wire_n) != 0)) {
        return ossl_err(err, "setting up TLS towards the origin");
    }
    SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(t->ctx, t->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    return set_groups(t->ctx, config, err) && set_own_certificate(t->ctx, config, err) &&
           (t->insecure || set_roots(t->ctx, config, err));
}

struct tls_client *tls_client_new(const struct tls_client_config *config, struct err *err)
{
    ossl_init();
    ERR_clear_error();
    struct tls_client *t = mem_zalloc(sizeof(*t));
    atomic_init(&t->refs, 1);
    t->server_name = mem_dup(config->server_name);
    t->insecure = config->insecure_skip_verify;
    if (config->server_name.n > HOST_MAX_BYTES) {
        err_set(err, "the TLS server name is too long");
    } else if (set_up(t, config, err)) {
        ERR_clear_error();
        return t;
    }
    tls_client_unref(t);
    return NULL;
}

struct tls_client *tls_client_ref(struct tls_client *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void tls_client_unref(struct tls_client *t)
{
    if (t && atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1) {
        SSL_CTX_free(t->ctx);
        free(t->server_name);
        free(t);
    }
}

/* ---- connecting ------------------------------------------------------------------------------ */

/* Whom to expect: SNI carries DNS names only (RFC 6066 section 3); addresses are compared with the
 * certificate's addresses (RFC 9110 section 4.3.4). */
static bool set_name(SSL *ssl, const char *host)
{
    struct addr ip;
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (addr_parse_ip(slice_str(host), 0, &ip)) {
        return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
    }
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

static bool set_alpn(SSL *ssl, struct slice alpn)
{
    unsigned char wire[ALPN_WIRE_MAX];
    size_t n = ossl_alpn_wire(&alpn, alpn.n ? 1 : 0, wire, sizeof(wire));
    return !alpn.n || (n && SSL_set_alpn_protos(ssl, wire, (unsigned)n) == 0);
}

static bool begin(struct tls_handshake *h)
{
    struct tls_connect *c = container_of(h, struct tls_connect, h);
    SSL *ssl = SSL_new(c->client->ctx);
    if (!ssl) {
        return false;
    }
    if (!set_name(ssl, c->host) || !set_alpn(ssl, c->alpn)) {
        SSL_free(ssl);
        return false;
    }
    SSL_set_connect_state(ssl);
    return tls_stream_set_ssl(h->stream, ssl);
}

static const char *explain(struct tls_handshake *h)
{
    long result = SSL_get_verify_result(h->stream->ssl);
    return result == X509_V_OK ? NULL : X509_verify_cert_error_string(result);
}

static void release(struct tls_handshake *h)
{
    struct tls_connect *c = container_of(h, struct tls_connect, h);
    tls_client_unref(c->client);
    free(c);
}

/* Without the brackets of an IPv6 literal and the dot at the end of an absolute name. */
static struct slice bare_host(struct slice host)
{
    if (slice_starts(host, S("[")) && slice_ends(host, S("]"))) {
        return slice_of(host.p + 1, host.n - 2);
    }
    return slice_ends(host, S(".")) ? slice_upto(host, host.n - 1) : host;
}

struct tls_connect *tls_connect_start(struct tls_client *t, struct stream *plain, struct slice host,
                                      struct slice alpn, int64_t timeout_ms, tls_connected *done,
                                      void *ctx)
{
    struct tls_stream *s = tls_stream_new(plain);
    struct tls_connect *c = s ? calloc(1, sizeof(*c)) : NULL;
    if (!c) {
        if (s) {
            tls_stream_free(s, true);
        }
        return NULL;
    }
    host = t->server_name[0] ? slice_str(t->server_name) : slice_upto(bare_host(host),
                                                                      HOST_MAX_BYTES);
    if (host.n) {
        memcpy(c->host, host.p, host.n);
    }
    c->client = tls_client_ref(t);
    c->alpn = alpn;
    c->h = (struct tls_handshake){.stream = s, .done = done, .ctx = ctx, .begin = begin,
                                  .explain = explain, .release = release};
    if (!tls_handshake_start(&c->h, timeout_ms)) {
        tls_handshake_cancel(&c->h);
        return NULL;
    }
    return c;
}

void tls_connect_cancel(struct tls_connect *c)
{
    tls_handshake_cancel(&c->h);
}
