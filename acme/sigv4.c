/* In: a request and a key. Out: its signature. Keys derived on the way are cleared. */
#include "acme/sigv4.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "proxy/base/clock.h"
#include "proxy/base/enc.h"

#define HASH_BYTES ((size_t)32)
#define SECRET_MAX ((size_t)256)

static bool hash_hex(struct slice text, struct dstr *out)
{
    unsigned char digest[HASH_BYTES];
    unsigned n = 0;
    bool ok = EVP_Digest(text.n ? text.p : "", text.n, digest, &n, EVP_sha256(), NULL) == 1;
    enc_hex(out, slice_of(digest, n));
    return ok;
}

static bool mac(struct slice key, struct slice text, unsigned char out[HASH_BYTES])
{
    unsigned n = 0;
    return HMAC(EVP_sha256(), key.p, (int)key.n, (const unsigned char *)text.p, text.n, out, &n) &&
           n == HASH_BYTES;
}

static struct slice day(const struct sigv4 *s)
{
    return slice_upto(slice_str(s->time), 8);
}

static bool signing_key(const struct sigv4 *s, unsigned char out[HASH_BYTES])
{
    char first[SECRET_MAX + 4] = "AWS4";
    if (s->secret_access_key.n > SECRET_MAX) {
        return false;
    }
    memcpy(first + 4, s->secret_access_key.p, s->secret_access_key.n);
    struct slice key = slice_of(out, HASH_BYTES);
    bool ok = mac(slice_of(first, 4 + s->secret_access_key.n), day(s), out) &&
              mac(key, s->region, out) && mac(key, s->service, out) &&
              mac(key, S("aws4_request"), out);
    OPENSSL_cleanse(first, sizeof(first));
    return ok;
}

static bool canonical(const struct sigv4 *s, struct dstr *out)
{
    dstr_printf(out, "%s\n%.*s\n%.*s\nhost:%.*s\nx-amz-date:%s\n", s->method, SLICE_ARG(s->path),
                SLICE_ARG(s->query), SLICE_ARG(s->host), s->time);
    if (s->session_token.n) {
        dstr_printf(out, "x-amz-security-token:%.*s\n", SLICE_ARG(s->session_token));
    }
    dstr_printf(out, "\nhost;x-amz-date%s\n", s->session_token.n ? ";x-amz-security-token" : "");
    return hash_hex(s->body, out) && !out->failed;
}

bool sigv4_authorization(const struct sigv4 *s, struct dstr *out, struct err *err)
{
    unsigned char key[HASH_BYTES], signature[HASH_BYTES];
    struct dstr request, to_sign;
    dstr_init(&request, (size_t)1 << 16);
    dstr_init(&to_sign, 4096);
    bool ok = canonical(s, &request);
    dstr_printf(&to_sign, "AWS4-HMAC-SHA256\n%s\n%.*s/%.*s/%.*s/aws4_request\n", s->time,
                SLICE_ARG(day(s)), SLICE_ARG(s->region), SLICE_ARG(s->service));
    ok = ok && hash_hex(dstr_slice(&request), &to_sign) && !to_sign.failed &&
         signing_key(s, key) && mac(slice_of(key, sizeof(key)), dstr_slice(&to_sign), signature);
    if (ok) {
        dstr_printf(out, "AWS4-HMAC-SHA256 Credential=%.*s/%.*s/%.*s/%.*s/aws4_request, "
                         "SignedHeaders=host;x-amz-date%s, Signature=",
                    SLICE_ARG(s->access_key_id), SLICE_ARG(day(s)), SLICE_ARG(s->region),
                    SLICE_ARG(s->service), s->session_token.n ? ";x-amz-security-token" : "");
        enc_hex(out, slice_of(signature, sizeof(signature)));
    }
    OPENSSL_cleanse(key, sizeof(key));
    if (request.p) {
        OPENSSL_cleanse(request.p, request.n); /* a session token is in it */
    }
    dstr_fini(&to_sign);
    dstr_fini(&request);
    return (ok && !out->failed) || err_set(err, "signing a request failed");
}

/* 2015-08-30T12:36:00... without the marks in between. */
void sigv4_time(int64_t wall_ms, char out[SIGV4_TIME_BYTES])
{
    char text[CLOCK_RFC3339_BYTES];
    size_t n = 0;
    clock_rfc3339(wall_ms, text);
    for (size_t i = 0; i < 19; i++) {
        if (text[i] != '-' && text[i] != ':') {
            out[n++] = text[i];
        }
    }
    out[n++] = 'Z';
    out[n] = '\0';
}
