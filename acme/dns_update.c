/* In: a record, a key, an answer. Out: a signed message, or whether the answer is good. */
#include "acme/dns_update.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>

#include "proxy/base/clock.h"

#define OPCODE_UPDATE 0x2800
#define FUDGE_S 300
#define SIGNED_MAX ((size_t)66000)

static const struct {
    const char *name;
    const EVP_MD *(*hash)(void);
} algorithms[] = {
    {"hmac-sha1", EVP_sha1},     {"hmac-sha224", EVP_sha224}, {"hmac-sha256", EVP_sha256},
    {"hmac-sha384", EVP_sha384}, {"hmac-sha512", EVP_sha512},
};

static struct slice undotted(struct slice s)
{
    return s.n > 1 && s.p[s.n - 1] == '.' ? slice_upto(s, s.n - 1) : s;
}

static bool decode_secret(struct tsig_key *k, struct slice text)
{
    size_t pad = 0;
    if (text.n == 0 || text.n % 4 || text.n / 4 * 3 > TSIG_SECRET_MAX) {
        return false;
    }
    while (pad < 2 && text.p[text.n - 1 - pad] == '=') {
        pad++;
    }
    int n = EVP_DecodeBlock(k->secret, (const unsigned char *)text.p, (int)text.n);
    k->secret_n = n > 0 ? (size_t)n - pad : 0;
    return n > 0;
}

bool tsig_key_init(struct tsig_key *k, struct slice name, struct slice algorithm,
                   struct slice secret, struct err *err)
{
    *k = (struct tsig_key){.name = undotted(name)};
    for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) {
        if (slice_eq_case(undotted(algorithm), slice_str(algorithms[i].name))) {
            k->algorithm = algorithms[i].name;
            k->hash = algorithms[i].hash();
        }
    }
    if (!k->hash) {
        return err_set(err, "key_alg is one of hmac-sha256, hmac-sha512, hmac-sha384, hmac-sha224"
                            " and hmac-sha1");
    }
    if (!dns_name_plain(k->name)) {
        return err_set(err, "key_name \"%.*s\" is no name", SLICE_ARG(k->name));
    }
    return decode_secret(k, secret) || err_set(err, "key is no base64");
}

void tsig_key_fini(struct tsig_key *k)
{
    OPENSSL_cleanse(k->secret, sizeof(k->secret));
}

bool dns_put_update(struct dstr *out, unsigned id, struct slice zone, struct slice name,
                    struct slice value, bool add, uint32_t ttl)
{
    dns_put_u16(out, id);
    dns_put_u16(out, OPCODE_UPDATE);
    dns_put_u16(out, 1); /* the zone */
    dns_put_u16(out, 0); /* no conditions */
    dns_put_u16(out, 1); /* one change */
    dns_put_u16(out, 0);
    if (value.n > 255 || !dns_put_name(out, zone)) {
        return false;
    }
    dns_put_u16(out, DNS_SOA);
    dns_put_u16(out, DNS_IN);
    if (!dns_put_name(out, name)) {
        return false;
    }
    dns_put_u16(out, DNS_TXT);
    dns_put_u16(out, add ? DNS_IN : DNS_CLASS_NONE); /* RFC 2136 sections 2.5.1 and 2.5.4 */
    dns_put_u32(out, add ? ttl : 0);
    dns_put_u16(out, (unsigned)value.n + 1);
    dstr_byte(out, (char)value.n);
    dstr_append(out, value);
    return !out->failed;
}

static void put_time(struct dstr *out, int64_t s)
{
    dns_put_u16(out, (unsigned)(s >> 32) & 0xffff);
    dns_put_u32(out, (uint32_t)s);
}

/* The variables that are signed with a message (RFC 8945 section 4.3.3). */
static bool put_variables(const struct tsig_key *k, struct dstr *out, int64_t time_s,
                          unsigned fudge, unsigned error, struct slice other)
{
    if (!dns_put_name(out, k->name)) {
        return false;
    }
    dns_put_u16(out, DNS_CLASS_ANY);
    dns_put_u32(out, 0);
    if (!dns_put_name(out, slice_str(k->algorithm))) {
        return false;
    }
    put_time(out, time_s);
    dns_put_u16(out, fudge);
    dns_put_u16(out, error);
    dns_put_u16(out, (unsigned)other.n);
    dstr_append(out, other);
    return !out->failed;
}

static bool hmac(const struct tsig_key *k, struct slice text, struct tsig_mac *mac)
{
    unsigned n = 0;
    bool ok = HMAC(k->hash, k->secret, (int)k->secret_n, (const unsigned char *)text.p, text.n,
                   mac->bytes, &n) != NULL;
    mac->n = n;
    return ok;
}

bool tsig_sign(const struct tsig_key *k, struct dstr *msg, int64_t now_s, struct tsig_mac *mac)
{
    struct dstr text, data;
    unsigned id = (unsigned)(unsigned char)msg->p[0] << 8 | (unsigned char)msg->p[1];
    dstr_init(&text, SIGNED_MAX);
    dstr_init(&data, 1024);
    dstr_append(&text, dstr_slice(msg));
    bool ok = put_variables(k, &text, now_s, FUDGE_S, 0, (struct slice){NULL, 0}) &&
              hmac(k, dstr_slice(&text), mac) && dns_put_name(&data, slice_str(k->algorithm));
    put_time(&data, now_s);
    dns_put_u16(&data, FUDGE_S);
    dns_put_u16(&data, (unsigned)mac->n);
    dstr_append(&data, slice_of(mac->bytes, mac->n));
    dns_put_u16(&data, id);
    dns_put_u16(&data, 0);
    dns_put_u16(&data, 0);
    ok = ok && dns_put_name(msg, k->name);
    dns_put_u16(msg, DNS_TSIG);
    dns_put_u16(msg, DNS_CLASS_ANY);
    dns_put_u32(msg, 0);
    dns_put_u16(msg, (unsigned)data.n);
    dstr_append(msg, dstr_slice(&data));
    ok = ok && !msg->failed && !data.failed;
    msg->p[11] = 1; /* one additional record */
    dstr_fini(&data);
    dstr_fini(&text);
    return ok;
}

/* The parts of a TSIG record's data. */
struct tsig_record {
    char algorithm[DNS_TEXT_BYTES];
    int64_t time_s;
    unsigned fudge, original_id, error;
    struct slice mac, other;
};

static unsigned u16_of(struct slice s)
{
    return (unsigned)(unsigned char)s.p[0] << 8 | (unsigned char)s.p[1];
}

/* The algorithm is never compressed (RFC 8945 section 4.2). */
static bool read_tsig(const struct dns_message *m, const struct dns_record *r,
                      struct tsig_record *t)
{
    struct slice d = r->data;
    if (!dns_data_name(m, r, t->algorithm)) {
        return false;
    }
    d = slice_from(d, strlen(t->algorithm) + 2);
    if (d.n < 10) {
        return false;
    }
    t->time_s = (int64_t)u16_of(d) << 32 | (int64_t)u16_of(slice_from(d, 2)) << 16 |
                u16_of(slice_from(d, 4));
    t->fudge = u16_of(slice_from(d, 6));
    size_t mac_n = u16_of(slice_from(d, 8));
    d = slice_from(d, 10);
    t->mac = slice_upto(d, mac_n);
    d = slice_from(d, mac_n);
    if (t->mac.n != mac_n || d.n < 6) {
        return false;
    }
    t->original_id = u16_of(d);
    t->error = u16_of(slice_from(d, 2));
    t->other = slice_from(d, 6);
    return u16_of(slice_from(d, 4)) == t->other.n;
}

static bool mac_ok(const struct tsig_key *k, const struct dns_message *m,
                   const struct dns_record *r, const struct tsig_record *t,
                   const struct tsig_mac *request)
{
    struct dstr text;
    struct tsig_mac mac;
    dstr_init(&text, 2 * SIGNED_MAX);
    dns_put_u16(&text, (unsigned)request->n);
    dstr_append(&text, slice_of(request->bytes, request->n));
    size_t at = text.n;
    dstr_append(&text, slice_upto(m->bytes, r->start));
    bool ok = put_variables(k, &text, t->time_s, t->fudge, t->error, t->other);
    if (ok) {
        unsigned additional = m->counts[DNS_ADDITIONAL] - 1;
        text.p[at] = (char)(t->original_id >> 8);
        text.p[at + 1] = (char)t->original_id;
        text.p[at + 10] = (char)(additional >> 8);
        text.p[at + 11] = (char)additional;
        ok = hmac(k, dstr_slice(&text), &mac) && t->mac.n == mac.n &&
             CRYPTO_memcmp(t->mac.p, mac.bytes, mac.n) == 0;
    }
    dstr_fini(&text);
    return ok;
}

static bool refused(unsigned rcode, const struct tsig_record *t, struct err *err)
{
    switch (t ? t->error : 0) {
    case 16:
        return err_set(err, "it says BADSIG: the key is not the one it knows by that name");
    case 17:
        return err_set(err, "it says BADKEY: it does not know key_name, or not with key_alg");
    case 18:
        return err_set(err, "it says BADTIME: its clock and ours differ by more than minutes");
    default:
        break;
    }
    switch (rcode) {
    case DNS_REFUSED:
        return err_set(err, "it says REFUSED: may the key update this name?");
    case DNS_NOTAUTH:
        return err_set(err, "it says NOTAUTH: it is not the zone's primary, or the key is wrong");
    default:
        return err_set(err, "it answers with code %u", rcode);
    }
}

bool tsig_answer_ok(const struct tsig_key *k, struct slice answer, unsigned id,
                    const struct tsig_mac *request, int64_t now_s, struct err *err)
{
    struct dns_message m;
    struct dns_record r;
    struct tsig_record t;
    bool is_signed = false;
    if (!dns_read(answer, &m) || !m.response || m.id != id) {
        return err_set(err, "it sent what is no answer");
    }
    while (dns_next(&m, &r)) {
        is_signed = r.section == DNS_ADDITIONAL && r.type == DNS_TSIG;
    }
    is_signed = is_signed && read_tsig(&m, &r, &t);
    if (m.rcode != DNS_NOERROR) {
        return refused(m.rcode, is_signed ? &t : NULL, err);
    }
    int64_t apart = is_signed ? (t.time_s > now_s ? t.time_s - now_s : now_s - t.time_s) : 0;
    if (!is_signed || !mac_ok(k, &m, &r, &t, request) || apart > (int64_t)t.fudge) {
        return err_set(err, "its answer is not signed with the key");
    }
    return true;
}
