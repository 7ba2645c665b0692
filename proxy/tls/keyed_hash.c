/* See keyed_hash.h. */
#include "proxy/tls/keyed_hash.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

static void write_hex(const unsigned char *bytes, unsigned n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (unsigned i = 0; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * (size_t)n] = '\0';
}

bool keyed_hash_hex(struct slice key, struct slice text, char out[KEYED_HASH_BYTES])
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    out[0] = '\0';
    if (key.n > INT_MAX ||
        !HMAC(EVP_sha256(), key.p ? key.p : "", (int)key.n, (const unsigned char *)text.p, text.n,
              mac, &n) || n != 32) {
        return false;
    }
    write_hex(mac, n, out);
    return true;
}

bool sha256_hex(struct slice text, char out[KEYED_HASH_BYTES])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    out[0] = '\0';
    if (!EVP_Digest(text.p, text.n, digest, &n, EVP_sha256(), NULL) || n != 32) {
        return false;
    }
    write_hex(digest, n, out);
    return true;
}
