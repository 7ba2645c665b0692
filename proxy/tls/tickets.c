/* Session ticket keys. See tickets.h. */
#include "proxy/tls/tickets.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <string.h>

#include "proxy/base/clock.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ticket_keys shared; /* from the store */
static struct ticket_keys own;    /* made here, while there are no usable shared ones */
static EVP_CIPHER *cipher; /* fetched once: a fetch a ticket costs more than sealing it */

void tickets_install(const struct ticket_keys *keys)
{
    pthread_mutex_lock(&lock);
    shared = *keys;
    pthread_mutex_unlock(&lock);
}

void tickets_rotate_now(void)
{
    pthread_mutex_lock(&lock);
    ticket_keys_wipe(&shared);
    for (size_t i = 0; i < own.count; i++) {
        own.items[i].from_ms -= TICKET_KEY_SEALS_MS;
    }
    must(ticket_keys_renew(&own, clock_wall_ms()));
    pthread_mutex_unlock(&lock);
}

/* Under the lock. The key that seals now; when no randomness is to be had there may be none. */
static const struct ticket_key *sealing(int64_t now_ms)
{
    const struct ticket_key *k = ticket_keys_sealing(&shared, now_ms);
    k = k ? k : ticket_keys_sealing(&own, now_ms);
    if (!k && ticket_keys_renew(&own, now_ms)) {
        k = ticket_keys_sealing(&own, now_ms);
    }
    return k;
}

static const struct ticket_key *named(const struct ticket_keys *keys, const unsigned char *name,
                                      int64_t now_ms)
{
    for (size_t i = 0; i < keys->count; i++) {
        const struct ticket_key *k = &keys->items[i];
        if (memcmp(k->name, name, sizeof(k->name)) == 0) {
            return k->from_ms > now_ms - TICKET_KEY_OPENS_MS ? k : NULL;
        }
    }
    return NULL;
}

/* Copies the key that seals (name NULL) or the one of that name. False: there is none. *old: it is
 * not the one that seals now. */
static bool find_key(const unsigned char *name, struct ticket_key *out, bool *old)
{
    int64_t now_ms = clock_wall_ms();
    pthread_mutex_lock(&lock);
    const struct ticket_key *best = sealing(now_ms), *k = best;
    if (name) {
        k = named(&shared, name, now_ms);
        k = k ? k : named(&own, name, now_ms);
    }
    if (k) {
        *out = *k;
        *old = k != best;
    }
    pthread_mutex_unlock(&lock);
    return k != NULL;
}

static bool set_keys(struct ticket_key *k, const unsigned char *iv, EVP_CIPHER_CTX *cctx,
                     EVP_MAC_CTX *mctx, int enc)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k->mac, sizeof(k->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_CipherInit_ex2(cctx, cipher, k->aes, iv, enc, NULL) == 1 &&
           EVP_MAC_CTX_set_params(mctx, params) == 1;
}

/* OpenSSL's contract: 1 use it, 2 use it and issue a new one, 0 no such key, -1 failure. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cctx,
                     EVP_MAC_CTX *mctx, int enc)
{
    (void)ssl;
    struct ticket_key k;
    bool old = false;
    if (!find_key(enc ? NULL : name, &k, &old)) {
        return enc ? -1 : 0;
    }
    bool ok = true;
    if (enc) {
        memcpy(name, k.name, sizeof(k.name));
        ok = RAND_bytes(iv, EVP_CIPHER_get_iv_length(cipher)) == 1;
    }
    ok = ok && set_keys(&k, iv, cctx, mctx, enc);
    OPENSSL_cleanse(&k, sizeof(k));
    return !ok ? -1 : old ? 2 : 1;
}

bool tickets_enable(SSL_CTX *ctx)
{
    static const unsigned char context[] = "caddis";
    pthread_mutex_lock(&lock);
    if (!cipher) {
        cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    }
    bool have_cipher = cipher != NULL;
    pthread_mutex_unlock(&lock);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets only: no state here */
    SSL_CTX_set_timeout(ctx, TICKETS_LIFETIME_SECONDS);
    /* One ticket a handshake: a second would cost every client what few ever use. */
    return have_cipher && SSL_CTX_set_num_tickets(ctx, 1) == 1 &&
           SSL_CTX_set_session_id_context(ctx, context, sizeof(context) - 1) == 1 &&
           SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) == 1;
}
