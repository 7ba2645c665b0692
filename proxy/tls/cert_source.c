/* Bytes of certificates, what they share, and the decoded ones. See cert_source.h.
 *
 * Two locks, never held together: `chains_lock` for the shared chains, `decoded_lock` for the list
 * of decoded ones. Decoding is done under neither. */
#include "proxy/tls/cert_source.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdlib.h>

#include "proxy/base/list.h"
#include "proxy/base/log.h"
#include "proxy/base/map.h"
#include "proxy/base/mem.h"
#include "proxy/base/x509.h"
#include "proxy/net/addr.h"
#include "proxy/tls/cert.h"
#include "proxy/tls/ossl.h"

#define NAME_MAX_BYTES ((size_t)255)

/* What follows a leaf: the certificates one behind the other. */
struct chain {
    unsigned refs; /* under chains_lock */
    struct slice der; /* owned */
    STACK_OF(X509) * decoded; /* owned; made when first needed, under chains_lock */
};

struct cert_source {
    atomic_uint refs;
    struct slice leaf; /* DER; owned, with the key behind it */
    struct slice key;  /* secret */
    struct chain *chain; /* counted; NULL: nothing follows the leaf */
    struct list node;    /* in decoded, while cert is set; both under decoded_lock */
    struct cert *cert;
    atomic_bool told; /* the log knows that it cannot be decoded */
};

/* ---- chains ---------------------------------------------------------------------------------- */

static pthread_mutex_t chains_lock = PTHREAD_MUTEX_INITIALIZER;
static struct map chains; /* by their bytes */

static struct chain *chain_get(struct slice der)
{
    if (!der.n) {
        return NULL;
    }
    pthread_mutex_lock(&chains_lock);
    struct chain *c = map_get(&chains, der);
    if (!c) {
        c = mem_zalloc(sizeof(*c));
        c->der = slice_of(mem_dup(der), der.n);
        (void)map_put(&chains, c->der, c);
    }
    c->refs++;
    pthread_mutex_unlock(&chains_lock);
    return c;
}

static void chain_put(struct chain *c)
{
    if (!c) {
        return;
    }
    pthread_mutex_lock(&chains_lock);
    bool last = --c->refs == 0;
    if (last) {
        (void)map_del(&chains, c->der);
    }
    if (last && chains.count == 0) {
        map_fini(&chains);
        map_init(&chains);
    }
    pthread_mutex_unlock(&chains_lock);
    if (last) {
        sk_X509_pop_free(c->decoded, X509_free);
        free((void *)(uintptr_t)c->der.p);
        free(c);
    }
}

static STACK_OF(X509) * decode_chain(struct slice der)
{
    STACK_OF(X509) *out = sk_X509_new_null();
    const unsigned char *p = (const unsigned char *)der.p;
    const unsigned char *end = p + der.n;
    while (out && p < end) {
        X509 *x = d2i_X509(NULL, &p, end - p);
        if (!x || !sk_X509_push(out, x)) {
            X509_free(x);
            sk_X509_pop_free(out, X509_free);
            return NULL;
        }
    }
    return out;
}

/* A stack of its own, of the shared certificates. */
static STACK_OF(X509) * chain_decoded(struct chain *c)
{
    if (!c) {
        return sk_X509_new_null();
    }
    pthread_mutex_lock(&chains_lock);
    if (!c->decoded) {
        c->decoded = decode_chain(c->der);
    }
    STACK_OF(X509) *out = c->decoded ? X509_chain_up_ref(c->decoded) : NULL;
    pthread_mutex_unlock(&chains_lock);
    return out;
}

/* ---- making ---------------------------------------------------------------------------------- */

static struct cert_source *source_new(struct slice leaf, struct slice key, struct slice chain)
{
    struct cert_source *s = mem_zalloc(sizeof(*s));
    char *bytes = mem_zalloc(leaf.n + key.n);
    atomic_init(&s->refs, 1);
    memcpy(bytes, leaf.p, leaf.n);
    memcpy(bytes + leaf.n, key.p, key.n);
    s->leaf = slice_of(bytes, leaf.n);
    s->key = slice_of(bytes + leaf.n, key.n);
    s->chain = chain_get(chain);
    return s;
}

/* The first key in the PEM; false: none, or encrypted. */
static bool key_bytes(struct slice pem, struct dstr *der)
{
    struct slice label;
    bool broken = false;
    while (pem_next(&pem, &label, der, &broken)) {
        if (slice_ends(label, S("PRIVATE KEY")) && !slice_starts(label, S("ENCRYPTED"))) {
            return true;
        }
        dstr_reset(der);
    }
    return false;
}

/* All certificates; *leaf_n: the bytes of the first. */
static bool chain_bytes(struct slice pem, struct dstr *der, size_t *leaf_n)
{
    struct slice label;
    bool broken = false;
    size_t count = 0;
    size_t kept = 0;
    while (pem_next(&pem, &label, der, &broken)) {
        if (!slice_eq(label, S("CERTIFICATE"))) {
            der->n = kept; /* a key in the same file, parameters */
            continue;
        }
        kept = der->n;
        *leaf_n = count++ == 0 ? kept : *leaf_n;
    }
    return count > 0 && count <= CERT_CHAIN_MAX + 1 && !broken && !der->failed;
}

/* Without decoding; NULL: this takes a closer look. */
static struct cert_source *quick(struct slice chain_pem, struct slice key_pem)
{
    struct dstr chain;
    struct dstr key;
    struct x509_facts facts;
    struct cert_source *s = NULL;
    size_t leaf_n = 0;
    dstr_init(&chain, CERT_PEM_MAX);
    dstr_init(&key, CERT_PEM_MAX);
    /* Room for all at once, because growing would leave copies behind that nobody wipes. */
    if (dstr_reserve(&chain, chain_pem.n) && dstr_reserve(&key, key_pem.n) &&
        chain_bytes(chain_pem, &chain, &leaf_n) && key_bytes(key_pem, &key)) {
        struct slice all = dstr_slice(&chain);
        struct slice leaf = slice_upto(all, leaf_n);
        if (x509_read(leaf, &facts) && x509_fits(&facts, dstr_slice(&key)) == X509_PAIR_FITS) {
            s = source_new(leaf, dstr_slice(&key), slice_from(all, leaf_n));
        }
    }
    if (key.p) {
        OPENSSL_cleanse(key.p, key.cap);
    }
    if (chain.p) {
        OPENSSL_cleanse(chain.p, chain.cap); /* a key may have been in it */
    }
    dstr_fini(&key);
    dstr_fini(&chain);
    return s;
}

static bool add_der(struct dstr *out, X509 *x)
{
    unsigned char *der = NULL;
    int n = i2d_X509(x, &der);
    if (n > 0) {
        dstr_append(out, slice_of((char *)der, (size_t)n));
    }
    OPENSSL_free(der);
    return n > 0;
}

/* By OpenSSL: for what quick() cannot tell, and for the words of an error. */
static struct cert_source *thorough(struct slice chain_pem, struct slice key_pem, struct err *err)
{
    struct cert *c = cert_parse(chain_pem, key_pem, err);
    if (!c) {
        return NULL;
    }
    struct cert_source *s = NULL;
    struct dstr leaf;
    struct dstr chain;
    unsigned char *key = NULL;
    dstr_init(&leaf, CERT_PEM_MAX);
    dstr_init(&chain, CERT_PEM_MAX);
    bool ok = add_der(&leaf, c->leaf);
    for (int i = 0; ok && i < sk_X509_num(c->chain); i++) {
        ok = add_der(&chain, sk_X509_value(c->chain, i));
    }
    int key_n = i2d_PrivateKey(c->key, &key);
    if (ok && key_n > 0 && !leaf.failed && !chain.failed) {
        s = source_new(dstr_slice(&leaf), slice_of((char *)key, (size_t)key_n),
                       dstr_slice(&chain));
    } else {
        err_set(err, "the certificate cannot be kept");
    }
    OPENSSL_clear_free(key, key_n > 0 ? (size_t)key_n : 0);
    dstr_fini(&leaf);
    dstr_fini(&chain);
    cert_unref(c);
    ERR_clear_error();
    return s;
}

struct cert_source *cert_source_new(struct slice chain_pem, struct slice key_pem, struct err *err)
{
    struct cert_source *s = quick(chain_pem, key_pem);
    return s ? s : thorough(chain_pem, key_pem, err);
}

struct cert_source *cert_source_ref(struct cert_source *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

bool cert_source_eq(const struct cert_source *a, const struct cert_source *b)
{
    return slice_eq(a->leaf, b->leaf) && slice_eq(a->key, b->key) && a->chain == b->chain;
}

/* ---- names ----------------------------------------------------------------------------------- */

/* The text of a name in lower case; empty: it is none that could be asked for. */
static struct slice name_text(const struct x509_name *name, char buf[NAME_MAX_BYTES + 1])
{
    struct addr ip = {.len = 0};
    if (!name->is_ip) {
        size_t n = name->value.n <= NAME_MAX_BYTES ? name->value.n : 0;
        for (size_t i = 0; i < n; i++) {
            buf[i] = ascii_lower(name->value.p[i]);
        }
        return slice_of(buf, n);
    }
    if (name->value.n == 4) {
        ip.u.in.sin_family = AF_INET;
        memcpy(&ip.u.in.sin_addr, name->value.p, 4);
        ip.len = sizeof(ip.u.in);
    } else {
        ip.u.in6.sin6_family = AF_INET6;
        memcpy(&ip.u.in6.sin6_addr, name->value.p, 16);
        ip.len = sizeof(ip.u.in6);
    }
    return addr_host_text(&ip, buf);
}

void cert_source_each_name(const struct cert_source *s, void (*fn)(void *ctx, struct slice name),
                           void *ctx)
{
    struct x509_facts facts;
    struct x509_name name;
    char buf[NAME_MAX_BYTES + 1];
    if (!x509_read(s->leaf, &facts)) {
        return;
    }
    while (x509_next_name(&facts.alt_names, &name)) {
        struct slice text = name_text(&name, buf);
        if (text.n) {
            fn(ctx, text);
        }
    }
}

struct covering {
    struct slice name;
    bool is_ip;
    bool yes;
};

static void covers_one(void *ctx, struct slice have)
{
    struct covering *c = ctx;
    size_t dot = slice_find(c->name, '.');
    bool wild = slice_starts(have, S("*.")) && !c->is_ip && dot != SLICE_NPOS && dot > 0 &&
                slice_eq_case(slice_from(have, 1), slice_from(c->name, dot));
    c->yes = c->yes || wild || slice_eq_case(have, c->name);
}

bool cert_source_covers(const struct cert_source *s, struct slice name)
{
    struct addr ip;
    struct covering c = {.name = name, .is_ip = addr_parse_ip(name, 0, &ip)};
    char text[ADDR_TEXT_BYTES];
    if (c.is_ip) {
        c.name = addr_host_text(&ip, text);
    }
    cert_source_each_name(s, covers_one, &c);
    return c.yes && name.n > 0;
}

/* ---- decoding -------------------------------------------------------------------------------- */

static pthread_mutex_t decoded_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list decoded = {&decoded, &decoded}; /* used last in front */
static size_t decoded_count;

static struct cert *decode(struct cert_source *s)
{
    ossl_init();
    ERR_clear_error();
    const unsigned char *p = (const unsigned char *)s->leaf.p;
    X509 *leaf = d2i_X509(NULL, &p, (long)s->leaf.n);
    p = (const unsigned char *)s->key.p;
    EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &p, (long)s->key.n);
    struct cert *c = cert_of(leaf, chain_decoded(s->chain), key);
    if (!c && !atomic_exchange(&s->told, true)) {
        log_event(LOG_ERROR, "tls", "a certificate cannot be used: handshakes for it fail",
                  LOG_Z("reason", ossl_reason("it cannot be decoded")));
    }
    ERR_clear_error();
    return c;
}

/* Under decoded_lock: the one used longest ago, for the caller to release; NULL: there is room. */
static struct cert *evict(void)
{
    if (decoded_count <= CERT_DECODED_MAX) {
        return NULL;
    }
    struct cert_source *last = LIST_ENTRY(decoded.prev, struct cert_source, node);
    struct cert *c = last->cert;
    last->cert = NULL;
    list_remove(&last->node);
    decoded_count--;
    return c;
}

struct cert *cert_source_get(struct cert_source *s)
{
    pthread_mutex_lock(&decoded_lock);
    struct cert *c = s->cert ? cert_ref(s->cert) : NULL;
    if (c) {
        list_remove(&s->node);
        list_push_front(&decoded, &s->node);
    }
    pthread_mutex_unlock(&decoded_lock);
    if (c || !(c = decode(s))) {
        return c;
    }
    struct cert *old = NULL;
    pthread_mutex_lock(&decoded_lock);
    if (!s->cert) { /* another thread may have been faster */
        s->cert = cert_ref(c);
        list_push_front(&decoded, &s->node);
        decoded_count++;
        old = evict();
    }
    pthread_mutex_unlock(&decoded_lock);
    cert_unref(old);
    return c;
}

size_t cert_decoded_count(void)
{
    pthread_mutex_lock(&decoded_lock);
    size_t n = decoded_count;
    pthread_mutex_unlock(&decoded_lock);
    return n;
}

void cert_source_unref(struct cert_source *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    pthread_mutex_lock(&decoded_lock);
    if (s->cert) {
        list_remove(&s->node);
        decoded_count--;
    }
    pthread_mutex_unlock(&decoded_lock);
    cert_unref(s->cert);
    chain_put(s->chain);
    OPENSSL_cleanse((void *)(uintptr_t)s->key.p, s->key.n);
    free((void *)(uintptr_t)s->leaf.p);
    free(s);
}
