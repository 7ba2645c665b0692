/* PEM texts of what is trusted into what handshakes verify with. See client_trust.h.
 *
 * Each trusted certificate is an anchor, self-signed or not, as in Caddy: an intermediate may be
 * trusted without its root. */
#include "proxy/tls/client_trust.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "proxy/base/mem.h"
#include "proxy/tls/ossl.h"
#include "proxy/tls/roots.h"

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
    if (!ok || !at_end) {
        return ossl_err(err, what);
    }
    ERR_clear_error();
    return count > 0 || err_set(err, "%s: there is none (they are wanted as PEM)", what);
}

static bool just_read(void *ctx, X509 *x)
{
    (void)ctx;
    return x != NULL;
}

bool tls_trust_text_check(struct slice pem, struct err *err)
{
    ossl_init();
    ERR_clear_error();
    return each_certificate(pem, err, "reading the certificates to trust", just_read, NULL);
}

static bool add_name(struct client_trust *t, const X509_NAME *its)
{
    int n = i2d_X509_NAME(its, NULL);
    t->names_n += n > 0 ? (size_t)n : 0;
    if (t->names_n > TLS_CA_NAMES_MAX) {
        sk_X509_NAME_pop_free(t->names, X509_NAME_free);
        t->names = sk_X509_NAME_new_null();
        return t->names != NULL;
    }
    X509_NAME *name = X509_NAME_dup(its);
    if (!name || !sk_X509_NAME_push(t->names, name)) {
        X509_NAME_free(name);
        return false;
    }
    return true;
}

static bool add_root(void *ctx, X509 *x)
{
    struct client_trust *t = ctx;
    return add_name(t, X509_get_subject_name(x)) && X509_STORE_add_cert(t->roots, x) == 1;
}

static bool add_unnamed_root(void *ctx, X509 *x)
{
    struct client_trust *t = ctx;
    return X509_STORE_add_cert(t->roots, x) == 1;
}

static bool add_leaf(void *ctx, X509 *x)
{
    struct client_trust *t = ctx;
    unsigned n = 0;
    if (t->leaf_count == TLS_LEAFS_MAX) {
        return false;
    }
    t->leafs = mem_realloc_array(t->leafs, t->leaf_count + 1, sizeof(*t->leafs));
    return X509_digest(x, EVP_sha256(), t->leafs[t->leaf_count++], &n) == 1;
}

static bool has_source(const struct tls_policy_spec *spec, bool of_leafs)
{
    for (size_t i = 0; i < spec->source_count; i++) {
        if (spec->sources[i].leafs == of_leafs) {
            return true;
        }
    }
    return false;
}

static bool add_roots(struct client_trust *t, struct slice pem, struct err *err)
{
    return !pem.n ||
           each_certificate(pem, err, "reading the trusted CA certificates", add_root, t);
}

static bool add_leafs(struct client_trust *t, struct slice pem, bool as_roots, struct err *err)
{
    static const char what[] = "reading the trusted leaf certificates";
    return !pem.n || (each_certificate(pem, err, what, add_leaf, t) &&
                      (!as_roots || each_certificate(pem, err, what, add_unnamed_root, t)));
}

static bool fill(struct client_trust *t, const struct tls_policy_spec *spec, struct slice roots_pem,
                 struct slice leafs_pem, struct err *err)
{
    bool names_roots = spec->roots_pem.n || has_source(spec, false);
    t->only_leafs = spec->leafs_pem.n || has_source(spec, true);
    bool leafs_alone = t->only_leafs && !names_roots && !spec->system_roots;
    if (!add_roots(t, spec->roots_pem, err) || !add_roots(t, roots_pem, err) ||
        !add_leafs(t, spec->leafs_pem, leafs_alone, err) ||
        !add_leafs(t, leafs_pem, leafs_alone, err)) {
        return false;
    }
    bool system = spec->system_roots || (!names_roots && !t->only_leafs);
    return !system || X509_STORE_load_file(t->roots, roots_system_path()) == 1 ||
           ossl_err(err, "reading the system's CA certificates");
}

struct client_trust *client_trust_new(const struct tls_policy_spec *spec, struct slice roots_pem,
                                      struct slice leafs_pem, struct err *err)
{
    struct client_trust *t = mem_zalloc(sizeof(*t));
    atomic_init(&t->refs, 1);
    ERR_clear_error();
    t->id = client_trust_id(spec, roots_pem, leafs_pem);
    t->roots = X509_STORE_new();
    t->names = sk_X509_NAME_new_null();
    bool ok = (t->id && t->roots && t->names &&
               X509_STORE_set_flags(t->roots, X509_V_FLAG_PARTIAL_CHAIN) == 1) ||
              ossl_err(err, "setting up client certificates");
    if (!ok || !fill(t, spec, roots_pem, leafs_pem, err)) {
        client_trust_unref(t);
        return NULL;
    }
    return t;
}

struct client_trust *client_trust_ref(struct client_trust *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void client_trust_unref(struct client_trust *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    X509_STORE_free(t->roots);
    sk_X509_NAME_pop_free(t->names, X509_NAME_free);
    free(t->leafs);
    free(t);
}

static bool digest_text(EVP_MD_CTX *md, struct slice text)
{
    uint64_t n = text.n;
    return EVP_DigestUpdate(md, &n, sizeof(n)) == 1 && EVP_DigestUpdate(md, text.p, text.n) == 1;
}

static bool digest_sources(EVP_MD_CTX *md, const struct tls_policy_spec *spec)
{
    bool ok = true;
    for (size_t i = 0; ok && i < spec->source_count; i++) {
        const struct tls_trust_source *s = &spec->sources[i];
        unsigned char head[2] = {(unsigned char)s->kind, s->leafs};
        ok = EVP_DigestUpdate(md, head, sizeof(head)) == 1 && digest_text(md, s->place) &&
             digest_text(md, s->root_file);
    }
    return ok;
}

uint64_t client_trust_id(const struct tls_policy_spec *spec, struct slice roots_pem,
                         struct slice leafs_pem)
{
    unsigned char digest[32] = {0};
    unsigned char head[2] = {(unsigned char)spec->client, spec->system_roots};
    uint64_t id = 0;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
              EVP_DigestUpdate(md, head, sizeof(head)) == 1 && digest_text(md, spec->roots_pem) &&
              digest_text(md, spec->leafs_pem) && digest_sources(md, spec) &&
              digest_text(md, roots_pem) && digest_text(md, leafs_pem) &&
              EVP_DigestFinal_ex(md, digest, NULL) == 1;
    EVP_MD_CTX_free(md);
    memcpy(&id, digest, sizeof(id));
    return ok && id ? id : ok ? 1 : 0;
}

bool client_trust_apply(const struct client_trust *t, SSL *ssl)
{
    STACK_OF(X509_NAME) *names = SSL_dup_CA_list(t->names);
    if (!names || SSL_set1_verify_cert_store(ssl, t->roots) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return false;
    }
    SSL_set_client_CA_list(ssl, names);
    return true;
}

bool client_trust_allows(const struct client_trust *t, X509 *leaf)
{
    unsigned char digest[32];
    unsigned n = 0;
    if (!t->only_leafs) {
        return true;
    }
    if (!leaf || X509_digest(leaf, EVP_sha256(), digest, &n) != 1 || n != sizeof(digest)) {
        return false;
    }
    for (size_t i = 0; i < t->leaf_count; i++) {
        if (memcmp(t->leafs[i], digest, sizeof(digest)) == 0) {
            return true;
        }
    }
    return false;
}
