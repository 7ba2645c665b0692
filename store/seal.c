/* AES-256-GCM through OpenSSL; the store's door to it for values. See seal.h. */
#include "store/seal.h"

#include <limits.h>
#include <openssl/evp.h>

#include "proxy/base/rand.h"

bool seal_key_parse(struct slice text, unsigned char key[SEAL_KEY_BYTES])
{
    if (text.n == SEAL_KEY_BYTES) {
        memcpy(key, text.p, SEAL_KEY_BYTES);
        return true;
    }
    if (text.n != (size_t)2 * SEAL_KEY_BYTES) {
        return false;
    }
    for (size_t i = 0; i < SEAL_KEY_BYTES; i++) {
        int high = ascii_hex_value(text.p[2 * i]), low = ascii_hex_value(text.p[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        key[i] = (unsigned char)(high * 16 + low);
    }
    return true;
}

static bool encrypt(EVP_CIPHER_CTX *c, const unsigned char *key, const unsigned char *nonce,
                    struct slice bound_to, struct slice plain, unsigned char *out,
                    unsigned char *tag)
{
    int n = 0;
    return EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
           EVP_EncryptUpdate(c, NULL, &n, (const unsigned char *)bound_to.p,
                             (int)bound_to.n) == 1 &&
           (plain.n == 0 || EVP_EncryptUpdate(c, out, &n, (const unsigned char *)plain.p,
                                              (int)plain.n) == 1) &&
           EVP_EncryptFinal_ex(c, tag, &n) == 1 &&
           EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, SEAL_TAG_BYTES, tag) == 1;
}

bool seal(const unsigned char key[SEAL_KEY_BYTES], struct slice bound_to, struct slice plain,
          struct dstr *out, struct err *err)
{
    if (plain.n > INT_MAX - SEAL_OVERHEAD || bound_to.n > INT_MAX) {
        return err_set(err, "the value is too large to be encrypted");
    }
    unsigned char *at = (unsigned char *)dstr_reserve(out, plain.n + SEAL_OVERHEAD);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    bool ok = at && c && rand_bytes(at, SEAL_NONCE_BYTES) &&
              encrypt(c, key, at, bound_to, plain, at + SEAL_NONCE_BYTES,
                      at + SEAL_NONCE_BYTES + plain.n);
    EVP_CIPHER_CTX_free(c);
    if (!ok) {
        return err_set(err, "the value cannot be encrypted (memory, or no randomness)");
    }
    out->n += plain.n + SEAL_OVERHEAD;
    return true;
}

static bool decrypt(EVP_CIPHER_CTX *c, const unsigned char *key, struct slice bound_to,
                    struct slice sealed, unsigned char *out)
{
    int n = 0;
    const unsigned char *at = (const unsigned char *)sealed.p;
    size_t plain_n = sealed.n - SEAL_OVERHEAD;
    unsigned char tag[SEAL_TAG_BYTES];
    memcpy(tag, at + SEAL_NONCE_BYTES + plain_n, sizeof(tag));
    return EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, at) == 1 &&
           EVP_DecryptUpdate(c, NULL, &n, (const unsigned char *)bound_to.p,
                             (int)bound_to.n) == 1 &&
           (plain_n == 0 ||
            EVP_DecryptUpdate(c, out, &n, at + SEAL_NONCE_BYTES, (int)plain_n) == 1) &&
           EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, SEAL_TAG_BYTES, tag) == 1 &&
           EVP_DecryptFinal_ex(c, out + plain_n, &n) == 1;
}

bool seal_open(const unsigned char key[SEAL_KEY_BYTES], struct slice bound_to, struct slice sealed,
               struct dstr *out, struct err *err)
{
    if (sealed.n < SEAL_OVERHEAD || sealed.n > INT_MAX || bound_to.n > INT_MAX) {
        return err_set(err, "it is no encrypted value");
    }
    size_t plain_n = sealed.n - SEAL_OVERHEAD;
    unsigned char *at = (unsigned char *)dstr_reserve(out, plain_n);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    bool ok = at && c && decrypt(c, key, bound_to, sealed, at);
    EVP_CIPHER_CTX_free(c);
    if (!ok) {
        if (!at) {
            return err_set(err, "it is larger than wanted");
        }
        explicit_bzero(at, plain_n);
        return err_set(err, "it was encrypted with another key or has been changed");
    }
    out->n += plain_n;
    out->p[out->n] = '\0';
    return true;
}
