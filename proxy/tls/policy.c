/* Policies: building the context, following it in a handshake, looking at client certificates.
 * See policy.h. */
#include "proxy/tls/policy_priv.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "proxy/base/dstr.h"
#include "proxy/base/mem.h"
#include "proxy/loop/log_writer.h"
#include "proxy/tls/ossl.h"
#include "proxy/tls/roots.h"
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

static bool is_allowed_leaf(const struct tls_policy *p, X509 *leaf)
{
    unsigned char digest[32];
    unsigned n = 0;
    if (!leaf || X509_digest(leaf, EVP_sha256(), digest, &n) != 1 || n != sizeof(digest)) {
        return false;
    }
    for (size_t i = 0; i < p->leaf_count; i++) {
        if (memcmp(p->leafs[i], digest, sizeof(digest)) == 0) {
            return true;
        }
    }
    return false;
}

/* In place of OpenSSL's own check of the chain. That the client has the key is checked anyway. */
static int on_client_chain(X509_STORE_CTX *x, void *arg)
{
    const struct tls_policy *p = arg;
    if (p->client == TLS_CLIENT_REQUEST || p->client == TLS_CLIENT_REQUIRE) {
        X509_STORE_CTX_set_error(x, X509_V_OK);
        return 1;
    }
    int ok = X509_verify_cert(x);
    if (ok == 1 && p->leaf_count && !is_allowed_leaf(p, X509_STORE_CTX_get0_cert(x))) {
        X509_STORE_CTX_set_error(x, X509_V_ERR_APPLICATION_VERIFICATION);
        return 0;
    }
    return ok;
}

/* Calls take for each certificate in PEM text; false after an error. */
static bool each_certificate(struct slice pem, struct err *err, const char *what,
                             bool (*take)(void *ctx, X509 *x), void *ctx)
{
    BIO *b = BIO_new_mem_buf(pem.p, (int)pem.n);
    size_t count = 0;
    bool ok = b != NULL;
    while (ok) {
        X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);
        if (!x) {
            break;
        }
        count++;
        ok = take(ctx, x);
        X509_free(x);
    }
    BIO_free(b);
    unsigned long e = ERR_peek_last_error();
    bool at_end = ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE;
    if (!ok || !at_end || count == 0) {
        return ossl_err(err, what);
    }
    ERR_clear_error();
    return true;
}

struct roots_reading {
    X509_STORE *store;
    STACK_OF(X509_NAME) * names; /* told to clients, so that they offer what fits; or NULL */
};

static bool add_root(void *ctx, X509 *x)
{
    struct roots_reading *r = ctx;
    if (r->names) {
        X509_NAME *name = X509_NAME_dup(X509_get_subject_name(x));
        if (!name || !sk_X509_NAME_push(r->names, name)) {
            X509_NAME_free(name);
            return false;
        }
    }
    return X509_STORE_add_cert(r->store, x) == 1;
}

static bool add_leaf(void *ctx, X509 *x)
{
    struct tls_policy *p = ctx;
    unsigned n = 0;
    if (p->leaf_count == TLS_LEAFS_MAX) {
        return false;
    }
    p->leafs = mem_realloc_array(p->leafs, p->leaf_count + 1, sizeof(*p->leafs));
    return X509_digest(x, EVP_sha256(), p->leafs[p->leaf_count++], &n) == 1;
}

static bool add_system_roots(X509_STORE *store, struct err *err)
{
    return X509_STORE_load_file(store, roots_system_path()) == 1 ||
           ossl_err(err, "reading the system's CA certificates");
}

static bool set_trust(struct tls_policy *p, const struct tls_policy_spec *spec, struct err *err)
{
    struct roots_reading r = {SSL_CTX_get_cert_store(p->ctx), sk_X509_NAME_new_null()};
    if (!r.names) {
        return err_set(err, "out of memory");
    }
    SSL_CTX_set_client_CA_list(p->ctx, r.names);
    if (spec->leafs_pem.n &&
        !each_certificate(spec->leafs_pem, err, "reading the trusted leaf certificates", add_leaf,
                          p)) {
        return false;
    }
    if (spec->roots_pem.n && !each_certificate(spec->roots_pem, err,
                                               "reading the trusted CA certificates", add_root,
                                               &r)) {
        return false;
    }
    if (!spec->roots_pem.n && !spec->system_roots && spec->leafs_pem.n) {
        r.names = NULL;
        X509_STORE_set_flags(r.store, X509_V_FLAG_PARTIAL_CHAIN);
        return each_certificate(spec->leafs_pem, err, "reading the trusted leaf certificates",
                                add_root, &r);
    }
    return (spec->roots_pem.n && !spec->system_roots) || add_system_roots(r.store, err);
}

static uint64_t client_id(const struct tls_policy_spec *spec)
{
    unsigned char digest[32] = {0};
    unsigned char head[2] = {(unsigned char)spec->client, spec->system_roots};
    uint64_t id = 0;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    uint64_t lengths[2] = {spec->roots_pem.n, spec->leafs_pem.n};
    bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
              EVP_DigestUpdate(md, head, sizeof(head)) == 1 &&
              EVP_DigestUpdate(md, lengths, sizeof(lengths)) == 1 &&
              EVP_DigestUpdate(md, spec->roots_pem.p, spec->roots_pem.n) == 1 &&
              EVP_DigestUpdate(md, spec->leafs_pem.p, spec->leafs_pem.n) == 1 &&
              EVP_DigestFinal_ex(md, digest, NULL) == 1;
    EVP_MD_CTX_free(md);
    memcpy(&id, digest, sizeof(id));
    return ok && id ? id : ok ? 1 : 0;
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
static bool set_session_context(SSL_CTX *ctx, uint64_t id)
{
    unsigned char context[sizeof(SESSION_CONTEXT) - 1 + sizeof(id)];
    memcpy(context, SESSION_CONTEXT, sizeof(SESSION_CONTEXT) - 1);
    memcpy(context + sizeof(SESSION_CONTEXT) - 1, &id, sizeof(id));
    return SSL_CTX_set_session_id_context(ctx, context, sizeof(context)) == 1;
}

static bool set_client_auth(struct tls_policy *p, const struct tls_policy_spec *spec,
                            struct err *err)
{
    p->client = spec->client;
    if (spec->client == TLS_CLIENT_NONE) {
        return true;
    }
    bool verifies = spec->client >= TLS_CLIENT_VERIFY_IF_GIVEN;
    p->client_id = client_id(spec);
    if (verifies && !set_trust(p, spec, err)) {
        return false;
    }
    SSL_CTX_set_cert_verify_callback(p->ctx, on_client_chain, p);
    return (p->client_id && set_session_context(p->ctx, p->client_id)) ||
           ossl_err(err, "setting up client certificates");
}

/* ---- the rest -------------------------------------------------------------------------------- */

/* The first of ours that the client has too; none: the alert no_application_protocol
 * (RFC 7301 section 3.2). */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                   const unsigned char *in, unsigned in_n, void *arg)
{
    static const unsigned char challenge[] = TLS_CHALLENGE_PROTOCOL;
    const struct tls_policy *p = arg;
    if (((struct tls_stream *)SSL_get_app_data(ssl))->challenge) {
        *out = challenge;
        *out_n = sizeof(challenge) - 1;
        return SSL_TLSEXT_ERR_OK;
    }
    for (unsigned i = 0; i < p->alpn_n; i += p->alpn[i] + 1u) {
        for (unsigned k = 0; k < in_n && in[k] < in_n - k; k += in[k] + 1u) {
            if (in[k] == p->alpn[i] && memcmp(in + k + 1, p->alpn + i + 1, in[k]) == 0) {
                *out = in + k + 1;
                *out_n = in[k];
                return SSL_TLSEXT_ERR_OK;
            }
        }
    }
    ((struct tls_stream *)SSL_get_app_data(ssl))->refused = "no application protocol in common";
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
    free(p->groups);
    free(p->leafs);
    free(p);
}

uint64_t tls_policy_client_id(const struct tls_policy *p)
{
    return p ? p->client_id : 0;
}

/* What SSL_new copied out of the first context is set by hand; suites, protocols, trusted roots and
 * callbacks are read from the context that the connection has now. */
bool tls_policy_apply(const struct tls_policy *p, SSL *ssl)
{
    if (SSL_set_SSL_CTX(ssl, p->ctx) != p->ctx ||
        SSL_set_min_proto_version(ssl, p->min_version) != 1 ||
        SSL_set_max_proto_version(ssl, p->max_version) != 1 ||
        (p->groups && SSL_set1_groups_list(ssl, p->groups) != 1)) {
        return false;
    }
    SSL_set_verify(ssl, verify_flags(p->client), NULL);
    return true;
}
