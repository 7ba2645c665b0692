/* In: what a certificate should say, keys. Out: the signed certificate, the caller's. */
#include "acme/local_ca_cert.h"

#include <openssl/x509v3.h>

#include "acme/challenge_tls.h"
#include "acme/csr.h"
#include "acme/key.h"
#include "proxy/base/rand.h"

static bool set_serial(X509 *cert)
{
    unsigned char bytes[16];
    if (!rand_bytes(bytes, sizeof(bytes))) {
        return false;
    }
    bytes[0] = (bytes[0] & 0x3f) | 0x40; /* positive, always of one length */
    BIGNUM *bn = BN_bin2bn(bytes, sizeof(bytes), NULL);
    bool ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert)) != NULL;
    BN_free(bn);
    return ok;
}

static bool set_dates(X509 *cert, const struct local_cert_spec *spec)
{
    return ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)(spec->not_before_ms / 1000)) &&
           ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)(spec->not_after_ms / 1000));
}

static bool set_names(X509 *cert, const struct local_cert_spec *spec, X509 *issuer)
{
    X509_NAME *subject = X509_NAME_new();
    bool ok = subject != NULL;
    if (ok && spec->common_name) {
        ok = X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                        (const unsigned char *)spec->common_name, -1, -1, 0) == 1;
    }
    ok = ok && X509_set_subject_name(cert, subject) == 1 &&
         X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject) == 1;
    X509_NAME_free(subject);
    return ok;
}

static bool add_text(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer ? issuer : cert, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = ext && X509_add_ext(cert, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return ok;
}

static bool add_san(X509 *cert, struct slice name, bool critical)
{
    GENERAL_NAMES *list = csr_general_names(&name, 1, NULL);
    bool ok = list && X509_add1_ext_i2d(cert, NID_subject_alt_name, list, critical,
                                        X509V3_ADD_DEFAULT) == 1;
    GENERAL_NAMES_free(list);
    return ok;
}

static bool add_extensions(X509 *cert, const struct local_cert_spec *spec, X509 *issuer)
{
    if (spec->challenge.n) {
        /* RFC 8737 section 3: the one name, and the proof. */
        return add_san(cert, spec->name, false) && challenge_tls_extension(cert, spec->challenge);
    }
    if (spec->path_length < 0) {
        /* RFC 5280 section 4.2.1.6: critical when the subject is empty. */
        return add_text(cert, issuer, NID_key_usage, "critical,digitalSignature") &&
               add_text(cert, issuer, NID_ext_key_usage, "serverAuth,clientAuth") &&
               add_text(cert, issuer, NID_subject_key_identifier, "hash") &&
               add_text(cert, issuer, NID_authority_key_identifier, "keyid:always") &&
               add_san(cert, spec->name, spec->common_name == NULL);
    }
    const char *basic = spec->path_length == 0 ? "critical,CA:TRUE,pathlen:0"
                                               : "critical,CA:TRUE,pathlen:1";
    return add_text(cert, issuer, NID_key_usage, "critical,keyCertSign,cRLSign") &&
           add_text(cert, issuer, NID_basic_constraints, basic) &&
           add_text(cert, issuer, NID_subject_key_identifier, "hash") &&
           (!issuer || add_text(cert, issuer, NID_authority_key_identifier, "keyid:always"));
}

X509 *local_cert_make(const struct local_cert_spec *spec, EVP_PKEY *key, X509 *issuer,
                      EVP_PKEY *issuer_key, struct err *err)
{
    X509 *cert = X509_new();
    if (cert && X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
        set_dates(cert, spec) && set_names(cert, spec, issuer) &&
        X509_set_pubkey(cert, key) == 1 && add_extensions(cert, spec, issuer) &&
        X509_sign(cert, issuer_key, EVP_sha256()) > 0) {
        return cert;
    }
    X509_free(cert);
    (void)key_openssl_err(err, "making a certificate");
    return NULL;
}
