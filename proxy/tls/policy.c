/* Policies: building the context, following it in a handshake, looking at client certificates.
 * See policy.h. */
#include "proxy/tls/policy_priv.h"

#include <openssl/err.h>
#include <stdlib.h>

#include "proxy/base/dstr.h"
#include "proxy/base/mem.h"
#include "proxy/loop/log_writer.h"
#include "proxy/tls/ossl.h"
#include "proxy/tls/tickets.h"
#include "proxy/tls/tls_challenge.h"
#include "proxy/tls/tls_stream.h"

#define SESSION_CONTEXT "caddis"

/* ---- names ----------------------------------------------------------------------------------- */

bool tls_cipher_find(struct slice name, struct slice *out)
{
    static const struct {
        struct slice name;
        struct slice ossl;
    } suites[] = {
        {S_INIT("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
         S_INIT("ECDHE-ECDSA-AES256-GCM-SHA384")},
        {S_INIT("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
         S_INIT("ECDHE-ECDSA-AES128-GCM-SHA256")},
        {S_INIT("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"), S_INIT("ECDHE-RSA-AES256-GCM-SHA384")},
        {S_INIT("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), S_INIT("ECDHE-RSA-AES128-GCM-SHA256")},
        {S_INIT("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
         S_INIT("ECDHE-ECDSA-CHACHA20-POLY1305")},
        {S_INIT("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
         S_INIT("ECDHE-RSA-CHACHA20-POLY1305")},
        {S_INIT("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"), S_INIT("ECDHE-ECDSA-AES256-SHA")},
        {S_INIT("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"), S_INIT("ECDHE-ECDSA-AES128-SHA")},
        {S_INIT("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"), S_INIT("ECDHE-RSA-AES256-SHA")},
        {S_INIT("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"), S_INIT("ECDHE-RSA-AES128-SHA")},
        {S_INIT("TLS_RSA_WITH_AES_256_GCM_SHA384"), S_INIT("AES256-GCM-SHA384")},
        {S_INIT("TLS_RSA_WITH_AES_128_GCM_SHA256"), S_INIT("AES128-GCM-SHA256")},
        {S_INIT("TLS_RSA_WITH_AES_256_CBC_SHA"), S_INIT("AES256-SHA")},
        {S_INIT("TLS_RSA_WITH_AES_128_CBC_SHA"), S_INIT("AES128-SHA")},
    };
    for (size_t i = 0; i < ARRAY_LEN(suites); i++) {
        if (slice_eq(name, suites[i].name)) {
            *out = suites[i].ossl;
            return true;
        }
    }
    return false;
}

static bool has_group(const char *name)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    bool has = ctx && SSL_CTX_set1_groups_list(ctx, name) == 1;
    SSL_CTX_free(ctx);
    ERR_clear_error();
    return has;
}

enum tls_group_result tls_group_find(struct slice name, struct slice *out)
{
    static const struct {
        struct slice name;
        const char *ossl;
    } groups[] = {
        {S_INIT("x25519mlkem768"), "X25519MLKEM768"},
        {S_INIT("x25519"), "X25519"},
        {S_INIT("secp256r1"), "P-256"},
        {S_INIT("secp384r1"), "P-384"},
        {S_INIT("secp521r1"), "P-521"},
    };
    ossl_init();
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        if (slice_eq(name, groups[i].name)) {
            *out = slice_str(groups[i].ossl);
            return has_group(groups[i].ossl) ? TLS_GROUP_OK : TLS_GROUP_MISSING;
        }
    }
    return TLS_GROUP_UNKNOWN;
}

/* ---- client certificates --------------------------------------------------------------------- */

static struct client_trust *trust_now(struct tls_policy *p)
{
    pthread_mutex_lock(&p->trust_lock);
    struct client_trust *t = p->trust ? client_trust_ref(p->trust) : NULL;
    pthread_mutex_unlock(&p->trust_lock);
    return t;
}

/* In place of OpenSSL's own check of the chain. That the client has the key is checked anyway. */
static int on_client_chain(X509_STORE_CTX *x, void *arg)
{
    struct tls_policy *p = arg;
    if (p->client == TLS_CLIENT_REQUEST || p->client == TLS_CLIENT_REQUIRE) {
        X509_STORE_CTX_set_error(x, X509_V_OK);
        return 1;
    }
    struct client_trust *t = trust_now(p);
    int ok = X509_verify_cert(x);
    if (ok == 1 && !client_trust_allows(t, X509_STORE_CTX_get0_cert(x))) {
        X509_STORE_CTX_set_error(x, X509_V_ERR_APPLICATION_VERIFICATION);
        ok = 0;
    }
    client_trust_unref(t);
    return ok;
}

bool tls_policy_trust(struct tls_policy *p, const struct tls_policy_spec *spec,
                      struct slice roots_pem, struct slice leafs_pem, struct err *err)
{
    struct client_trust *was = trust_now(p);
    bool same = was && was->id == client_trust_id(spec, roots_pem, leafs_pem);
    client_trust_unref(was);
    if (same) {
        return true;
    }
    struct client_trust *t = client_trust_new(spec, roots_pem, leafs_pem, err);
    if (!t) {
        return false;
    }
    pthread_mutex_lock(&p->trust_lock);
    was = p->trust;
    p->trust = t;
    pthread_mutex_unlock(&p->trust_lock);
    client_trust_unref(was);
    return true;
}

static int verify_flags(enum tls_client_mode mode)
{
    bool must_show = mode == TLS_CLIENT_REQUIRE || mode == TLS_CLIENT_REQUIRE_AND_VERIFY;
    return mode == TLS_CLIENT_NONE ? SSL_VERIFY_NONE
           : must_show ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                       : SSL_VERIFY_PEER;
}

/* A session resumed stands for the certificate that was shown when it began: so only where the
 * same is asked for. */
static bool set_session_context(SSL *ssl, uint64_t id)
{
    unsigned char context[sizeof(SESSION_CONTEXT) - 1 + sizeof(id)];
    memcpy(context, SESSION_CONTEXT, sizeof(SESSION_CONTEXT) - 1);
    memcpy(context + sizeof(SESSION_CONTEXT) - 1, &id, sizeof(id));
    return SSL_set_session_id_context(ssl, context, sizeof(context)) == 1;
}

static bool set_client_auth(struct tls_policy *p, const struct tls_policy_spec *spec,
                            struct err *err)
{
    p->client = spec->client;
    if (spec->client == TLS_CLIENT_NONE) {
        return true;
    }
    p->client_id = client_trust_id(spec, S(""), S(""));
    if (!p->client_id) {
        return ossl_err(err, "setting up client certificates");
    }
    SSL_CTX_set_cert_verify_callback(p->ctx, on_client_chain, p);
    return spec->client < TLS_CLIENT_VERIFY_IF_GIVEN ||
           tls_policy_trust(p, spec, S(""), S(""), err);
}

/* What is trusted at this moment, and nothing resumed from where something else was. */
static bool apply_client_auth(struct tls_policy *p, SSL *ssl)
{
    if (p->client == TLS_CLIENT_NONE) {
        return true;
    }
    struct client_trust *t = trust_now(p);
    bool ok = set_session_context(ssl, t ? t->id : p->client_id) &&
              (!t || client_trust_apply(t, ssl));
    client_trust_unref(t);
    return ok;
}

/* ---- the rest -------------------------------------------------------------------------------- */

/* The first of ours that the client has too; none: the alert no_application_protocol
 * (RFC 7301 section 3.2). */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                   const unsigned char *in, unsigned in_n, void *arg)
{
    static const unsigned char challenge[] = TLS_CHALLENGE_PROTOCOL;
    const struct tls_policy *p = arg;
    struct tls_stream *s = SSL_get_app_data(ssl);
    if (s->challenge) {
        *out = challenge;
        *out_n = sizeof(challenge) - 1;
        return SSL_TLSEXT_ERR_OK;
    }
    for (unsigned i = 0; i < p->alpn_n; i += p->alpn[i] + 1u) {
        if (s->no_h2 && slice_eq(slice_of(p->alpn + i + 1, p->alpn[i]), S("h2"))) {
            continue;
        }
        for (unsigned k = 0; k < in_n && in[k] < in_n - k; k += in[k] + 1u) {
            if (in[k] == p->alpn[i] && memcmp(in + k + 1, p->alpn + i + 1, in[k]) == 0) {
                *out = in + k + 1;
                *out_n = in[k];
                return SSL_TLSEXT_ERR_OK;
            }
        }
    }
    s->refused = "no application protocol in common";
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void on_secret(const SSL *ssl, const char *line)
{
    const struct tls_policy *p = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct dstr text;
    dstr_init(&text, 1024);
    dstr_printf(&text, "%s\n", line);
    if (!text.failed) {
        log_sink_write(p->secrets, dstr_slice(&text));
    }
    dstr_fini(&text);
}

static bool set_secrets_log(struct tls_policy *p, struct slice path, struct err *err)
{
    if (!path.n) {
        return true;
    }
    char *target = mem_dup(path);
    p->secrets = log_sink_open(target, err);
    free(target);
    (void)SSL_CTX_set_app_data(p->ctx, p);
    SSL_CTX_set_keylog_callback(p->ctx, on_secret);
    return p->secrets != NULL;
}

static bool set_names(struct tls_policy *p, const struct tls_policy_spec *spec, struct err *err)
{
    char *ciphers = spec->ciphers.n ? mem_dup(spec->ciphers) : NULL;
    bool ok = !ciphers || SSL_CTX_set_cipher_list(p->ctx, ciphers) == 1;
    free(ciphers);
    p->groups = spec->groups.n ? mem_dup(spec->groups) : NULL;
    ok = ok && (!p->groups || SSL_CTX_set1_groups_list(p->ctx, p->groups) == 1);
    p->min_version = spec->min_version == 13 ? TLS1_3_VERSION : TLS1_2_VERSION;
    p->max_version = spec->max_version == 12 ? TLS1_2_VERSION : TLS1_3_VERSION;
    ok = ok && SSL_CTX_set_min_proto_version(p->ctx, p->min_version) == 1 &&
         SSL_CTX_set_max_proto_version(p->ctx, p->max_version) == 1;
    p->alpn_n =
        (unsigned)ossl_alpn_wire(spec->alpn, spec->alpn_count, p->alpn, sizeof(p->alpn));
    ok = ok && (!spec->alpn_count || p->alpn_n);
    if (p->alpn_n) {
        SSL_CTX_set_alpn_select_cb(p->ctx, on_alpn, p);
    }
    return ok || ossl_err(err, "setting up TLS");
}

struct tls_policy *tls_policy_new(const struct tls_policy_spec *spec, struct err *err)
{
    ossl_init();
    ERR_clear_error();
    struct tls_policy *p = mem_zalloc(sizeof(*p));
    atomic_init(&p->refs, 1);
    pthread_mutex_init(&p->trust_lock, NULL);
    p->ctx = SSL_CTX_new(TLS_server_method());
    if (!p->ctx || !ossl_common_policy(p->ctx) || !ossl_cipher_policy(p->ctx) ||
        !tickets_enable(p->ctx)) {
        ossl_err(err, "setting up TLS");
        tls_policy_unref(p);
        return NULL;
    }
    if (!set_names(p, spec, err) || !set_client_auth(p, spec, err) ||
        !set_secrets_log(p, spec->secrets_log, err)) {
        tls_policy_unref(p);
        return NULL;
    }
    SSL_CTX_set_verify(p->ctx, verify_flags(p->client), NULL);
    return p;
}

struct tls_policy *tls_policy_ref(struct tls_policy *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void tls_policy_unref(struct tls_policy *p)
{
    if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    SSL_CTX_free(p->ctx); /* established connections have their own references to it */
    if (p->secrets) {
        log_sink_unref(p->secrets);
    }
    client_trust_unref(p->trust);
    pthread_mutex_destroy(&p->trust_lock);
    free(p->groups);
    free(p);
}

uint64_t tls_policy_client_id(const struct tls_policy *p)
{
    return p ? p->client_id : 0;
}

/* What SSL_new copied out of the first context is set by hand; suites, protocols, trusted roots and
 * callbacks are read from the context that the connection has now. */
bool tls_policy_apply(struct tls_policy *p, SSL *ssl)
{
    if (SSL_set_SSL_CTX(ssl, p->ctx) != p->ctx ||
        SSL_set_min_proto_version(ssl, p->min_version) != 1 ||
        SSL_set_max_proto_version(ssl, p->max_version) != 1 ||
        (p->groups && SSL_set1_groups_list(ssl, p->groups) != 1) ||
        !apply_client_auth(p, ssl)) {
        return false;
    }
    SSL_set_verify(ssl, verify_flags(p->client), NULL);
    return true;
}
