/* In: a key and names. Out: a request in DER, or the names as OpenSSL holds them. */
#include "acme/csr.h"

#include <arpa/inet.h>
#include <openssl/x509.h>

#include "acme/key.h"

#define DNS_NAME_MAX ((size_t)253)
#define NAMES_MAX ((size_t)100)

size_t csr_ip_bytes(struct slice text, unsigned char out[16])
{
    char buf[INET6_ADDRSTRLEN];
    if (text.n == 0 || text.n >= sizeof(buf)) {
        return 0;
    }
    memcpy(buf, text.p, text.n);
    buf[text.n] = '\0';
    if (strlen(buf) != text.n) {
        return 0;
    }
    return inet_pton(AF_INET, buf, out) == 1 ? 4 : inet_pton(AF_INET6, buf, out) == 1 ? 16 : 0;
}

static bool ascii_name(struct slice name)
{
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        if (c <= 0x20 || c >= 0x7f) {
            return false;
        }
    }
    return name.n > 0 && name.n <= DNS_NAME_MAX;
}

static bool add_name(GENERAL_NAMES *list, struct slice name)
{
    unsigned char ip[16];
    size_t ip_bytes = csr_ip_bytes(name, ip);
    GENERAL_NAME *entry = GENERAL_NAME_new();
    ASN1_STRING *value = ip_bytes ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
    bool ok = entry && value &&
              ASN1_STRING_set(value, ip_bytes ? (const void *)ip : (const void *)name.p,
                              (int)(ip_bytes ? ip_bytes : name.n)) == 1;
    if (ok && !ip_bytes) {
        unsigned char *p = (unsigned char *)(uintptr_t)ASN1_STRING_get0_data(value);
        for (size_t i = 0; i < name.n; i++) {
            p[i] = (unsigned char)ascii_lower((char)p[i]);
        }
    }
    if (!ok) {
        ASN1_STRING_free(value);
        GENERAL_NAME_free(entry);
        return false;
    }
    GENERAL_NAME_set0_value(entry, ip_bytes ? GEN_IPADD : GEN_DNS, value);
    if (sk_GENERAL_NAME_push(list, entry) <= 0) {
        GENERAL_NAME_free(entry);
        return false;
    }
    return true;
}

GENERAL_NAMES *csr_general_names(const struct slice *names, size_t count, struct err *err)
{
    GENERAL_NAMES *list = GENERAL_NAMES_new();
    bool ok = list && count > 0 && count <= NAMES_MAX;
    for (size_t i = 0; ok && i < count; i++) {
        if (!ascii_name(names[i])) {
            (void)err_set(err, "'%.*s' cannot be on a certificate", SLICE_ARG(names[i]));
            GENERAL_NAMES_free(list);
            return NULL;
        }
        ok = add_name(list, names[i]);
    }
    if (!ok) {
        GENERAL_NAMES_free(list);
        (void)key_openssl_err(err, "writing the names of a certificate");
        return NULL;
    }
    return list;
}

static bool add_extension(X509_REQ *req, GENERAL_NAMES *names)
{
    STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
    X509_EXTENSION *ext = X509V3_EXT_i2d(NID_subject_alt_name, 0, names);
    bool ok = list && ext && sk_X509_EXTENSION_push(list, ext) > 0;
    if (!ok) {
        X509_EXTENSION_free(ext);
    }
    ok = ok && X509_REQ_add_extensions(req, list) == 1;
    sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
    return ok;
}

bool csr_make(EVP_PKEY *key, const struct slice *names, size_t count, struct dstr *der,
              struct err *err)
{
    GENERAL_NAMES *san = csr_general_names(names, count, err);
    if (!san) {
        return false;
    }
    unsigned char *bytes = NULL;
    int n = -1;
    X509_REQ *req = X509_REQ_new();
    if (req && X509_REQ_set_version(req, X509_REQ_VERSION_1) == 1 &&
        X509_REQ_set_pubkey(req, key) == 1 && add_extension(req, san) &&
        X509_REQ_sign(req, key, EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256()) > 0) {
        n = i2d_X509_REQ(req, &bytes);
    }
    if (n > 0) {
        dstr_append(der, slice_of(bytes, (size_t)n));
    }
    OPENSSL_free(bytes);
    X509_REQ_free(req);
    GENERAL_NAMES_free(san);
    return (n > 0 && !der->failed) || key_openssl_err(err, "making the certificate request");
}
