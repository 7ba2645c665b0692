/* client_auth in tls's block: certificates that clients must show.
 *
 *     client_auth {
 *         mode request|require|verify_if_given|require_and_verify
 *         trust_pool ...                        verifier leaf ...          (tls_trust.c)
 *         trusted_ca_cert <base64 of DER>       trusted_ca_cert_file <file>...
 *         trusted_leaf_cert <base64 of DER>     trusted_leaf_cert_file <file>...
 *     }
 *
 * Without a mode: require_and_verify if anything is trusted, else require. Modes that verify
 * without a trust pool trust what the system trusts. */
#include "proxy/handler/handler.h"

static TLS_SUBDIRECTIVE(read_mode)
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

static const struct {
    struct slice name;
    tls_subdirective_fn *read;
} table[] = {
    {S_INIT("mode"), read_mode},
    {S_INIT("trust_pool"), tls_read_trust_pool},
    {S_INIT("verifier"), tls_read_verifier},
    {S_INIT("trusted_ca_cert"), tls_read_trusted_text},
    {S_INIT("trusted_leaf_cert"), tls_read_trusted_text},
    {S_INIT("trusted_ca_cert_file"), tls_read_trusted_files},
    {S_INIT("trusted_leaf_cert_file"), tls_read_trusted_files},
};

static bool read_line(struct build *b, struct tls_settings *t, const struct cf_directive *d)
{
    struct slice names[ARRAY_LEN(table)];
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        names[i] = table[i].name;
        if (slice_eq(d->name.text, table[i].name)) {
            return table[i].read(b, t, d);
        }
    }
    struct cf_diag *diag = cf_error(b->diags, &d->name, "client_auth has no \"%.*s\"",
                                    SLICE_ARG(d->name.text));
    cf_did_you_mean(b->diags, diag, d->name.text, names, ARRAY_LEN(names));
    return false;
}

static bool trusts_something(const struct tls_policy_spec *p)
{
    return p->roots_pem.n || p->leafs_pem.n || p->system_roots || p->source_count;
}

/* What is trusted must be of use. */
static bool check(struct build *b, const struct tls_settings *t, const struct cf_directive *d)
{
    const struct tls_policy_spec *p = &t->policy;
    if (trusts_something(p) && p->client < TLS_CLIENT_VERIFY_IF_GIVEN) {
        cf_error(b->diags, &d->name, "the modes request and require let every certificate in, so"
                 " that nothing is done with what is trusted here; use verify_if_given or"
                 " require_and_verify");
        return false;
    }
    if (!trusts_something(p) && p->client >= TLS_CLIENT_VERIFY_IF_GIVEN) {
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
    if (!t->mode_given) {
        t->policy.client = trusts_something(&t->policy) ? TLS_CLIENT_REQUIRE_AND_VERIFY
                                                        : TLS_CLIENT_REQUIRE;
    }
    return ok && check(b, t, d);
}
