/* Session ticket keys. See tickets.h. */
#include "proxy/tls/tickets.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <string.h>

#include "proxy/base/clock.h"

#define KEYS 3
#define ROTATE_MS ((int64_t)12 * 3600 * 1000)

struct ticket_key {
    unsigned char name[16]; /* tells keys apart, sent in the clear */
    unsigned char aes[32];
    unsigned char mac[32];
    bool set;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ticket_key keys[KEYS]; /* newest first */
static int64_t drawn_ms;
static EVP_CIPHER *cipher; /* fetched once: a fetch a ticket costs more than sealing it */

/* Under the lock. When no randomness is to be had the old key stays. */
static void rotate(void)
{
    struct ticket_key fresh = {.set = true};
    if (RAND_bytes(fresh.name, sizeof(fresh.name)) != 1 ||
        RAND_priv_bytes(fresh.aes, sizeof(fresh.aes)) != 1 ||
        RAND_priv_bytes(fresh.mac, sizeof(fresh.mac)) != 1) {
        return;
    }
    memmove(&keys[1], &keys[0], sizeof(keys) - sizeof(keys[0]));
    keys[0] = fresh;
    drawn_ms = clock_mono_ms();
    OPENSSL_cleanse(&fresh, sizeof(fresh));
}

/* Keys go when their time is up, not only when the next ticket is asked for by name: after a long
 * silence every older key is too old as well. */
static void refresh(void)
{
    int64_t age = clock_mono_ms() - drawn_ms;
    if (keys[0].set && age >= ROTATE_MS * KEYS) {
        OPENSSL_cleanse(keys, sizeof(keys));
    }
    if (!keys[0].set || age >= ROTATE_MS) {
        rotate();
    }
}

void tickets_rotate_now(void)
{
    pthread_mutex_lock(&lock);
    rotate();
    pthread_mutex_unlock(&lock);
}

/* Copies the newest key (name NULL) or the one of that name; its age rank, or -1. */
static int find_key(const unsigned char *name, struct ticket_key *out)
{
    int found = -1;
    pthread_mutex_lock(&lock);
    refresh();
    for (int i = 0; i < KEYS && found < 0; i++) {
        if (keys[i].set && (!name || memcmp(keys[i].name, name, sizeof(keys[i].name)) == 0)) {
            *out = keys[i];
            found = i;
        }
    }
    pthread_mutex_unlock(&lock);
    return found;
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
    int rank = find_key(enc ? NULL : name, &k);
    if (rank < 0) {
        return enc ? -1 : 0;
    }
    bool ok = true;
    if (enc) {
        memcpy(name, k.name, sizeof(k.name));
        ok = RAND_bytes(iv, EVP_CIPHER_get_iv_length(cipher)) == 1;
    }
    ok = ok && set_keys(&k, iv, cctx, mctx, enc);
    OPENSSL_cleanse(&k, sizeof(k));
    return !ok ? -1 : rank > 0 ? 2 : 1;
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
