/* tls internal | <email> | <cert> <key>
 *
 * internal: the site's certificate comes from the local CA. <email>: the account's address at the
 * public CA. <cert> <key>: PEM files of your own, the leaf first; read when the configuration is
 * loaded (reload to take new ones). */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "proxy/handler/directives.h"
#include "proxy/tls/certs.h"

#define PEM_MAX_BYTES ((size_t)1 << 20)

/* The whole file in the arena; false after an error at t. */
static bool read_pem(struct build *b, const struct cf_token *t, struct slice *out)
{
    int fd = open(t->text.p, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        cf_error(b->diags, t, "%.*s cannot be read: %s", SLICE_ARG(t->text), strerror(errno));
        return false;
    }
    struct dstr text;
    dstr_init(&text, PEM_MAX_BYTES);
    ssize_t n = 1;
    while (n > 0) {
        char *at = dstr_reserve(&text, 16384);
        n = at ? read(fd, at, 16384) : -1;
        text.n += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    if (n < 0) {
        cf_error(b->diags, t, "%.*s cannot be read or is larger than 1 MiB", SLICE_ARG(t->text));
    } else {
        *out = arena_copy(b->arena, dstr_slice(&text));
    }
    dstr_fini(&text);
    return n == 0 && out->p;
}

static bool own_pair(struct build *b, const struct cf_token *cert, const struct cf_token *key)
{
    struct site_settings *s = b->site;
    bool ok = read_pem(b, cert, &s->own_chain_pem);
    ok = read_pem(b, key, &s->own_key_pem) && ok;
    if (ok && !certs_pair_matches(NULL, s->own_chain_pem, s->own_key_pem)) {
        cf_error(b->diags, key, "the certificate %.*s and the key %.*s do not belong together (or"
                 " are no PEM)", SLICE_ARG(cert->text), SLICE_ARG(key->text));
        return false;
    }
    return ok;
}

bool tls_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
               size_t count, struct handler *out)
{
    (void)out;
    struct site_settings *s = b->site;
    if (s->tls_token) {
        cf_error(b->diags, &d->name, "the site has a tls directive already");
        return false;
    }
    s->tls_token = &d->name;
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        cf_error(b->diags, &o->name, "tls's \"%.*s\" is not in caddis (yet)",
                 SLICE_ARG(o->name.text));
        return false;
    }
    if (!expect_args(b, d, count, 1, 2)) {
        return false;
    }
    if (count == 2) {
        return own_pair(b, &args[0], &args[1]);
    }
    if (slice_eq(args[0].text, S("internal"))) {
        s->tls_internal = true;
    } else if (slice_find(args[0].text, '@') != SLICE_NPOS) {
        s->tls_email = args[0].text;
    } else {
        cf_error(b->diags, &args[0], "\"tls\" takes internal, an e-mail address, or a certificate"
                 " file and a key file");
        return false;
    }
    return true;
}
