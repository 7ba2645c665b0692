/* tls [internal | force_automate | <email> | <cert> <key>] { ... }
 *
 * internal: the site's certificate comes from the local CA. force_automate: a certificate of its
 * own. <email>: the account's address at the public CA. <cert> <key>: PEM files of your own, the
 * leaf first; read when the configuration is loaded (reload to take new ones). The block's lines
 * are read by the functions of the table below, each in the file of its subject. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "proxy/handler/directives.h"
#include "proxy/handler/mistakes.h"
#include "proxy/handler/tls_issuer.h"

#define PEM_MAX_BYTES ((size_t)1 << 20)

bool tls_read_into(struct build *b, const struct cf_token *at, const char *path, struct dstr *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        cf_error(b->diags, at, "%s cannot be read: %s", path, strerror(errno));
        return false;
    }
    ssize_t n = 1;
    while (n > 0) {
        char *to = dstr_reserve(out, 16384);
        n = to ? read(fd, to, 16384) : -1;
        out->n += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    if (n < 0) {
        cf_error(b->diags, at, "%s cannot be read or is larger than 1 MiB", path);
    }
    return n == 0;
}

bool tls_read_file(struct build *b, const struct cf_token *path, struct slice *out)
{
    struct dstr text;
    dstr_init(&text, PEM_MAX_BYTES);
    bool ok = tls_read_into(b, path, path->text.p, &text);
    if (ok) {
        *out = arena_copy(b->arena, dstr_slice(&text));
    }
    dstr_fini(&text);
    return ok && out->p;
}

static void give_up(void *ctx)
{
    cert_source_unref(ctx);
}

void tls_own(struct build *b, struct cert_source *source)
{
    arena_on_fini(b->arena, give_up, source);
}

static bool own_pair(struct build *b, const struct cf_token *cert, const struct cf_token *key)
{
    struct tls_settings *t = &b->site->tls;
    struct dstr chain_pem;
    struct dstr key_pem;
    struct err err;
    dstr_init(&chain_pem, PEM_MAX_BYTES);
    dstr_init(&key_pem, PEM_MAX_BYTES);
    bool ok = tls_read_into(b, cert, cert->text.p, &chain_pem);
    ok = tls_read_into(b, key, key->text.p, &key_pem) && ok;
    t->own = ok ? cert_source_new(dstr_slice(&chain_pem), dstr_slice(&key_pem), &err) : NULL;
    if (t->own) {
        tls_own(b, t->own);
    } else if (ok) {
        cf_error(b->diags, key, "the certificate %.*s and the key %.*s cannot be used: %s",
                 SLICE_ARG(cert->text), SLICE_ARG(key->text), err.text);
    }
    if (key_pem.p) {
        explicit_bzero(key_pem.p, key_pem.cap);
    }
    dstr_fini(&chain_pem);
    dstr_fini(&key_pem);
    return t->own != NULL;
}

/* ---- the block ------------------------------------------------------------------------------- */

static TLS_SUBDIRECTIVE(read_on_demand)
{
    t->on_demand = true;
    return expect_args(b, d, d->arg_count, 0, 0) && expect_no_block(b, d);
}

static TLS_SUBDIRECTIVE(read_force_automate)
{
    t->force_automate = true;
    return expect_args(b, d, d->arg_count, 0, 0) && expect_no_block(b, d);
}

static const struct {
    struct slice name;
    tls_subdirective_fn *read;
} table[] = {
    {S_INIT("protocols"), tls_read_protocols},
    {S_INIT("ciphers"), tls_read_ciphers},
    {S_INIT("curves"), tls_read_curves},
    {S_INIT("alpn"), tls_read_alpn},
    {S_INIT("load"), tls_read_load},
    {S_INIT("client_auth"), tls_read_client_auth},
    {S_INIT("insecure_secrets_log"), tls_read_secrets_log},
    {S_INIT("on_demand"), read_on_demand},
    {S_INIT("ca"), tls_read_issuance},
    {S_INIT("ca_root"), tls_read_issuance},
    {S_INIT("eab"), tls_read_issuance},
    {S_INIT("issuer"), tls_read_issuance},
    {S_INIT("key_type"), tls_read_issuance},
    {S_INIT("renewal_window_ratio"), tls_read_issuance},
    {S_INIT("reuse_private_keys"), tls_read_issuance},
    {S_INIT("force_automate"), read_force_automate},
    {S_INIT("get_certificate"), tls_read_get_certificate},
    {S_INIT("dns"), tls_read_challenges},
    {S_INIT("dns_ttl"), tls_read_challenges},
    {S_INIT("dns_challenge_override_domain"), tls_read_challenges},
    {S_INIT("propagation_delay"), tls_read_challenges},
    {S_INIT("propagation_timeout"), tls_read_challenges},
    {S_INIT("resolvers"), tls_read_challenges},
};

static bool read_line(struct build *b, const struct cf_directive *d)
{
    struct slice names[ARRAY_LEN(table)];
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        names[i] = table[i].name;
        if (slice_eq(d->name.text, table[i].name)) {
            return table[i].read(b, &b->site->tls, d);
        }
    }
    struct cf_diag *diag = cf_error(b->diags, &d->name, "tls has no \"%.*s\"",
                                    SLICE_ARG(d->name.text));
    cf_did_you_mean(b->diags, diag, d->name.text, names, ARRAY_LEN(names));
    return false;
}

static bool read_arguments(struct build *b, const struct cf_token *args, size_t count)
{
    struct tls_settings *t = &b->site->tls;
    if (count == 2) {
        return own_pair(b, &args[0], &args[1]);
    }
    if (slice_eq(args[0].text, S("internal"))) {
        t->internal = true;
    } else if (slice_eq(args[0].text, S("force_automate"))) {
        t->force_automate = true;
    } else if (slice_find(args[0].text, '@') != SLICE_NPOS) {
        t->email = args[0].text;
    } else {
        struct cf_diag *d = cf_error(b->diags, &args[0], "\"tls\" takes internal, force_automate,"
                                     " an e-mail address, or a certificate file and a key file");
        if (d) {
            d->hint = mistake_tls(args[0].text);
        }
        return false;
    }
    return true;
}

bool tls_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
               size_t count, struct handler *out)
{
    (void)out;
    struct tls_settings *t = &b->site->tls;
    if (t->token) {
        cf_error(b->diags, &d->name, "the site has a tls directive already");
        return false;
    }
    t->token = &d->name;
    if (!expect_args(b, d, count, d->children ? 0 : 1, 2)) {
        return false;
    }
    bool ok = count == 0 || read_arguments(b, args, count);
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        ok = read_line(b, o) && ok;
    }
    if (t->internal && t->challenges.dns) {
        cf_warning(b->diags, &t->challenges.dns->name, "\"dns\" has no effect here: with \"tls"
                   " internal\" the local CA signs, which asks for no challenge");
    }
    return ok;
}
