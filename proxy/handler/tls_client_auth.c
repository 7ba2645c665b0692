/* client_auth in tls's block: certificates that clients must show.
 *
 *     client_auth {
 *         mode request|require|verify_if_given|require_and_verify
 *         trusted_ca_cert <base64 of DER>       trusted_ca_cert_file <file>...
 *         trusted_leaf_cert <base64 of DER>     trusted_leaf_cert_file <file>...
 *         trust_pool inline { trust_der <base64 of DER>... }
 *         trust_pool file <file>... | { pem_file <file>... }
 *         trust_pool system
 *         verifier leaf { file <file>... }
 *     }
 *
 * Without a mode: require_and_verify if anything is trusted, else require. Modes that verify
 * without a trust pool trust what the system trusts. */
#include "proxy/handler/handler.h"

#define CERTIFICATES_MAX 1024

static void add_text(struct build *b, struct slice *to, struct slice pem)
{
    *to = arena_printf(b->arena, "%.*s%.*s\n", SLICE_ARG(*to), SLICE_ARG(pem));
    must(to->p);
}

static bool add_files(struct build *b, struct slice *to, const struct cf_token *files, size_t count,
                      const struct cf_token *at)
{
    if (count == 0) {
        cf_error(b->diags, at, "\"%.*s\" needs at least one PEM file", SLICE_ARG(at->text));
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        struct slice pem;
        if (!tls_read_file(b, &files[i], &pem)) {
            return false;
        }
        add_text(b, to, pem);
    }
    return true;
}

/* Base64 of a certificate's DER is PEM without its frame. */
static bool add_der(struct build *b, struct slice *to, const struct cf_directive *d)
{
    if (!expect_args(b, d, d->arg_count, 1, CERTIFICATES_MAX) || !expect_no_block(b, d)) {
        return false;
    }
    for (size_t i = 0; i < d->arg_count; i++) {
        struct slice rest = d->args[i].text;
        struct slice body = S("");
        for (; rest.n; rest = slice_from(rest, 64)) {
            add_text(b, &body, slice_upto(rest, 64));
        }
        add_text(b, to, arena_printf(b->arena, "-----BEGIN CERTIFICATE-----\n%.*s"
                                     "-----END CERTIFICATE-----", SLICE_ARG(body)));
    }
    return true;
}

static bool read_mode(struct build *b, struct tls_settings *t, const struct cf_directive *d)
{
    static const struct {
        struct slice name;
        enum tls_client_mode mode;
    } modes[] = {
        {S_INIT("request"), TLS_CLIENT_REQUEST},
        {S_INIT("require"), TLS_CLIENT_REQUIRE},
        {S_INIT("verify_if_given"), TLS_CLIENT_VERIFY_IF_GIVEN},
        {S_INIT("require_and_verify"), TLS_CLIENT_REQUIRE_AND_VERIFY},
    };
    if (!expect_args(b, d, d->arg_count, 1, 1)) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        if (slice_eq(d->args[0].text, modes[i].name)) {
            t->policy.client = modes[i].mode;
            t->mode_given = true;
            return true;
        }
    }
    cf_error(b->diags, &d->args[0], "\"%.*s\" is no mode: request, require, verify_if_given,"
             " require_and_verify", SLICE_ARG(d->args[0].text));
    return false;
}

static bool not_here(struct build *b, const struct cf_token *token, const char *what)
{
    struct cf_diag *diag = cf_error(b->diags, token, "the %s \"%.*s\" is not in caddis (yet)", what,
                                    SLICE_ARG(token->text));
    if (diag && slice_starts(token->text, S("pki_"))) {
        diag->hint = S("the local CA's root is a file of the storage folder:"
                       " trust_pool file <storage>/pki/authorities/local/root.crt");
    }
    return false;
}

/* The lines of a block, all of one name. */
static bool each_line(struct build *b, const struct cf_directive *d, struct slice name,
                      bool (*add)(struct build *b, struct slice *to, const struct cf_directive *d),
                      struct slice *to)
{
    bool ok = true;
    if (!d->children) {
        cf_error(b->diags, &d->name, "a block is needed here: { %.*s ... }", SLICE_ARG(name));
        return false;
    }
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        if (slice_eq(o->name.text, name)) {
            ok = add(b, to, o) && ok;
        } else {
            cf_error(b->diags, &o->name, "here it is %.*s, not \"%.*s\"", SLICE_ARG(name),
                     SLICE_ARG(o->name.text));
            ok = false;
        }
    }
    return ok;
}

static bool add_file_line(struct build *b, struct slice *to, const struct cf_directive *d)
{
    return expect_no_block(b, d) && add_files(b, to, d->args, d->arg_count, &d->name);
}

static bool read_trust_pool(struct build *b, struct tls_settings *t, const struct cf_directive *d)
{
    struct slice *roots = &t->policy.roots_pem;
    if (!expect_args(b, d, d->arg_count, 1, CERTIFICATES_MAX)) {
        return false;
    }
    struct slice kind = d->args[0].text;
    if (slice_eq(kind, S("file"))) {
        return d->arg_count > 1 || !d->children
                   ? add_files(b, roots, d->args + 1, d->arg_count - 1, &d->name)
                   : each_line(b, d, S("pem_file"), add_file_line, roots);
    }
    if (!expect_args(b, d, d->arg_count, 1, 1)) {
        return false;
    }
    if (slice_eq(kind, S("inline"))) {
        return each_line(b, d, S("trust_der"), add_der, roots);
    }
    if (slice_eq(kind, S("system"))) {
        t->policy.system_roots = true;
        return expect_no_block(b, d);
    }
    return not_here(b, &d->args[0], "trust pool");
}

static bool read_verifier(struct build *b, struct tls_settings *t, const struct cf_directive *d)
{
    struct slice *leafs = &t->policy.leafs_pem;
    if (!expect_args(b, d, d->arg_count, 1, CERTIFICATES_MAX)) {
        return false;
    }
    if (!slice_eq(d->args[0].text, S("leaf"))) {
        return not_here(b, &d->args[0], "verifier");
    }
    if (d->arg_count == 1) {
        return each_line(b, d, S("file"), add_file_line, leafs);
    }
    if (!slice_eq(d->args[1].text, S("file"))) {
        return not_here(b, &d->args[1], "source of leaf certificates");
    }
    return add_files(b, leafs, d->args + 2, d->arg_count - 2, &d->name);
}

static bool read_line(struct build *b, struct tls_settings *t, const struct cf_directive *d)
{
    static const struct slice names[] = {
        S_INIT("mode"),              S_INIT("trust_pool"),
        S_INIT("verifier"),          S_INIT("trusted_ca_cert"),
        S_INIT("trusted_leaf_cert"), S_INIT("trusted_ca_cert_file"),
        S_INIT("trusted_leaf_cert_file"),
    };
    struct slice name = d->name.text;
    if (slice_eq(name, S("mode"))) {
        return read_mode(b, t, d);
    }
    if (slice_eq(name, S("trust_pool"))) {
        return read_trust_pool(b, t, d);
    }
    if (slice_eq(name, S("verifier"))) {
        return read_verifier(b, t, d);
    }
    if (slice_eq(name, S("trusted_ca_cert"))) {
        return add_der(b, &t->policy.roots_pem, d);
    }
    if (slice_eq(name, S("trusted_leaf_cert"))) {
        return add_der(b, &t->policy.leafs_pem, d);
    }
    if (slice_eq(name, S("trusted_ca_cert_file"))) {
        return add_file_line(b, &t->policy.roots_pem, d);
    }
    if (slice_eq(name, S("trusted_leaf_cert_file"))) {
        return add_file_line(b, &t->policy.leafs_pem, d);
    }
    struct cf_diag *diag = cf_error(b->diags, &d->name, "client_auth has no \"%.*s\"",
                                    SLICE_ARG(name));
    cf_did_you_mean(b->diags, diag, name, names, ARRAY_LEN(names));
    return false;
}

/* What is trusted must be of use. */
static bool check(struct build *b, const struct tls_settings *t, const struct cf_directive *d)
{
    const struct tls_policy_spec *p = &t->policy;
    bool trusts = p->roots_pem.n || p->leafs_pem.n || p->system_roots;
    if (trusts && p->client < TLS_CLIENT_VERIFY_IF_GIVEN) {
        cf_error(b->diags, &d->name, "the modes request and require let every certificate in, so"
                 " that nothing is done with what is trusted here; use verify_if_given or"
                 " require_and_verify");
        return false;
    }
    if (!trusts && p->client >= TLS_CLIENT_VERIFY_IF_GIVEN) {
        cf_warning(b->diags, &d->name, "without trust_pool, every client certificate of a public CA"
                   " is let in");
    }
    return true;
}

TLS_SUBDIRECTIVE(tls_read_client_auth)
{
    t->policy_token = t->policy_token ? t->policy_token : &d->name;
    bool ok = expect_args(b, d, d->arg_count, 0, 0);
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        ok = read_line(b, t, o) && ok;
    }
    bool trusts = t->policy.roots_pem.n || t->policy.leafs_pem.n || t->policy.system_roots;
    if (!t->mode_given) {
        t->policy.client = trusts ? TLS_CLIENT_REQUIRE_AND_VERIFY : TLS_CLIENT_REQUIRE;
    }
    return ok && check(b, t, d);
}
