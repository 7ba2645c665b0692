/* In: a PEM chain, what was asked for. Out: yes with the dates, or no with the reason. Owns only
 * what it parses. */
#include "acme/cert_check.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "acme/csr.h"
#include "acme/key.h"
#include "proxy/base/enc.h"

void cert_chain_free(struct cert_chain *chain)
{
    for (size_t i = 0; i < chain->count; i++) {
        X509_free(chain->certs[i]);
    }
    chain->count = 0;
}

bool cert_chain_parse(struct slice pem, struct cert_chain *out, struct err *err)
{
    out->count = 0;
    if (pem.n == 0 || pem.n > CERT_PEM_MAX) {
        return err_set(err, "a certificate chain of %zu bytes", pem.n);
    }
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    ERR_clear_error();
    X509 *cert = NULL;
    while (bio && out->count < CERT_CHAIN_MAX &&
           (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        out->certs[out->count++] = cert;
    }
    /* The only good end is the end: anything else is a damaged block or one too many. */
    bool at_end = bio && (cert == NULL) &&
                  ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (bio && cert) {
        cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        at_end = !cert && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
        X509_free(cert);
    }
    BIO_free(bio);
    ERR_clear_error();
    if (at_end && out->count > 0) {
        return true;
    }
    bool empty = out->count == 0 && at_end;
    cert_chain_free(out);
    return err_set(err, empty ? "a chain without any certificate"
                              : "a chain with a damaged certificate or too many of them");
}

bool cert_time_ms(const ASN1_TIME *t, int64_t *out)
{
    struct tm tm;
    if (!t || ASN1_TIME_to_tm(t, &tm) != 1) {
        return false;
    }
    *out = (int64_t)timegm(&tm) * 1000;
    return true;
}

static bool same_dns(const ASN1_STRING *have, struct slice want)
{
    struct slice text = slice_of(ASN1_STRING_get0_data(have), (size_t)ASN1_STRING_length(have));
    return slice_eq_case(text, want);
}

static bool entry_is(const GENERAL_NAME *entry, struct slice want)
{
    unsigned char ip[16];
    size_t ip_bytes = csr_ip_bytes(want, ip);
    if (entry->type == GEN_DNS) {
        return !ip_bytes && same_dns(entry->d.dNSName, want);
    }
    return entry->type == GEN_IPADD && ip_bytes &&
           (size_t)ASN1_STRING_length(entry->d.iPAddress) == ip_bytes &&
           memcmp(ASN1_STRING_get0_data(entry->d.iPAddress), ip, ip_bytes) == 0;
}

static bool names_ok(X509 *leaf, const struct slice *names, size_t count,
                     enum cert_names_rule rule, struct err *err)
{
    GENERAL_NAMES *list = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    int have = list ? sk_GENERAL_NAME_num(list) : 0;
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        bool found = false;
        for (int k = 0; !found && k < have; k++) {
            found = entry_is(sk_GENERAL_NAME_value(list, k), names[i]);
        }
        ok = found || err_set(err, "the certificate does not name '%.*s'", SLICE_ARG(names[i]));
    }
    for (int k = 0; ok && rule == CERT_NAMES_EXACT && k < have; k++) {
        bool asked = false;
        for (size_t i = 0; !asked && i < count; i++) {
            asked = entry_is(sk_GENERAL_NAME_value(list, k), names[i]);
        }
        ok = asked || err_set(err, "the certificate has a name that was not asked for");
    }
    GENERAL_NAMES_free(list);
    return ok;
}

static bool signatures_ok(const struct cert_chain *chain, struct err *err)
{
    for (size_t i = 0; i + 1 < chain->count; i++) {
        EVP_PKEY *issuer = X509_get0_pubkey(chain->certs[i + 1]);
        if (X509_NAME_cmp(X509_get_issuer_name(chain->certs[i]),
                          X509_get_subject_name(chain->certs[i + 1])) != 0 ||
            !issuer || X509_verify(chain->certs[i], issuer) != 1) {
            ERR_clear_error();
            return err_set(err, "certificate %zu of the chain is not signed by the one behind it",
                           i + 1);
        }
    }
    return true;
}

/* The content octets of an INTEGER: a sign octet in front where the first bit is set. */
static bool append_serial(X509 *cert, struct dstr *out)
{
    unsigned char *der = NULL;
    int n = i2d_ASN1_INTEGER(X509_get0_serialNumber(cert), &der);
    bool ok = n > 2 && n < 2 + 128 && der[1] == n - 2; /* short form of the length */
    if (ok) {
        enc_base64url(out, slice_of(der + 2, (size_t)n - 2));
    }
    OPENSSL_free(der);
    return ok;
}

bool cert_id(X509 *cert, char out[CERT_ID_MAX])
{
    out[0] = '\0';
    const ASN1_OCTET_STRING *authority = X509_get0_authority_key_id(cert);
    if (!authority || ASN1_STRING_length(authority) <= 0) {
        return false;
    }
    struct dstr text;
    dstr_init(&text, CERT_ID_MAX - 1);
    enc_base64url(&text, slice_of(ASN1_STRING_get0_data(authority),
                                  (size_t)ASN1_STRING_length(authority)));
    dstr_byte(&text, '.');
    bool ok = append_serial(cert, &text) && !text.failed;
    if (ok) {
        memcpy(out, text.p, text.n + 1);
    }
    dstr_fini(&text);
    return ok;
}

static bool read_facts(const struct cert_chain *chain, struct cert_facts *facts, struct err *err)
{
    for (size_t i = 0; i < chain->count; i++) {
        int64_t from, to;
        if (!cert_time_ms(X509_get0_notBefore(chain->certs[i]), &from) ||
            !cert_time_ms(X509_get0_notAfter(chain->certs[i]), &to) || to <= from) {
            return err_set(err, "a certificate whose dates make no sense");
        }
        if (i == 0) {
            facts->not_before_ms = from;
            facts->not_after_ms = to;
        } else if (to < facts->not_after_ms) {
            facts->not_after_ms = to;
        }
    }
    (void)cert_id(chain->certs[0], facts->id);
    unsigned n = 0;
    return (X509_digest(chain->certs[0], EVP_sha256(), facts->hash, &n) == 1 &&
            n == sizeof(facts->hash)) ||
           key_openssl_err(err, "hashing a certificate");
}

bool cert_check(struct slice chain_pem, EVP_PKEY *key, const struct slice *names, size_t count,
                enum cert_names_rule rule, struct cert_facts *facts, struct err *err)
{
    struct cert_chain chain;
    if (!cert_chain_parse(chain_pem, &chain, err)) {
        return false;
    }
    EVP_PKEY *leaf_key = X509_get0_pubkey(chain.certs[0]);
    bool ok;
    if (!leaf_key || (key && EVP_PKEY_eq(leaf_key, key) != 1)) {
        ok = err_set(err, "the certificate is for another key");
    } else {
        ok = names_ok(chain.certs[0], names, count, rule, err) && signatures_ok(&chain, err) &&
             read_facts(&chain, facts, err);
    }
    ERR_clear_error();
    cert_chain_free(&chain);
    return ok;
}

bool cert_dates_ok(const struct cert_facts *facts, int64_t now_ms, struct err *err)
{
    if (facts->not_before_ms > now_ms + CERT_SKEW_MS) {
        return err_set(err, "the certificate begins %lld seconds from now (is the clock right?)",
                       (long long)((facts->not_before_ms - now_ms) / 1000));
    }
    return facts->not_after_ms > now_ms || err_set(err, "the certificate has expired already");
}

bool cert_pair_matches(void *unused, struct slice chain_pem, struct slice key_pem)
{
    (void)unused;
    struct err ignored;
    struct cert_facts facts;
    EVP_PKEY *key = key_from_pem(key_pem, &ignored);
    bool ok = key && cert_check(chain_pem, key, NULL, 0, CERT_NAMES_INCLUDE, &facts, &ignored);
    EVP_PKEY_free(key);
    return ok;
}

bool cert_chain_ends_at(struct slice chain_pem, X509 *root)
{
    struct cert_chain chain;
    if (!cert_chain_parse(chain_pem, &chain, NULL)) {
        return false;
    }
    X509 *last = chain.certs[chain.count - 1];
    bool ok = X509_cmp(last, root) == 0 ||
              (X509_NAME_cmp(X509_get_issuer_name(last), X509_get_subject_name(root)) == 0 &&
               X509_verify(last, X509_get0_pubkey(root)) == 1);
    ERR_clear_error();
    cert_chain_free(&chain);
    return ok;
}

bool cert_to_pem(X509 *cert, struct dstr *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    bool ok = bio && PEM_write_bio_X509(bio, cert) == 1;
    char *p = NULL;
    long n = ok ? BIO_get_mem_data(bio, &p) : 0;
    if (n > 0) {
        dstr_append(out, slice_of(p, (size_t)n));
    }
    BIO_free(bio);
    return n > 0 && !out->failed;
}
