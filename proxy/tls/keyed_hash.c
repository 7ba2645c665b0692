/* See keyed_hash.h. */
#include "proxy/tls/keyed_hash.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

bool keyed_hash_hex(struct slice key, struct slice text, char out[KEYED_HASH_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    out[0] = '\0';
    if (key.n > INT_MAX ||
        !HMAC(EVP_sha256(), key.p ? key.p : "", (int)key.n, (const unsigned char *)text.p, text.n,
              mac, &n) || n != 32) {
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        out[2 * i] = digits[mac[i] >> 4];
        out[2 * i + 1] = digits[mac[i] & 15];
    }
    out[64] = '\0';
    return true;
}
