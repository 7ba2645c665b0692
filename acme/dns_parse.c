/* In: bytes from name servers. Out: records as views of them. Every step is checked against the
 * message's length; compression pointers go backwards only, so that reading a name ends. */
#include "acme/dns_parse.h"

#define HEADER_BYTES ((size_t)12)
#define LABEL_MAX ((size_t)63)
#define NAME_WIRE_MAX ((size_t)255)

void dns_put_u16(struct dstr *out, unsigned value)
{
    dstr_byte(out, (char)(value >> 8));
    dstr_byte(out, (char)value);
}

void dns_put_u32(struct dstr *out, uint32_t value)
{
    dns_put_u16(out, value >> 16);
    dns_put_u16(out, value & 0xffff);
}

bool dns_name_plain(struct slice name)
{
    struct slice label;
    if (name.n == 0 || name.n > NAME_WIRE_MAX - 2) {
        return false;
    }
    while (slice_cut(&name, '.', &label)) {
        if (label.n == 0 || label.n > LABEL_MAX) {
            return false;
        }
        for (size_t i = 0; i < label.n; i++) {
            char c = label.p[i];
            if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '-' && c != '_') {
                return false;
            }
        }
    }
    return true;
}

bool dns_put_name(struct dstr *out, struct slice name)
{
    struct slice label;
    if (!dns_name_plain(name)) {
        return false;
    }
    while (slice_cut(&name, '.', &label)) {
        dstr_byte(out, (char)label.n);
        for (size_t i = 0; i < label.n; i++) {
            dstr_byte(out, ascii_lower(label.p[i]));
        }
    }
    dstr_byte(out, 0);
    return !out->failed;
}

bool dns_put_question(struct dstr *out, unsigned id, struct slice name, unsigned type,
                      bool recursion)
{
    dns_put_u16(out, id);
    dns_put_u16(out, recursion ? 0x0100 : 0);
    dns_put_u16(out, 1);
    dns_put_u16(out, 0);
    dns_put_u16(out, 0);
    dns_put_u16(out, 0);
    if (!dns_put_name(out, name)) {
        return false;
    }
    dns_put_u16(out, type);
    dns_put_u16(out, DNS_IN);
    return !out->failed;
}

static unsigned u16_at(struct slice b, size_t at)
{
    return (unsigned)((unsigned char)b.p[at] << 8) | (unsigned char)b.p[at + 1];
}

/* Moves *at behind the name. out may be NULL. */
static bool read_name(struct slice b, size_t *at, char *out)
{
    size_t i = *at, n = 0, wire = 1;
    size_t limit = b.n; /* pointers lead only in front of where they stand */
    bool jumped = false;
    for (;;) {
        if (i >= b.n) {
            return false;
        }
        unsigned len = (unsigned char)b.p[i];
        if (len >= 0xc0) {
            size_t to = i + 1 < b.n ? ((size_t)(len & 0x3f) << 8) | (unsigned char)b.p[i + 1] : b.n;
            if (to >= i || to >= limit) {
                return false;
            }
            *at = jumped ? *at : i + 2;
            jumped = true;
            limit = to;
            i = to;
            continue;
        }
        if (len > LABEL_MAX || i + 1 + len > b.n || (wire += len + 1) > NAME_WIRE_MAX) {
            return false;
        }
        if (len == 0) {
            *at = jumped ? *at : i + 1;
            if (out) {
                out[n ? n - 1 : 0] = '\0';
            }
            return true;
        }
        for (unsigned k = 0; out && k < len; k++) {
            char c = b.p[i + 1 + k];
            out[n++] = c > ' ' && c < 0x7f && c != '.' ? ascii_lower(c) : '?';
        }
        if (out) {
            out[n++] = '.';
        }
        i += 1 + len;
    }
}

bool dns_read(struct slice bytes, struct dns_message *m)
{
    if (bytes.n < HEADER_BYTES || bytes.n > DNS_MESSAGE_MAX) {
        return false;
    }
    unsigned flags = u16_at(bytes, 2), questions = u16_at(bytes, 4);
    *m = (struct dns_message){.bytes = bytes,
                              .id = u16_at(bytes, 0),
                              .rcode = flags & 15,
                              .response = flags & 0x8000,
                              .truncated = flags & 0x0200,
                              .counts = {u16_at(bytes, 6), u16_at(bytes, 8), u16_at(bytes, 10)},
                              .at = HEADER_BYTES};
    for (unsigned i = 0; i < questions; i++) {
        if (!read_name(bytes, &m->at, NULL) || bytes.n - m->at < 4) {
            return false;
        }
        m->at += 4;
    }
    m->left = m->counts[0];
    return true;
}

bool dns_next(struct dns_message *m, struct dns_record *r)
{
    while (m->left == 0) {
        if (m->section == DNS_ADDITIONAL) {
            return false;
        }
        m->left = m->counts[++m->section];
    }
    r->section = (enum dns_section)m->section;
    r->start = m->at;
    if (!read_name(m->bytes, &m->at, r->name) || m->bytes.n - m->at < 10) {
        m->section = DNS_ADDITIONAL;
        m->left = 0;
        return false;
    }
    r->type = u16_at(m->bytes, m->at);
    r->class = u16_at(m->bytes, m->at + 2);
    r->ttl = (uint32_t)u16_at(m->bytes, m->at + 4) << 16 | u16_at(m->bytes, m->at + 6);
    size_t n = u16_at(m->bytes, m->at + 8);
    m->at += 10;
    if (n > m->bytes.n - m->at) {
        m->section = DNS_ADDITIONAL;
        m->left = 0;
        return false;
    }
    r->data = slice_of(m->bytes.p + m->at, n);
    m->at += n;
    m->left--;
    return true;
}

bool dns_data_name(const struct dns_message *m, const struct dns_record *r,
                   char out[DNS_TEXT_BYTES])
{
    size_t at = (size_t)(r->data.p - m->bytes.p);
    size_t end = at + r->data.n;
    return r->data.n > 0 && read_name(m->bytes, &at, out) && at <= end;
}

bool dns_caa(const struct dns_record *r, struct dns_caa *out)
{
    size_t tag = r->data.n > 1 ? (unsigned char)r->data.p[1] : 0;
    if (tag == 0 || tag > r->data.n - 2) {
        return false;
    }
    out->critical = (unsigned char)r->data.p[0] & 0x80;
    out->tag = slice_upto(slice_from(r->data, 2), tag);
    out->value = slice_from(r->data, 2 + tag);
    return true;
}

struct slice dns_text(const struct dns_record *r, char out[DNS_TEXT_MAX])
{
    struct slice data = r->data;
    size_t n = 0;
    while (data.n) {
        struct slice part = slice_upto(slice_from(data, 1), (unsigned char)data.p[0]);
        part = slice_upto(part, DNS_TEXT_MAX - n);
        memcpy(out + n, part.p, part.n);
        n += part.n;
        data = slice_from(data, (size_t)(unsigned char)data.p[0] + 1);
    }
    return slice_of(out, n);
}

bool dns_text_is(const struct dns_record *r, struct slice value)
{
    struct slice data = r->data;
    while (data.n) {
        size_t n = (unsigned char)data.p[0];
        struct slice part = slice_upto(slice_from(data, 1), n);
        if (part.n != n || !slice_starts(value, part)) {
            return false;
        }
        value = slice_from(value, n);
        data = slice_from(data, n + 1);
    }
    return value.n == 0;
}
