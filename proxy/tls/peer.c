/* A client's certificate in words, in the forms that Go prints (so that placeholders mean the same
 * as in Caddy). See peer.h. */
#include "proxy/tls/peer.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "proxy/base/arena.h"
#include "proxy/base/enc.h"

struct tls_peer {
    struct arena arena;
    struct stream_client_certificate c;
};

static struct slice name_text(struct arena *a, const X509_NAME *name)
{
    BIO *b = BIO_new(BIO_s_mem());
    char *p = NULL;
    struct slice out = S("");
    if (b && X509_NAME_print_ex(b, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0) {
        long n = BIO_get_mem_data(b, &p);
        out = arena_copy(a, slice_of(p, n > 0 ? (size_t)n : 0));
    }
    BIO_free(b);
    return out;
}

static struct slice common_name(struct arena *a, const X509_NAME *name)
{
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    unsigned char *utf8 = NULL;
    int n = at < 0 ? -1
                   : ASN1_STRING_to_UTF8(&utf8,
                                         X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    struct slice out = n > 0 ? arena_copy(a, slice_of((char *)utf8, (size_t)n)) : S("");
    OPENSSL_free(utf8);
    return out;
}

static struct slice serial_text(struct arena *a, const X509 *x)
{
    BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
    char *text = n ? BN_bn2dec(n) : NULL;
    struct slice out = text ? arena_copy(a, slice_str(text)) : S("");
    OPENSSL_free(text);
    BN_free(n);
    return out;
}

static struct slice hex(struct arena *a, const unsigned char *p, size_t n)
{
    struct dstr text;
    dstr_init(&text, 2 * n + 1);
    enc_hex(&text, slice_of((const char *)p, n));
    struct slice out = text.failed ? S("") : arena_copy(a, dstr_slice(&text));
    dstr_fini(&text);
    return out;
}

static struct slice address_text(struct arena *a, const ASN1_OCTET_STRING *ip)
{
    struct addr addr = {.len = 0};
    char text[ADDR_TEXT_BYTES];
    const unsigned char *p = ASN1_STRING_get0_data(ip);
    if (ASN1_STRING_length(ip) == 4) {
        addr.u.in.sin_family = AF_INET;
        memcpy(&addr.u.in.sin_addr, p, 4);
        addr.len = sizeof(addr.u.in);
    } else if (ASN1_STRING_length(ip) == 16) {
        addr.u.in6.sin6_family = AF_INET6;
        memcpy(&addr.u.in6.sin6_addr, p, 16);
        addr.len = sizeof(addr.u.in6);
    }
    return addr.len ? arena_copy(a, addr_host_text(&addr, text)) : S("");
}

static bool alt_name(struct arena *a, const GENERAL_NAME *g, struct stream_alt_name *out)
{
    int type;
    const void *value = GENERAL_NAME_get0_value(g, &type);
    if (type == GEN_IPADD) {
        *out = (struct stream_alt_name){ALT_IP, address_text(a, value)};
        return out->value.n > 0;
    }
    if (type != GEN_DNS && type != GEN_EMAIL && type != GEN_URI) {
        return false;
    }
    const ASN1_STRING *text = value;
    out->kind = type == GEN_DNS ? ALT_DNS : type == GEN_EMAIL ? ALT_EMAIL : ALT_URI;
    out->value = arena_copy(a, slice_of((const char *)ASN1_STRING_get0_data(text),
                                        (size_t)ASN1_STRING_length(text)));
    return true;
}

static void fill_alt_names(struct tls_peer *p, X509 *x)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    int count = names ? sk_GENERAL_NAME_num(names) : 0;
    count = count > TLS_PEER_ALT_MAX ? TLS_PEER_ALT_MAX : count;
    struct stream_alt_name *out =
        count > 0 ? ARENA_ARRAY(&p->arena, struct stream_alt_name, (size_t)count) : NULL;
    for (int i = 0; out && i < count; i++) {
        p->c.alt_count += alt_name(&p->arena, sk_GENERAL_NAME_value(names, i),
                                   &out[p->c.alt_count]);
    }
    p->c.alt_names = out;
    GENERAL_NAMES_free(names);
    ERR_clear_error();
}

static void fill(struct tls_peer *p, X509 *x)
{
    struct arena *a = &p->arena;
    unsigned char *der = NULL;
    int n = i2d_X509(x, &der);
    if (n > 0) {
        p->c.der = arena_copy(a, slice_of((char *)der, (size_t)n));
    }
    OPENSSL_free(der);
    unsigned char digest[32];
    unsigned digest_n = 0;
    if (X509_digest(x, EVP_sha256(), digest, &digest_n) == 1) {
        p->c.fingerprint = hex(a, digest, digest_n);
    }
    p->c.subject = name_text(a, X509_get_subject_name(x));
    p->c.issuer = name_text(a, X509_get_issuer_name(x));
    p->c.common_name = common_name(a, X509_get_subject_name(x));
    p->c.serial = serial_text(a, x);
    const ASN1_BIT_STRING *key = X509_get0_pubkey_bitstr(x);
    if (key) {
        p->c.public_key = arena_copy(a, slice_of((const char *)ASN1_STRING_get0_data(key),
                                                 (size_t)ASN1_STRING_length(key)));
        if (EVP_Digest(p->c.public_key.p, p->c.public_key.n, digest, &digest_n, EVP_sha256(),
                       NULL) == 1) {
            p->c.public_key_sha256 = hex(a, digest, digest_n);
        }
    }
    fill_alt_names(p, x);
}

struct tls_peer *tls_peer_new(SSL *ssl, bool *failed)
{
    X509 *x = SSL_get0_peer_certificate(ssl);
    *failed = false;
    if (!x) {
        return NULL;
    }
    struct tls_peer *p = calloc(1, sizeof(*p));
    if (p) {
        arena_init(&p->arena, TLS_PEER_MAX_BYTES);
        fill(p, x);
    }
    if (!p || p->arena.failed || !p->c.der.n) {
        *failed = true;
        tls_peer_free(p);
        return NULL;
    }
    return p;
}

void tls_peer_free(struct tls_peer *p)
{
    if (p) {
        arena_fini(&p->arena);
        free(p);
    }
}

const struct stream_client_certificate *tls_peer_certificate(const struct tls_peer *p)
{
    return p ? &p->c : NULL;
}
