/* Signing: thumbprint and signature vectors (RFC 7515 A.3, RFC 7638), padding of short r and s,
 * what a message carries. */
#include "acme/jws.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <openssl/bn.h>
#include <openssl/ecdsa.h>

#include "acme/json.h"
#include "acme/key.h"
#include "proxy/base/enc.h"

/* The key of RFC 7515 appendix A.3. */
static const char rfc_key[] = "-----BEGIN EC PRIVATE KEY-----\n"
                              "MHcCAQEEII6bEJ5xkJi/mASH3x9dd+nLKWBuvtImO19XwhPfhPSyoAoGCCqGSM49\n"
                              "AwEHoUQDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEXH8UTNG72b\n"
                              "focs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
                              "-----END EC PRIVATE KEY-----\n";

static struct jws_key key;

static int setup(void **state)
{
    (void)state;
    struct err err;
    EVP_PKEY *pkey = key_from_pem(slice_str(rfc_key), &err);
    return pkey && jws_key_init(&key, pkey, &err) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    jws_key_fini(&key);
    return 0;
}

static void thumbprint_is_the_known_one(void **state)
{
    (void)state;
    assert_string_equal(key.jwk,
                        "{\"crv\":\"P-256\",\"kty\":\"EC\","
                        "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                        "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}");
    assert_string_equal(key.thumbprint, "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
}

static size_t der_signature(const char *r_hex, const char *s_hex, unsigned char **out)
{
    BIGNUM *r = NULL, *s = NULL;
    assert_true(BN_hex2bn(&r, r_hex) && BN_hex2bn(&s, s_hex));
    ECDSA_SIG *sig = ECDSA_SIG_new();
    assert_int_equal(ECDSA_SIG_set0(sig, r, s), 1);
    *out = NULL;
    int n = i2d_ECDSA_SIG(sig, out);
    ECDSA_SIG_free(sig);
    assert_true(n > 0);
    return (size_t)n;
}

static void short_r_and_s_are_padded(void **state)
{
    (void)state;
    unsigned char *der, raw[64], want[64] = {0};
    size_t n = der_signature("01", "ABCDEF", &der);
    assert_true(jws_raw_signature(slice_of(der, n), raw));
    want[31] = 1;
    want[61] = 0xab;
    want[62] = 0xcd;
    want[63] = 0xef;
    assert_memory_equal(raw, want, 64);
    OPENSSL_free(der);
    /* A high first bit: DER has a leading zero, the raw form has none. */
    n = der_signature("FF00000000000000000000000000000000000000000000000000000000000001", "02",
                      &der);
    assert_true(jws_raw_signature(slice_of(der, n), raw));
    assert_int_equal(raw[0], 0xff);
    assert_int_equal(raw[31], 1);
    assert_int_equal(raw[63], 2);
    OPENSSL_free(der);
}

static void broken_signatures_are_refused(void **state)
{
    (void)state;
    unsigned char *der, raw[64];
    assert_false(jws_raw_signature(S(""), raw));
    assert_false(jws_raw_signature(S("\x30\x03\x02\x01"), raw));
    /* 33 bytes do not fit. */
    size_t n = der_signature("0100000000000000000000000000000000000000000000000000000000000000FF",
                             "02", &der);
    assert_false(jws_raw_signature(slice_of(der, n), raw));
    OPENSSL_free(der);
}

static bool verifies(struct slice input, struct slice raw)
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    const unsigned char *p = (const unsigned char *)raw.p;
    (void)ECDSA_SIG_set0(sig, BN_bin2bn(p, 32, NULL), BN_bin2bn(p + 32, 32, NULL));
    unsigned char *der = NULL;
    int n = i2d_ECDSA_SIG(sig, &der);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key.pkey) == 1 &&
              EVP_DigestVerify(ctx, der, (size_t)n, (const unsigned char *)input.p, input.n) == 1;
    EVP_MD_CTX_free(ctx);
    OPENSSL_free(der);
    ECDSA_SIG_free(sig);
    return ok;
}

/* Decodes a message; the caller deletes *head. The signature has 64 bytes and verifies. */
static void take_apart(struct slice message, struct arena *a, cJSON **head, struct slice *payload)
{
    struct err err;
    cJSON *obj = json_parse_object(message, &err);
    assert_non_null(obj);
    assert_int_equal(cJSON_GetArraySize(obj), 3);
    struct slice p64 = json_string(obj, "protected"), d64 = json_string(obj, "payload"), text, raw;
    assert_true(enc_base64url_decode(a, p64, &text));
    assert_true(enc_base64url_decode(a, json_string(obj, "signature"), &raw));
    assert_true(d64.n == 0 || enc_base64url_decode(a, d64, payload));
    if (d64.n == 0) {
        *payload = S("");
    }
    *head = json_parse_object(text, &err);
    assert_non_null(*head);
    if (raw.n == 64) {
        struct slice input =
            arena_printf(a, "%.*s.%.*s", SLICE_ARG(p64), SLICE_ARG(d64));
        assert_true(verifies(input, raw));
    }
    cJSON_Delete(obj);
}

static void a_message_has_exactly_what_it_must(void **state)
{
    (void)state;
    struct err err;
    struct arena a;
    struct dstr out;
    cJSON *head;
    struct slice payload;
    arena_init(&a, ARENA_NO_MAX);
    dstr_init(&out, JWS_BYTES_MAX);
    for (int i = 0; i < 300; i++) { /* about two of them have a short r or s */
        dstr_reset(&out);
        assert_true(jws_sign(&key, S("n-1_"), S("https://ca/x?y=1"), S("https://ca/acct/1"),
                             S("{\"a\":1}"), &out, &err));
        take_apart(dstr_slice(&out), &a, &head, &payload);
        assert_true(slice_eq(payload, S("{\"a\":1}")));
        assert_int_equal(cJSON_GetArraySize(head), 4);
        assert_true(slice_eq(json_string(head, "alg"), S("ES256")));
        assert_true(slice_eq(json_string(head, "nonce"), S("n-1_")));
        assert_true(slice_eq(json_string(head, "url"), S("https://ca/x?y=1")));
        assert_true(slice_eq(json_string(head, "kid"), S("https://ca/acct/1")));
        cJSON_Delete(head);
    }
    dstr_reset(&out);
    struct slice none = {NULL, 0};
    assert_true(jws_sign(&key, S("n"), S("https://ca/"), none, none, &out, &err));
    take_apart(dstr_slice(&out), &a, &head, &payload);
    assert_int_equal(payload.n, 0);
    assert_null(json_string(head, "kid").p);
    assert_non_null(json_object(head, "jwk"));
    cJSON_Delete(head);
    dstr_fini(&out);
    arena_fini(&a);
}

static void external_binding(void **state)
{
    (void)state;
    struct err err;
    struct arena a;
    struct dstr out;
    arena_init(&a, ARENA_NO_MAX);
    dstr_init(&out, JWS_BYTES_MAX);
    cJSON *head;
    struct slice payload;
    assert_true(jws_external_binding(&key, S("kid-1"), S("c2VjcmV0LWtleQ=="), S("https://ca/new"),
                                     &out, &err));
    take_apart(dstr_slice(&out), &a, &head, &payload);
    assert_int_equal(cJSON_GetArraySize(head), 3); /* no nonce */
    assert_true(slice_eq(json_string(head, "alg"), S("HS256")));
    assert_true(slice_eq(payload, slice_str(key.jwk)));
    /* Computed with Python's hmac over the same input. */
    assert_true(
        slice_find_slice(dstr_slice(&out),
                         S("\"signature\":\"f-YZqTyVYkCUoeHrviNrnGuK2inX4qtPpEJ7ZNz0oxQ\"")) !=
        SLICE_NPOS);
    cJSON_Delete(head);
    dstr_reset(&out);
    assert_false(jws_external_binding(&key, S("k"), S("not base64!"), S("https://ca/new"), &out,
                                      &err));
    assert_false(jws_external_binding(&key, S("k"), S(""), S("https://ca/new"), &out, &err));
    dstr_fini(&out);
    arena_fini(&a);
}

static void only_p256_accounts(void **state)
{
    (void)state;
    struct err err;
    struct jws_key other;
    assert_false(jws_key_init(&other, EVP_EC_gen("P-384"), &err));
    assert_null(other.pkey);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thumbprint_is_the_known_one),
        cmocka_unit_test(short_r_and_s_are_padded),
        cmocka_unit_test(broken_signatures_are_refused),
        cmocka_unit_test(a_message_has_exactly_what_it_must),
        cmocka_unit_test(external_binding),
        cmocka_unit_test(only_p256_accounts),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
