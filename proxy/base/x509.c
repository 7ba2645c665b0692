/* PEM, and as much DER as it takes to find a certificate's key, names and dates. See x509.h. In:
 * bytes from files, not trusted. Out: slices into them. Every length is checked against what is
 * there; nothing is recursive. */
#include "proxy/base/x509.h"

#include <time.h>

/* ---- PEM ------------------------------------------------------------------------------------- */

#define BEGIN "-----BEGIN "
#define END "-----END "
#define DASHES "-----"

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (ascii_is_digit(c)) {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Base64 with line breaks (and padding, which is not looked at closely). */
static bool decode_body(struct slice body, struct dstr *der)
{
    char *out = dstr_reserve(der, body.n / 4 * 3 + 3);
    size_t n = 0;
    unsigned bits = 0;
    unsigned have = 0;
    bool padding = false;
    if (!out) {
        return false;
    }
    for (size_t i = 0; i < body.n; i++) {
        char c = body.p[i];
        int v = base64_value(c);
        if (c == '=' || c == '\n' || c == '\r' || c == ' ' || c == '\t') {
            padding = padding || c == '=';
            continue;
        }
        if (v < 0 || padding) {
            return false; /* also the ":" of an encrypted key's fields */
        }
        bits = bits << 6 | (unsigned)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (char)(bits >> have & 0xff);
        }
    }
    der->n += n;
    return n > 0;
}

bool pem_next(struct slice *pem, struct slice *label, struct dstr *der, bool *broken)
{
    size_t at = slice_find_slice(*pem, S(BEGIN));
    if (at == SLICE_NPOS) {
        *pem = S("");
        return false;
    }
    struct slice rest = slice_from(*pem, at + sizeof(BEGIN) - 1);
    size_t label_n = slice_find_slice(rest, S(DASHES));
    size_t end = slice_find_slice(rest, S(END));
    *broken = true;
    if (label_n == SLICE_NPOS || end == SLICE_NPOS || label_n + sizeof(DASHES) - 1 > end) {
        return false;
    }
    *label = slice_upto(rest, label_n);
    struct slice tail = slice_from(rest, end + sizeof(END) - 1);
    if (!slice_starts(tail, *label)) {
        return false;
    }
    size_t body = label_n + sizeof(DASHES) - 1;
    if (!decode_body(slice_of(rest.p + body, end - body), der)) {
        return false;
    }
    *broken = false;
    *pem = slice_from(tail, label_n);
    return true;
}

/* ---- DER (X.690) ----------------------------------------------------------------------------- */

enum {
    TAG_INTEGER = 0x02,
    TAG_BIT_STRING = 0x03,
    TAG_OCTET_STRING = 0x04,
    TAG_OID = 0x06,
    TAG_UTC_TIME = 0x17,
    TAG_GENERALIZED_TIME = 0x18,
    TAG_SEQUENCE = 0x30,
    TAG_CONTEXT_0 = 0xa0, /* constructed */
    TAG_CONTEXT_1 = 0xa1,
    TAG_CONTEXT_3 = 0xa3,
    TAG_ALT_DNS = 0x82, /* in a GeneralName */
    TAG_ALT_IP = 0x87,
};

/* Takes one element off the front. Lengths of up to four bytes. */
static bool element(struct slice *in, unsigned *tag, struct slice *contents)
{
    const unsigned char *p = (const unsigned char *)in->p;
    if (in->n < 2 || (p[0] & 0x1f) == 0x1f) {
        return false;
    }
    size_t head = 2;
    size_t n = p[1];
    if (n >= 0x80) {
        size_t bytes = n & 0x7f;
        if (bytes == 0 || bytes > 4 || in->n < 2 + bytes) {
            return false;
        }
        n = 0;
        for (size_t i = 0; i < bytes; i++) {
            n = n << 8 | p[2 + i];
        }
        head += bytes;
    }
    if (n > in->n - head) {
        return false;
    }
    *tag = p[0];
    *contents = slice_of(in->p + head, n);
    *in = slice_from(*in, head + n);
    return true;
}

static bool expect(struct slice *in, unsigned tag, struct slice *contents)
{
    unsigned got;
    return element(in, &got, contents) && got == tag;
}

static bool skip(struct slice *in, unsigned tag)
{
    struct slice unused;
    return expect(in, tag, &unused);
}

static bool next_is(struct slice in, unsigned tag)
{
    return in.n > 0 && (unsigned char)in.p[0] == tag;
}

/* A bit string without unused bits. */
static bool bit_string(struct slice *in, struct slice *bytes)
{
    struct slice all;
    if (!expect(in, TAG_BIT_STRING, &all) || all.n < 1 || all.p[0] != 0) {
        return false;
    }
    *bytes = slice_from(all, 1);
    return true;
}

static bool two_digits(struct slice *in, int *out)
{
    if (in->n < 2 || !ascii_is_digit(in->p[0]) || !ascii_is_digit(in->p[1])) {
        return false;
    }
    *out = (in->p[0] - '0') * 10 + (in->p[1] - '0');
    *in = slice_from(*in, 2);
    return true;
}

/* RFC 5280 section 4.1.2.5: YYMMDDHHMMSSZ up to 2049, YYYYMMDDHHMMSSZ from then on. */
static bool read_time(struct slice *in, int64_t *out_ms)
{
    unsigned tag;
    struct slice text;
    struct tm tm = {0};
    int century = 0;
    int year;
    if (!element(in, &tag, &text) || (tag != TAG_UTC_TIME && tag != TAG_GENERALIZED_TIME) ||
        (tag == TAG_GENERALIZED_TIME && !two_digits(&text, &century)) ||
        !two_digits(&text, &year) || !two_digits(&text, &tm.tm_mon) ||
        !two_digits(&text, &tm.tm_mday) || !two_digits(&text, &tm.tm_hour) ||
        !two_digits(&text, &tm.tm_min) || !two_digits(&text, &tm.tm_sec) ||
        !slice_eq(text, S("Z"))) {
        return false;
    }
    if (tag == TAG_UTC_TIME) {
        century = year < 50 ? 20 : 19;
    }
    tm.tm_year = century * 100 + year - 1900;
    tm.tm_mon--;
    *out_ms = (int64_t)timegm(&tm) * 1000;
    return true;
}

static bool read_validity(struct slice *tbs, struct x509_facts *out)
{
    struct slice validity;
    return expect(tbs, TAG_SEQUENCE, &validity) && read_time(&validity, &out->not_before_ms) &&
           read_time(&validity, &out->not_after_ms);
}

static bool read_public_key(struct slice *tbs, struct x509_facts *out)
{
    struct slice info;
    return expect(tbs, TAG_SEQUENCE, &info) && skip(&info, TAG_SEQUENCE) &&
           bit_string(&info, &out->public_key);
}

/* subjectAltName among the extensions; false: they are malformed. */
static bool read_alt_names(struct slice list, struct x509_facts *out)
{
    static const unsigned char alt_oid[] = {0x55, 0x1d, 0x11}; /* 2.5.29.17 */
    struct slice ext;
    while (list.n) {
        unsigned tag;
        struct slice oid;
        struct slice value;
        if (!expect(&list, TAG_SEQUENCE, &ext) || !expect(&ext, TAG_OID, &oid) ||
            !element(&ext, &tag, &value)) {
            return false;
        }
        if (tag == 0x01 && !expect(&ext, TAG_OCTET_STRING, &value)) { /* behind "critical" */
            return false;
        }
        if (oid.n == sizeof(alt_oid) && memcmp(oid.p, alt_oid, sizeof(alt_oid)) == 0) {
            return expect(&value, TAG_SEQUENCE, &out->alt_names);
        }
    }
    return true;
}

bool x509_read(struct slice der, struct x509_facts *out)
{
    struct slice certificate;
    struct slice tbs;
    *out = (struct x509_facts){.not_before_ms = 0};
    if (!expect(&der, TAG_SEQUENCE, &certificate) || !expect(&certificate, TAG_SEQUENCE, &tbs) ||
        (next_is(tbs, TAG_CONTEXT_0) && !skip(&tbs, TAG_CONTEXT_0)) /* version */ ||
        !skip(&tbs, TAG_INTEGER) /* serial number */ ||
        !skip(&tbs, TAG_SEQUENCE) /* signature algorithm */ ||
        !skip(&tbs, TAG_SEQUENCE) /* issuer */ || !read_validity(&tbs, out) ||
        !skip(&tbs, TAG_SEQUENCE) /* subject */ || !read_public_key(&tbs, out)) {
        return false;
    }
    while (tbs.n) { /* unique identifiers, which nobody has, and the extensions */
        unsigned tag;
        struct slice contents;
        struct slice list;
        if (!element(&tbs, &tag, &contents)) {
            return false;
        }
        if (tag == TAG_CONTEXT_3) {
            return expect(&contents, TAG_SEQUENCE, &list) && read_alt_names(list, out);
        }
    }
    return true;
}

bool x509_next_name(struct slice *alt_names, struct x509_name *out)
{
    unsigned tag;
    while (element(alt_names, &tag, &out->value)) {
        out->is_ip = tag == TAG_ALT_IP;
        if (tag == TAG_ALT_DNS || (out->is_ip && (out->value.n == 4 || out->value.n == 16))) {
            return true;
        }
    }
    return false;
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* SEC 1 (RFC 5915): version, key, [0] parameters, [1] public key. */
static enum x509_pair fits_ec(const struct x509_facts *facts, struct slice key)
{
    struct slice wrapped;
    struct slice point;
    if (!skip(&key, TAG_INTEGER) || !skip(&key, TAG_OCTET_STRING) ||
        (next_is(key, TAG_CONTEXT_0) && !skip(&key, TAG_CONTEXT_0)) ||
        !expect(&key, TAG_CONTEXT_1, &wrapped) || !bit_string(&wrapped, &point)) {
        return X509_PAIR_UNKNOWN;
    }
    return slice_eq(point, facts->public_key) ? X509_PAIR_FITS : X509_PAIR_DIFFERS;
}

/* PKCS #1 (RFC 8017): version, modulus, public exponent, ...; the public key is the latter two. */
static enum x509_pair fits_rsa(const struct x509_facts *facts, struct slice key)
{
    struct slice public_key = facts->public_key;
    struct slice numbers;
    struct slice a[2];
    struct slice b[2];
    if (!skip(&key, TAG_INTEGER) || !expect(&key, TAG_INTEGER, &a[0]) ||
        !expect(&key, TAG_INTEGER, &a[1])) {
        return X509_PAIR_UNKNOWN;
    }
    if (!expect(&public_key, TAG_SEQUENCE, &numbers) || !expect(&numbers, TAG_INTEGER, &b[0]) ||
        !expect(&numbers, TAG_INTEGER, &b[1])) {
        return X509_PAIR_DIFFERS;
    }
    return slice_eq(a[0], b[0]) && slice_eq(a[1], b[1]) ? X509_PAIR_FITS : X509_PAIR_DIFFERS;
}

enum x509_pair x509_fits(const struct x509_facts *facts, struct slice key)
{
    struct slice outer;
    if (!expect(&key, TAG_SEQUENCE, &outer)) {
        return X509_PAIR_UNKNOWN;
    }
    struct slice in = outer;
    if (!skip(&in, TAG_INTEGER)) {
        return X509_PAIR_UNKNOWN;
    }
    if (next_is(in, TAG_OCTET_STRING)) {
        return fits_ec(facts, outer);
    }
    if (next_is(in, TAG_INTEGER)) {
        return fits_rsa(facts, outer);
    }
    struct slice inner; /* PKCS #8 (RFC 5958): version, algorithm, the key in its own form */
    struct slice own;
    if (!skip(&in, TAG_SEQUENCE) || !expect(&in, TAG_OCTET_STRING, &inner) ||
        !expect(&inner, TAG_SEQUENCE, &own)) {
        return X509_PAIR_UNKNOWN;
    }
    in = own;
    if (!skip(&in, TAG_INTEGER)) {
        return X509_PAIR_UNKNOWN;
    }
    return next_is(in, TAG_OCTET_STRING) ? fits_ec(facts, own) : fits_rsa(facts, own);
}
