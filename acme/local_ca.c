/* In: a store. Out: a CA that signs, and leaves. local_ca owns its certificates and key; what is
 * damaged is set aside, never overwritten. */
#include "acme/local_ca.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <time.h>

#include "acme/acme.h"
#include "acme/cert_check.h"
#include "acme/key.h"
#include "acme/local_ca_cert.h"
#include "acme/schedule.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "store/names.h"

#define ROOT_LIFETIME_MS (3650 * SCHEDULE_DAY_MS)
/* A root with less than this left is made anew. */
#define ROOT_LEFT_MIN_MS (30 * SCHEDULE_DAY_MS)
#define INTERMEDIATE_LIFETIME_MS (7 * SCHEDULE_DAY_MS)
#define BACKDATE_MS SCHEDULE_MINUTE_MS
#define LOCK_WAIT_MS (10 * SCHEDULE_SECOND_MS)
/* What begins later than this was made while the clock was far ahead: nobody accepts it, perhaps
 * for years. Less than this may be our clock being behind. */
#define FUTURE_MS (30 * SCHEDULE_DAY_MS)
/* The first of January 2026. A clock before it was never set (a machine without a battery that has
 * not asked the network yet): nothing is judged by it. */
#define CLOCK_PLAUSIBLE_MS ((int64_t)1767225600000)

enum loaded { LOADED, ABSENT, BROKEN, UNREADABLE /* err is set */ };

static int64_t left_ms(X509 *cert, int64_t now_ms)
{
    int64_t end;
    return cert_time_ms(X509_get0_notAfter(cert), &end) ? end - now_ms : -1;
}

static int64_t lifetime_ms(X509 *cert)
{
    int64_t from, to;
    return cert_time_ms(X509_get0_notBefore(cert), &from) &&
                   cert_time_ms(X509_get0_notAfter(cert), &to)
               ? to - from
               : 0;
}

static struct slice pki_key(struct arena *a, const char *file)
{
    return store_pki_key(a, LOCAL_CA_NAME, file);
}

static enum loaded load_cert(struct store *s, const char *file, X509 **out, struct err *err)
{
    struct arena a;
    struct dstr pem;
    struct cert_chain chain;
    arena_init(&a, 4096);
    dstr_init(&pem, CERT_PEM_MAX);
    enum store_result got = store_get(s, pki_key(&a, file), &pem, err);
    enum loaded result = got == STORE_MISSING ? ABSENT : got == STORE_FAILED ? UNREADABLE : BROKEN;
    if (got == STORE_OK && cert_chain_parse(dstr_slice(&pem), &chain, NULL)) {
        if (X509_check_ca(chain.certs[0]) > 0) {
            *out = chain.certs[0];
            chain.certs[0] = NULL;
            result = LOADED;
        }
        cert_chain_free(&chain);
    }
    dstr_fini(&pem);
    arena_fini(&a);
    return result;
}

static enum loaded load_key(struct store *s, const char *file, X509 *cert, EVP_PKEY **out,
                            struct err *err)
{
    struct arena a;
    struct dstr pem;
    arena_init(&a, 4096);
    key_text_init(&pem);
    enum store_result got = store_get(s, pki_key(&a, file), &pem, err);
    EVP_PKEY *key = got == STORE_OK ? key_from_pem(dstr_slice(&pem), NULL) : NULL;
    key_text_fini(&pem);
    arena_fini(&a);
    if (got != STORE_OK) {
        return got == STORE_MISSING ? ABSENT : got == STORE_FAILED ? UNREADABLE : BROKEN;
    }
    if (!key || EVP_PKEY_eq(X509_get0_pubkey(cert), key) != 1) {
        EVP_PKEY_free(key);
        ERR_clear_error();
        return BROKEN;
    }
    *out = key;
    return LOADED;
}

static bool set_aside(struct store *s, const char *file, struct err *err)
{
    struct arena a;
    arena_init(&a, 4096);
    struct slice key = pki_key(&a, file);
    enum store_result result = store_set_aside(s, key, err);
    if (result == STORE_OK) {
        log_event(LOG_WARN, "acme", "a part of the local CA is damaged or does not fit; set aside",
                  LOG_S("key", key));
    }
    arena_fini(&a);
    return result != STORE_FAILED;
}

/* The key first: a certificate that is there then has its key. */
static bool save(struct store *s, const char *key_file, EVP_PKEY *key, const char *cert_file,
                 X509 *cert, struct err *err)
{
    struct arena a;
    struct dstr key_pem, cert_pem;
    arena_init(&a, 4096);
    key_text_init(&key_pem);
    dstr_init(&cert_pem, CERT_PEM_MAX);
    bool ok = key_to_pem(key, &key_pem, err);
    if (ok && !cert_to_pem(cert, &cert_pem)) {
        ok = err_set(err, "writing a certificate of the local CA");
    }
    ok = ok && store_put(s, pki_key(&a, key_file), dstr_slice(&key_pem), err) == STORE_OK &&
         store_put(s, pki_key(&a, cert_file), dstr_slice(&cert_pem), err) == STORE_OK;
    key_text_fini(&key_pem);
    dstr_fini(&cert_pem);
    arena_fini(&a);
    return ok;
}

static bool make_root(struct local_ca *ca, struct store *s, int64_t now_ms, EVP_PKEY **key,
                      struct err *err)
{
    char name[96];
    struct tm tm;
    time_t seconds = (time_t)(now_ms / 1000);
    (void)snprintf(name, sizeof(name), "Caddis Local Authority - %d ECC Root",
                   gmtime_r(&seconds, &tm) ? tm.tm_year + 1900 : 0);
    struct local_cert_spec spec = {.common_name = name,
                                   .path_length = 1,
                                   .not_before_ms = now_ms - BACKDATE_MS,
                                   .not_after_ms = now_ms + ROOT_LIFETIME_MS};
    X509_free(ca->root);
    ca->root = NULL;
    *key = key_new_p256(err);
    ca->root = *key ? local_cert_make(&spec, *key, NULL, *key, err) : NULL;
    if (!ca->root || !save(s, "root.key", *key, "root.crt", ca->root, err)) {
        return false;
    }
    log_event(LOG_INFO, "acme", "the local CA's root was made", LOG_Z("root", name));
    return true;
}

static bool make_intermediate(struct local_ca *ca, struct store *s, EVP_PKEY *root_key,
                              int64_t leaf_lifetime_ms, int64_t now_ms, struct err *err)
{
    int64_t lifetime = 2 * leaf_lifetime_ms > INTERMEDIATE_LIFETIME_MS ? 2 * leaf_lifetime_ms
                                                                       : INTERMEDIATE_LIFETIME_MS;
    int64_t end = now_ms + lifetime, root_end;
    if (cert_time_ms(X509_get0_notAfter(ca->root), &root_end) && root_end < end) {
        end = root_end;
    }
    struct local_cert_spec spec = {.common_name = "Caddis Local Authority - ECC Intermediate",
                                   .path_length = 0,
                                   .not_before_ms = now_ms - BACKDATE_MS,
                                   .not_after_ms = end};
    X509_free(ca->intermediate);
    EVP_PKEY_free(ca->intermediate_key);
    ca->intermediate = NULL;
    ca->intermediate_key = key_new_p256(err);
    if (ca->intermediate_key) {
        ca->intermediate =
            local_cert_make(&spec, ca->intermediate_key, ca->root, root_key, err);
    }
    if (!ca->intermediate || !save(s, "intermediate.key", ca->intermediate_key,
                                   "intermediate.crt", ca->intermediate, err)) {
        return false;
    }
    log_event(LOG_INFO, "acme", "the local CA's intermediate was made",
              LOG_I("days", lifetime / SCHEDULE_DAY_MS));
    return true;
}

bool local_ca_from_the_future(X509 *cert, int64_t now_ms)
{
    int64_t from;
    return now_ms >= CLOCK_PLAUSIBLE_MS &&
           cert_time_ms(X509_get0_notBefore(cert), &from) && from > now_ms + FUTURE_MS;
}

static bool root_good(X509 *root, int64_t now_ms)
{
    return left_ms(root, now_ms) > ROOT_LEFT_MIN_MS && !local_ca_from_the_future(root, now_ms);
}

static bool intermediate_good(const struct local_ca *ca, int64_t leaf_lifetime_ms, int64_t now_ms)
{
    int64_t left = left_ms(ca->intermediate, now_ms);
    bool signed_by_root = X509_verify(ca->intermediate, X509_get0_pubkey(ca->root)) == 1;
    ERR_clear_error();
    return signed_by_root && left > leaf_lifetime_ms && left > lifetime_ms(ca->intermediate) / 5 &&
           !local_ca_from_the_future(ca->intermediate, now_ms);
}

/* Reads what is there. True when it is all that is needed. */
static bool load(struct local_ca *ca, struct store *s, int64_t leaf_lifetime_ms, int64_t now_ms)
{
    return load_cert(s, "root.crt", &ca->root, NULL) == LOADED && root_good(ca->root, now_ms) &&
           load_cert(s, "intermediate.crt", &ca->intermediate, NULL) == LOADED &&
           load_key(s, "intermediate.key", ca->intermediate, &ca->intermediate_key, NULL) ==
               LOADED &&
           intermediate_good(ca, leaf_lifetime_ms, now_ms);
}

/* The root and its key; made anew only when there is no way to go on with the one there. */
static bool ensure_root(struct local_ca *ca, struct store *s, int64_t now_ms, EVP_PKEY **key,
                        struct err *err)
{
    enum loaded cert = load_cert(s, "root.crt", &ca->root, err);
    if (cert == UNREADABLE) {
        return false;
    }
    enum loaded key_state =
        cert == LOADED ? load_key(s, "root.key", ca->root, key, err) : ABSENT;
    if (key_state == UNREADABLE) {
        return false;
    }
    if (cert == LOADED && key_state == LOADED && root_good(ca->root, now_ms)) {
        return true;
    }
    EVP_PKEY_free(*key);
    *key = NULL;
    return set_aside(s, "root.crt", err) && set_aside(s, "root.key", err) &&
           make_root(ca, s, now_ms, key, err);
}

static bool repair(struct local_ca *ca, struct store *s, int64_t leaf_lifetime_ms, int64_t now_ms,
                   struct err *err)
{
    EVP_PKEY *root_key = NULL;
    bool ok = ensure_root(ca, s, now_ms, &root_key, err);
    if (ok) {
        enum loaded cert = load_cert(s, "intermediate.crt", &ca->intermediate, err);
        enum loaded key = cert == LOADED ? load_key(s, "intermediate.key", ca->intermediate,
                                                    &ca->intermediate_key, err)
                                         : ABSENT;
        ok = cert != UNREADABLE && key != UNREADABLE &&
             (cert != BROKEN || set_aside(s, "intermediate.crt", err)) &&
             (key != BROKEN || set_aside(s, "intermediate.key", err));
    }
    ok = ok && make_intermediate(ca, s, root_key, leaf_lifetime_ms, now_ms, err);
    EVP_PKEY_free(root_key);
    return ok;
}

bool local_ca_ready(struct local_ca *ca, struct store *s, int64_t leaf_lifetime_ms, int64_t now_ms,
                    struct stop *stop, struct err *err)
{
    *ca = (struct local_ca){.root = NULL};
    if (load(ca, s, leaf_lifetime_ms, now_ms)) {
        return true;
    }
    struct err why = {.text = ""};
    struct store_lock *lock = store_lock(s, S("pki_local"), LOCK_WAIT_MS,
                                         stop ? stop_cancelled : NULL, stop, &why);
    if (!lock) {
        local_ca_fini(ca);
        return err_set(err, "locking the local CA: %s",
                       why.text[0] ? why.text : "another process holds it");
    }
    /* Again, now that nobody else is at it. */
    local_ca_fini(ca);
    bool ok = load(ca, s, leaf_lifetime_ms, now_ms);
    if (!ok) {
        local_ca_fini(ca);
        ok = repair(ca, s, leaf_lifetime_ms, now_ms, err) ||
             err_prefix(err, "the local CA: ");
    }
    store_unlock(lock);
    if (!ok) {
        local_ca_fini(ca);
    }
    return ok;
}

void local_ca_fini(struct local_ca *ca)
{
    X509_free(ca->root);
    X509_free(ca->intermediate);
    EVP_PKEY_free(ca->intermediate_key);
    *ca = (struct local_ca){.root = NULL};
}

bool local_ca_issue(const struct local_ca *ca, const struct local_leaf *leaf, int64_t now_ms,
                    struct store_pair *out, struct err *err)
{
    EVP_PKEY *root_key = NULL;
    if (leaf->root_of &&
        load_key(leaf->root_of, "root.key", ca->root, &root_key, err) != LOADED) {
        return err_set(err, "the root's key, which is to sign, cannot be read");
    }
    X509 *signer = root_key ? ca->root : ca->intermediate;
    int64_t end = now_ms + leaf->lifetime_ms, ca_end;
    if (cert_time_ms(X509_get0_notAfter(signer), &ca_end) && ca_end < end) {
        end = ca_end;
    }
    /* Not backdated: a renewal is planned by the distance of the two dates. */
    struct local_cert_spec spec = {
        .name = leaf->name, .path_length = -1, .not_before_ms = now_ms, .not_after_ms = end};
    EVP_PKEY *key = key_new(leaf->key_type, err);
    X509 *cert = key ? local_cert_make(&spec, key, signer,
                                       root_key ? root_key : ca->intermediate_key, err)
                     : NULL;
    bool ok = cert != NULL;
    if (ok && (!cert_to_pem(cert, &out->chain_pem) ||
               (!root_key && !cert_to_pem(ca->intermediate, &out->chain_pem)))) {
        ok = err_set(err, "writing a local certificate");
    }
    ok = ok && key_to_pem(key, &out->key_pem, err);
    X509_free(cert);
    EVP_PKEY_free(key);
    EVP_PKEY_free(root_key);
    return ok;
}

X509 *local_ca_root_of(struct store *s)
{
    X509 *root = NULL;
    return load_cert(s, "root.crt", &root, NULL) == LOADED ? root : NULL;
}

bool acme_local_root(struct store *s, struct dstr *out, struct err *err)
{
    struct local_ca ca;
    if (!local_ca_ready(&ca, s, LOCAL_LEAF_MS, clock_wall_ms(), NULL, err)) {
        return false;
    }
    bool ok = cert_to_pem(ca.root, out) || err_set(err, "writing the local CA's root");
    local_ca_fini(&ca);
    return ok;
}
