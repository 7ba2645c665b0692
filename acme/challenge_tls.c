/* TLS-ALPN-01 (RFC 8737, for addresses RFC 8738): the answer is a self-signed certificate for the
 * name with the hash of the key authorisation in a critical extension. It goes into the challenge
 * table, from which the proxy answers handshakes that offer acme-tls/1 alone, and into the store,
 * from which any instance does. The certificate's key proves nothing and lives a few minutes. */
#include "acme/challenge_type.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "acme/challenge_dns.h"
#include "acme/challenge_tls.h"
#include "acme/key.h"
#include "acme/local_ca_cert.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"

#define BEFORE_MS ((int64_t)24 * 3600 * 1000) /* for clocks that are behind ours */
#define AFTER_MS  ((int64_t)7 * 24 * 3600 * 1000)
#define HASH_BYTES 32

/* RFC 8737 section 3: an OCTET STRING of the hash, inside the extension's own. */
bool challenge_tls_extension(X509 *cert, struct slice key_authorization)
{
    unsigned char value[2 + HASH_BYTES] = {V_ASN1_OCTET_STRING, HASH_BYTES};
    unsigned n = 0;
    ASN1_OBJECT *oid = OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1);
    ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
    bool ok = oid && octets &&
              EVP_Digest(key_authorization.p, key_authorization.n, value + 2, &n, EVP_sha256(),
                         NULL) == 1 &&
              ASN1_OCTET_STRING_set(octets, value, sizeof(value)) == 1;
    X509_EXTENSION *ext = ok ? X509_EXTENSION_create_by_OBJ(NULL, oid, 1, octets) : NULL;
    ok = ext && X509_add_ext(cert, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    ASN1_OCTET_STRING_free(octets);
    ASN1_OBJECT_free(oid);
    return ok;
}

static bool write_cert(X509 *cert, struct dstr *pem)
{
    char *p = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    bool ok = bio && PEM_write_bio_X509(bio, cert) == 1;
    long n = ok ? BIO_get_mem_data(bio, &p) : 0;
    if (n > 0) {
        dstr_append(pem, slice_of(p, (size_t)n));
    }
    BIO_free(bio);
    return n > 0 && !pem->failed;
}

bool challenge_tls_make(struct slice name, struct slice key_authorization, struct dstr *pem,
                        struct err *err)
{
    struct local_cert_spec spec = {.common_name = "ACME challenge",
                                   .name = name,
                                   .challenge = key_authorization,
                                   .path_length = -1,
                                   .not_before_ms = clock_wall_ms() - BEFORE_MS,
                                   .not_after_ms = clock_wall_ms() + AFTER_MS};
    EVP_PKEY *key = key_new_p256(err);
    X509 *cert = key ? local_cert_make(&spec, key, NULL, key, err) : NULL;
    bool ok = cert && (write_cert(cert, pem) || err_set(err, "writing a certificate")) &&
              key_to_pem(key, pem, err);
    X509_free(cert);
    EVP_PKEY_free(key);
    return ok;
}

static bool present(const struct challenge_context *c, struct slice token,
                    struct slice key_authorization, struct err *err)
{
    struct dstr pem;
    key_text_init(&pem);
    bool ok = challenge_tls_make(c->name, key_authorization, &pem, err);
    if (ok && !challenge_put_tls(c->table, c->ca, c->name, token, key_authorization,
                                 dstr_slice(&pem), err)) {
        /* This process can answer all the same; only other instances cannot. */
        log_event(LOG_WARN, "acme", "the challenge's answer could not be put into the store",
                  LOG_S("name", c->name), LOG_Z("error", err->text));
    }
    key_text_fini(&pem);
    return ok;
}

static void take_away(const struct challenge_context *c, struct slice token,
                      struct slice key_authorization)
{
    (void)key_authorization;
    challenge_remove(c->table, c->ca, c->name, token);
}

static bool usable(const struct acme_solvers *s, struct slice name)
{
    /* As in Caddy: with a DNS challenge nothing else is used. */
    return !s->no_tls_alpn && !slice_starts(name, S("*.")) &&
           (!s->dns || challenge_dns_address(name));
}

const struct challenge_type challenge_tls_alpn01 = {
    .type = S_INIT("tls-alpn-01"),
    .needs_token = true,
    .usable = usable,
    .present = present,
    .remove = take_away,
};
