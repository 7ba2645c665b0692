/* In: a key, a nonce, a URL, a payload. Out: the body of a POST. jws_key owns its EVP_PKEY. */
#include "acme/jws.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>

#include "acme/key.h"
#include "proxy/base/enc.h"

#define COORDINATE_BYTES 32

static bool coordinate(const EVP_PKEY *pkey, const char *name, struct dstr *out)
{
    BIGNUM *bn = NULL;
    unsigned char bytes[COORDINATE_BYTES];
    bool ok = EVP_PKEY_get_bn_param(pkey, name, &bn) == 1 &&
              BN_bn2binpad(bn, bytes, sizeof(bytes)) == (int)sizeof(bytes);
    if (ok) {
        enc_base64url(out, slice_of(bytes, sizeof(bytes)));
    }
    BN_free(bn);
    return ok && !out->failed;
}

/* RFC 7638: required members only, sorted by name, no white space. */
static bool make_jwk(struct jws_key *k, struct err *err)
{
    struct dstr x, y;
    dstr_init(&x, 64);
    dstr_init(&y, 64);
    bool ok = coordinate(k->pkey, OSSL_PKEY_PARAM_EC_PUB_X, &x) &&
              coordinate(k->pkey, OSSL_PKEY_PARAM_EC_PUB_Y, &y);
    if (ok) {
        (void)snprintf(k->jwk, sizeof(k->jwk),
                       "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}", x.p, y.p);
    }
    dstr_fini(&x);
    dstr_fini(&y);
    return ok || key_openssl_err(err, "reading the account key's public part");
}

static bool sha256(struct slice s, unsigned char out[SHA256_DIGEST_LENGTH])
{
    unsigned n = 0;
    return EVP_Digest(s.n ? s.p : "", s.n, out, &n, EVP_sha256(), NULL) == 1 &&
           n == SHA256_DIGEST_LENGTH;
}

bool jws_key_init(struct jws_key *k, EVP_PKEY *pkey, struct err *err)
{
    *k = (struct jws_key){.pkey = pkey};
    if (!key_is_p256(pkey)) {
        jws_key_fini(k);
        return err_set(err, "the account key is no P-256 key");
    }
    unsigned char digest[SHA256_DIGEST_LENGTH];
    if (!make_jwk(k, err) || !sha256(slice_str(k->jwk), digest)) {
        jws_key_fini(k);
        return err_set(err, "the account key's thumbprint could not be made");
    }
    struct dstr text;
    dstr_init(&text, sizeof(k->thumbprint) - 1);
    enc_base64url(&text, slice_of(digest, sizeof(digest)));
    must(!text.failed && text.n == sizeof(k->thumbprint) - 1);
    memcpy(k->thumbprint, text.p, text.n + 1);
    dstr_fini(&text);
    return true;
}

void jws_key_fini(struct jws_key *k)
{
    EVP_PKEY_free(k->pkey);
    *k = (struct jws_key){.pkey = NULL};
}

bool jws_raw_signature(struct slice der, unsigned char out[64])
{
    if (der.n == 0 || der.n > 128) {
        return false;
    }
    const unsigned char *p = (const unsigned char *)der.p;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)der.n);
    bool ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, COORDINATE_BYTES) > 0 &&
              BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + COORDINATE_BYTES, COORDINATE_BYTES) > 0;
    ECDSA_SIG_free(sig);
    return ok;
}

static bool es256(const struct jws_key *k, struct slice input, unsigned char out[64])
{
    unsigned char der[128];
    size_t n = sizeof(der);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, k->pkey) == 1 &&
              EVP_DigestSign(ctx, der, &n, (const unsigned char *)input.p, input.n) == 1 &&
              jws_raw_signature(slice_of(der, n), out);
    EVP_MD_CTX_free(ctx);
    return ok;
}

/* {"protected":…,"payload":…,"signature":…}; input is protected "." payload, both encoded. */
static void flatten(struct dstr *out, struct slice input, struct slice signature)
{
    struct slice payload = input, head;
    (void)slice_cut(&payload, '.', &head);
    dstr_printf(out, "{\"protected\":\"%.*s\",\"payload\":\"%.*s\",\"signature\":\"",
                SLICE_ARG(head), SLICE_ARG(payload));
    enc_base64url(out, signature);
    dstr_append(out, S("\"}"));
}

bool jws_sign(const struct jws_key *k, struct slice nonce, struct slice url, struct slice kid,
              struct slice payload, struct dstr *out, struct err *err)
{
    struct dstr head, input;
    dstr_init(&head, JWS_BYTES_MAX);
    dstr_init(&input, JWS_BYTES_MAX);
    dstr_append(&head, S("{\"alg\":\"ES256\","));
    if (kid.n) {
        dstr_append(&head, S("\"kid\":"));
        dstr_json(&head, kid);
    } else {
        dstr_append(&head, S("\"jwk\":"));
        dstr_append(&head, slice_str(k->jwk));
    }
    if (nonce.p) {
        dstr_append(&head, S(",\"nonce\":"));
        dstr_json(&head, nonce);
    }
    dstr_append(&head, S(",\"url\":"));
    dstr_json(&head, url);
    dstr_byte(&head, '}');
    enc_base64url(&input, dstr_slice(&head));
    dstr_byte(&input, '.');
    enc_base64url(&input, payload);
    unsigned char signature[64];
    bool ok = !head.failed && !input.failed && es256(k, dstr_slice(&input), signature);
    if (ok) {
        flatten(out, dstr_slice(&input), slice_of(signature, sizeof(signature)));
        ok = !out->failed;
    }
    dstr_fini(&head);
    dstr_fini(&input);
    return ok || key_openssl_err(err, "signing a message to the CA");
}

bool jws_external_binding(const struct jws_key *k, struct slice key_id, struct slice mac_key,
                          struct slice url, struct dstr *out, struct err *err)
{
    struct arena a;
    arena_init(&a, 4096);
    struct slice mac;
    /* People paste these keys with the padding some tools add. */
    while (mac_key.n && mac_key.p[mac_key.n - 1] == '=') {
        mac_key.n--;
    }
    if (!enc_base64url_decode(&a, mac_key, &mac) || mac.n == 0) {
        arena_fini(&a);
        return err_set(err, "the external account's MAC key is not base64url");
    }
    struct dstr head, input;
    dstr_init(&head, 8192);
    dstr_init(&input, 16384);
    dstr_append(&head, S("{\"alg\":\"HS256\",\"kid\":"));
    dstr_json(&head, key_id);
    dstr_append(&head, S(",\"url\":"));
    dstr_json(&head, url);
    dstr_byte(&head, '}');
    enc_base64url(&input, dstr_slice(&head));
    dstr_byte(&input, '.');
    enc_base64url(&input, slice_str(k->jwk));
    unsigned char tag[SHA256_DIGEST_LENGTH];
    unsigned n = 0;
    bool ok = !head.failed && !input.failed &&
              HMAC(EVP_sha256(), mac.p, (int)mac.n, (const unsigned char *)input.p, input.n, tag,
                   &n) &&
              n == sizeof(tag);
    if (ok) {
        flatten(out, dstr_slice(&input), slice_of(tag, sizeof(tag)));
        ok = !out->failed;
    }
    key_wipe(mac);
    dstr_fini(&head);
    dstr_fini(&input);
    arena_fini(&a);
    return ok || key_openssl_err(err, "signing the external account binding");
}

void jws_key_authorization(const struct jws_key *k, struct slice token, struct dstr *out)
{
    dstr_append(out, token);
    dstr_byte(out, '.');
    dstr_append(out, slice_str(k->thumbprint));
}
