/* Placeholders of the certificate a client has shown, in the forms of Go, as Caddy shows them.
 * Empty where none was shown. */
#include "proxy/base/enc.h"
#include "proxy/net/stream.h"
#include "proxy/route/placeholder.h"

#define TEXT_MAX_BYTES ((size_t)512 * 1024)

static const struct stream_client_certificate *shown(const struct exchange *ex)
{
    static const struct stream_client_certificate none;
    return ex->client.tls && ex->client.tls->client ? ex->client.tls->client : &none;
}

static struct slice keep(struct exchange *ex, struct dstr *text)
{
    struct slice out = text->failed ? S("") : arena_copy(&ex->arena, dstr_slice(text));
    dstr_fini(text);
    return out;
}

static struct slice subject(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return shown(ex)->subject;
}

static struct slice issuer(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return shown(ex)->issuer;
}

static struct slice serial(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return shown(ex)->serial;
}

static struct slice fingerprint(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return shown(ex)->fingerprint;
}

static struct slice public_key(struct exchange *ex, struct slice arg)
{
    (void)arg;
    struct dstr text;
    dstr_init(&text, TEXT_MAX_BYTES);
    enc_hex(&text, shown(ex)->public_key);
    return keep(ex, &text);
}

static struct slice public_key_sha256(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return shown(ex)->public_key_sha256;
}

static struct slice der_base64(struct exchange *ex, struct slice arg)
{
    (void)arg;
    struct dstr text;
    dstr_init(&text, TEXT_MAX_BYTES);
    enc_base64(&text, shown(ex)->der);
    return keep(ex, &text);
}

static struct slice pem(struct exchange *ex, struct slice arg)
{
    struct slice rest = der_base64(ex, arg);
    struct dstr text;
    if (!rest.n) {
        return S("");
    }
    dstr_init(&text, TEXT_MAX_BYTES);
    dstr_append(&text, S("-----BEGIN CERTIFICATE-----\n"));
    for (; rest.n; rest = slice_from(rest, 64)) {
        dstr_append(&text, slice_upto(rest, 64));
        dstr_byte(&text, '\n');
    }
    dstr_append(&text, S("-----END CERTIFICATE-----\n"));
    return keep(ex, &text);
}

/* ---- subject alternative names: "[a b]", or one by its number -------------------------------- */

static struct slice all_names(struct exchange *ex, enum stream_alt_kind kind)
{
    const struct stream_client_certificate *c = shown(ex);
    struct dstr text;
    if (!c->der.n) {
        return S("");
    }
    dstr_init(&text, TEXT_MAX_BYTES);
    dstr_byte(&text, '[');
    for (size_t i = 0; i < c->alt_count; i++) {
        if (c->alt_names[i].kind == kind) {
            dstr_append(&text, text.n > 1 ? S(" ") : S(""));
            dstr_append(&text, c->alt_names[i].value);
        }
    }
    dstr_byte(&text, ']');
    return keep(ex, &text);
}

static struct slice one_name(struct exchange *ex, enum stream_alt_kind kind, struct slice number)
{
    const struct stream_client_certificate *c = shown(ex);
    uint64_t index;
    if (!slice_u64(number, c->alt_count, &index)) {
        return S("");
    }
    for (size_t i = 0; i < c->alt_count; i++) {
        if (c->alt_names[i].kind == kind && index-- == 0) {
            return c->alt_names[i].value;
        }
    }
    return S("");
}

#define ALT_NAMES(name, kind)                                                  \
    static struct slice name(struct exchange *ex, struct slice arg)            \
    {                                                                          \
        return arg.n ? one_name(ex, kind, arg) : all_names(ex, kind);          \
    }

ALT_NAMES(dns_names, ALT_DNS)
ALT_NAMES(emails, ALT_EMAIL)
ALT_NAMES(ips, ALT_IP)
ALT_NAMES(uris, ALT_URI)

static const struct placeholder rows[] = {
    {.name = "http.request.tls.client.subject", .value = subject},
    {.name = "http.request.tls.client.issuer", .value = issuer},
    {.name = "http.request.tls.client.serial", .value = serial},
    {.name = "http.request.tls.client.fingerprint", .value = fingerprint},
    {.name = "http.request.tls.client.public_key", .value = public_key},
    {.name = "http.request.tls.client.public_key_sha256", .value = public_key_sha256},
    {.name = "http.request.tls.client.certificate_pem", .value = pem},
    {.name = "http.request.tls.client.certificate_der_base64", .value = der_base64},
    {.name = "http.request.tls.client.san.dns_names", .value = dns_names},
    {.name = "http.request.tls.client.san.dns_names.", .value = dns_names},
    {.name = "http.request.tls.client.san.emails", .value = emails},
    {.name = "http.request.tls.client.san.emails.", .value = emails},
    {.name = "http.request.tls.client.san.ips", .value = ips},
    {.name = "http.request.tls.client.san.ips.", .value = ips},
    {.name = "http.request.tls.client.san.uris", .value = uris},
    {.name = "http.request.tls.client.san.uris.", .value = uris},
};

const struct placeholder_table placeholders_of_client = {rows, ARRAY_LEN(rows)};
