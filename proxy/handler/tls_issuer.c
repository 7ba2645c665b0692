/* The part of tls that says who signs: ca, ca_root, eab, key_type, reuse_private_keys,
 * renewal_window_ratio, and
 *
 *   issuer acme [<directory url>] {
 *       dir, test_dir, email, profile, timeout, lifetime, trusted_roots, eab, preferred_chains,
 *       and the lines of challenges.c
 *   }
 *   issuer zerossl [<api key>]
 *   issuer internal { lifetime, sign_with_root }
 *
 * In: directives. Out: struct issuance, whose strings live as long as the document. */
#include "proxy/handler/tls_issuer.h"

#include "proxy/handler/handler.h"

struct reader {
    struct arena *arena;
    struct cf_diags *diags;
    struct issuance *all;
    struct issuer_choice *one; /* inside of issuer; else NULL */
};

static bool count_is(struct reader *r, const struct cf_directive *d, size_t min, size_t max)
{
    if (d->arg_count < min) {
        cf_error(r->diags, &d->name, "\"%.*s\" needs %s", SLICE_ARG(d->name.text),
                 min == 1 ? "a value" : "more values");
    } else if (d->arg_count > max) {
        cf_error(r->diags, &d->args[max], "\"%.*s\" takes %s", SLICE_ARG(d->name.text),
                 max == 0 ? "no value" : "fewer values");
    }
    return d->arg_count >= min && d->arg_count <= max;
}

static void text(struct reader *r, const struct cf_directive *d, struct slice *out)
{
    if (count_is(r, d, 1, 1)) {
        *out = d->args[0].text;
    }
}

static void url_at(struct reader *r, const struct cf_token *t, struct slice *out)
{
    if (!slice_starts(t->text, S("https://")) || t->text.n < 10) {
        struct cf_diag *diag = cf_error(
            r->diags, t, "\"%.*s\" is not the https:// address of a CA's directory",
            SLICE_ARG(t->text));
        if (diag && slice_find(t->text, '.') != SLICE_NPOS &&
            slice_find(t->text, ':') == SLICE_NPOS) {
            diag->hint = arena_printf(&r->diags->arena, "https://%.*s ?", SLICE_ARG(t->text));
        }
        return;
    }
    *out = t->text;
}

static void url(struct reader *r, const struct cf_directive *d, struct slice *out)
{
    if (count_is(r, d, 1, 1)) {
        url_at(r, &d->args[0], out);
    }
}

static void duration(struct reader *r, const struct cf_directive *d, int64_t *out)
{
    if (count_is(r, d, 1, 1) && (!cf_parse_duration(d->args[0].text, out) || *out == 0)) {
        cf_error(r->diags, &d->args[0], "\"%.*s\" is no duration such as 12h or 30d",
                 SLICE_ARG(d->args[0].text));
    }
}

static void flag(struct reader *r, const struct cf_directive *d, bool *out)
{
    *out = count_is(r, d, 0, 0);
}

/* eab <key id> <MAC key> */
static void eab(struct reader *r, const struct cf_directive *d, struct slice *id, struct slice *mac)
{
    if (count_is(r, d, 2, 2)) {
        *id = d->args[0].text;
        *mac = d->args[1].text;
    }
}

static void names(struct reader *r, const struct cf_directive *d, struct slice *list,
                  size_t *count)
{
    if (!count_is(r, d, 1, ISSUER_CHAIN_NAMES_MAX)) {
        return;
    }
    for (size_t i = 0; i < d->arg_count; i++) {
        list[i] = d->args[i].text;
    }
    *count = d->arg_count;
}

/* preferred_chains [smallest] | { root_common_name <name>...; any_common_name <name>... } */
static void read_chains(struct reader *r, const struct cf_directive *d, struct chain_choice *out)
{
    if (!count_is(r, d, 0, 1)) {
        return;
    }
    if (d->arg_count == 1) {
        out->smallest = slice_eq(d->args[0].text, S("smallest"));
        if (!out->smallest) {
            cf_error(r->diags, &d->args[0], "preferred_chains takes smallest, or a block with"
                     " root_common_name or any_common_name");
        }
    }
    for (const struct cf_directive *c = d->children; c; c = c->next) {
        if (slice_eq(c->name.text, S("root_common_name"))) {
            names(r, c, out->roots, &out->root_count);
        } else if (slice_eq(c->name.text, S("any_common_name"))) {
            names(r, c, out->any_names, &out->any_count);
        } else {
            cf_error(r->diags, &c->name, "preferred_chains has root_common_name and"
                     " any_common_name");
        }
    }
    unsigned ways = (out->smallest ? 1u : 0) + (out->root_count ? 1u : 0) +
                    (out->any_count ? 1u : 0);
    if (ways > 1) {
        cf_error(r->diags, &d->name, "preferred_chains takes one of smallest, root_common_name"
                 " and any_common_name");
    } else if (ways == 0 && !d->children && d->arg_count == 0) {
        cf_error(r->diags, &d->name, "preferred_chains needs smallest, or a block");
    }
}

/* ---- inside of issuer acme ------------------------------------------------------------------- */

static void one_dir(struct reader *r, const struct cf_directive *d)
{
    url(r, d, &r->one->directory_url);
}

static void one_test_dir(struct reader *r, const struct cf_directive *d)
{
    url(r, d, &r->one->test_url);
}

static void one_email(struct reader *r, const struct cf_directive *d)
{
    text(r, d, &r->one->email);
}

static void one_profile(struct reader *r, const struct cf_directive *d)
{
    text(r, d, &r->one->profile);
}

static void one_timeout(struct reader *r, const struct cf_directive *d)
{
    duration(r, d, &r->one->timeout_ms);
}

static void one_lifetime(struct reader *r, const struct cf_directive *d)
{
    duration(r, d, &r->one->lifetime_ms);
}

static void one_roots(struct reader *r, const struct cf_directive *d)
{
    if (!count_is(r, d, 1, ISSUER_ROOT_FILES_MAX)) {
        return;
    }
    for (size_t i = 0; i < d->arg_count; i++) {
        r->one->root_files[i] = d->args[i].text;
        (void)cf_check_file(r->diags, &d->args[i]);
    }
    r->one->root_file_count = d->arg_count;
}

static void one_eab(struct reader *r, const struct cf_directive *d)
{
    eab(r, d, &r->one->eab_key_id, &r->one->eab_mac_key);
}

static void one_chains(struct reader *r, const struct cf_directive *d)
{
    read_chains(r, d, &r->one->chains);
}

static void one_challenge(struct reader *r, const struct cf_directive *d)
{
    bool found = challenge_line(r->arena, r->diags, d, &r->one->challenges);
    must(found); /* its table and those below belong together */
}

static void one_distributed(struct reader *r, const struct cf_directive *d)
{
    cf_warning(r->diags, &d->name, "challenge answers always go to the storage; distributed does"
               " nothing");
}

static void one_root_signs(struct reader *r, const struct cf_directive *d)
{
    flag(r, d, &r->one->sign_with_root);
}

static void one_ca(struct reader *r, const struct cf_directive *d)
{
    if (count_is(r, d, 1, 1) && !slice_eq(d->args[0].text, S("local"))) {
        cf_error(r->diags, &d->args[0], "the only internal CA is local");
    }
}

struct row {
    struct slice name;
    void (*read)(struct reader *r, const struct cf_directive *d);
};

static const struct row acme_rows[] = {
    {S_INIT("dir"), one_dir},
    {S_INIT("test_dir"), one_test_dir},
    {S_INIT("email"), one_email},
    {S_INIT("profile"), one_profile},
    {S_INIT("timeout"), one_timeout},
    {S_INIT("lifetime"), one_lifetime},
    {S_INIT("trusted_roots"), one_roots},
    {S_INIT("eab"), one_eab},
    {S_INIT("preferred_chains"), one_chains},
    {S_INIT("disable_http_challenge"), one_challenge},
    {S_INIT("disable_tlsalpn_challenge"), one_challenge},
    {S_INIT("alt_http_port"), one_challenge},
    {S_INIT("alt_tlsalpn_port"), one_challenge},
    {S_INIT("dns"), one_challenge},
    {S_INIT("dns_ttl"), one_challenge},
    {S_INIT("dns_challenge_override_domain"), one_challenge},
    {S_INIT("propagation_delay"), one_challenge},
    {S_INIT("propagation_timeout"), one_challenge},
    {S_INIT("resolvers"), one_challenge},
    {S_INIT("distributed"), one_distributed},
};

static const struct row zerossl_rows[] = {
    {S_INIT("email"), one_email},
    {S_INIT("disable_http_challenge"), one_challenge},
    {S_INIT("disable_tlsalpn_challenge"), one_challenge},
    {S_INIT("alt_http_port"), one_challenge},
    {S_INIT("alt_tlsalpn_port"), one_challenge},
    {S_INIT("dns"), one_challenge},
    {S_INIT("dns_ttl"), one_challenge},
    {S_INIT("dns_challenge_override_domain"), one_challenge},
    {S_INIT("propagation_delay"), one_challenge},
    {S_INIT("propagation_timeout"), one_challenge},
    {S_INIT("resolvers"), one_challenge},
};

static const struct row internal_rows[] = {
    {S_INIT("lifetime"), one_lifetime},
    {S_INIT("sign_with_root"), one_root_signs},
    {S_INIT("ca"), one_ca},
};

/* False: no row has the name. */
static bool read_row(struct reader *r, const struct row *rows, size_t count,
                     const struct cf_directive *d)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq(rows[i].name, d->name.text)) {
            rows[i].read(r, d);
            return true;
        }
    }
    return false;
}

static void unknown(struct reader *r, const struct row *rows, size_t count,
                    const struct cf_directive *d)
{
    struct slice known[ARRAY_LEN(acme_rows)];
    for (size_t i = 0; i < count; i++) {
        known[i] = rows[i].name;
    }
    struct cf_diag *diag = cf_error(r->diags, &d->name, "this issuer has no \"%.*s\"",
                                    SLICE_ARG(d->name.text));
    if (diag) {
        cf_did_you_mean(r->diags, diag, d->name.text, known, count);
    }
}

/* kind [value] { … }; the first argument of d is the kind. */
static void read_issuer(struct reader *r, const struct cf_directive *d)
{
    static const struct {
        struct slice name;
        enum issuer_kind kind;
        const struct row *rows;
        size_t count, args_max;
    } kinds[] = {
        {S_INIT("acme"), ISSUER_ACME, acme_rows, ARRAY_LEN(acme_rows), 2},
        {S_INIT("zerossl"), ISSUER_ZEROSSL, zerossl_rows, ARRAY_LEN(zerossl_rows), 2},
        {S_INIT("internal"), ISSUER_INTERNAL, internal_rows, ARRAY_LEN(internal_rows), 1},
    };
    size_t k = 0;
    while (k < ARRAY_LEN(kinds) &&
           !(d->arg_count && slice_eq(d->args[0].text, kinds[k].name))) {
        k++;
    }
    if (k == ARRAY_LEN(kinds)) {
        cf_error(r->diags, d->arg_count ? &d->args[0] : &d->name,
                 "the issuers are acme, zerossl and internal");
        return;
    }
    if (!count_is(r, d, 1, kinds[k].args_max)) {
        return;
    }
    if (r->all->issuer_count == ISSUERS_MAX) {
        cf_error(r->diags, &d->name, "more than %d issuers for one site", ISSUERS_MAX);
        return;
    }
    struct issuer_choice *one = ARENA_NEW(r->arena, struct issuer_choice);
    must(one);
    r->all->issuers[r->all->issuer_count++] = one;
    *one = (struct issuer_choice){.kind = kinds[k].kind, .at = &d->args[0]};
    r->one = one;
    if (d->arg_count == 2 && one->kind == ISSUER_ACME) {
        url_at(r, &d->args[1], &one->directory_url);
    } else if (d->arg_count == 2) {
        one->zerossl_key = d->args[1].text;
    }
    for (const struct cf_directive *c = d->children; c; c = c->next) {
        if (!read_row(r, kinds[k].rows, kinds[k].count, c)) {
            unknown(r, kinds[k].rows, kinds[k].count, c);
        }
    }
    r->one = NULL;
}

/* ---- in tls and among the global options ----------------------------------------------------- */

static void all_ca(struct reader *r, const struct cf_directive *d)
{
    url(r, d, &r->all->ca);
}

static void all_ca_root(struct reader *r, const struct cf_directive *d)
{
    text(r, d, &r->all->ca_root);
    if (r->all->ca_root.n) {
        (void)cf_check_file(r->diags, &d->args[0]);
    }
}

static void all_eab(struct reader *r, const struct cf_directive *d)
{
    eab(r, d, &r->all->eab_key_id, &r->all->eab_mac_key);
}

static void all_key_type(struct reader *r, const struct cf_directive *d)
{
    static const struct {
        struct slice name;
        enum key_choice key;
    } keys[] = {
        {S_INIT("p256"), KEY_P256},       {S_INIT("p384"), KEY_P384},
        {S_INIT("rsa2048"), KEY_RSA2048}, {S_INIT("rsa4096"), KEY_RSA4096},
        {S_INIT("ed25519"), KEY_ED25519},
    };
    if (!count_is(r, d, 1, 1)) {
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (slice_eq(keys[i].name, d->args[0].text)) {
            r->all->key_type = keys[i].key;
            return;
        }
    }
    cf_error(r->diags, &d->args[0], "key_type is p256, p384, rsa2048, rsa4096 or ed25519, not"
             " \"%.*s\"", SLICE_ARG(d->args[0].text));
}

static void all_reuse(struct reader *r, const struct cf_directive *d)
{
    flag(r, d, &r->all->reuse_keys);
}

/* A number from 0 to 1 with up to six decimals, both ends left out. */
static bool parse_ratio(struct slice s, unsigned *ppm)
{
    uint64_t value = 0, whole;
    struct slice rest = s, head;
    if (!slice_cut(&rest, '.', &head) || !slice_u64(head, 0, &whole) || rest.n == 0 ||
        rest.n > 18) {
        return false;
    }
    for (size_t i = 0; i < 6; i++) {
        unsigned digit = 0;
        if (i < rest.n) {
            digit = (unsigned)(rest.p[i] - '0');
        }
        value = value * 10 + digit;
    }
    for (size_t i = 0; i < rest.n; i++) {
        if (!ascii_is_digit(rest.p[i])) {
            return false;
        }
    }
    *ppm = (unsigned)value;
    return value > 0 && value < 1000000;
}

static void all_ratio(struct reader *r, const struct cf_directive *d)
{
    if (count_is(r, d, 1, 1) && !parse_ratio(d->args[0].text, &r->all->ratio_ppm)) {
        cf_error(r->diags, &d->args[0], "renewal_window_ratio is the part of the lifetime that is"
                 " left when a certificate is renewed, such as 0.33, not \"%.*s\"",
                 SLICE_ARG(d->args[0].text));
    }
}

static void all_chains(struct reader *r, const struct cf_directive *d)
{
    read_chains(r, d, &r->all->chains);
}

static void all_lifetime(struct reader *r, const struct cf_directive *d)
{
    duration(r, d, &r->all->lifetime_ms);
}

TLS_SUBDIRECTIVE(tls_read_issuance)
{
    static const struct row rows[] = {
        {S_INIT("issuer"), read_issuer},       {S_INIT("ca"), all_ca},
        {S_INIT("ca_root"), all_ca_root},      {S_INIT("eab"), all_eab},
        {S_INIT("key_type"), all_key_type},    {S_INIT("reuse_private_keys"), all_reuse},
        {S_INIT("renewal_window_ratio"), all_ratio},
    };
    unsigned errors = b->diags->errors;
    if (!t->issuance) {
        t->issuance = ARENA_NEW(b->arena, struct issuance);
        must(t->issuance);
    }
    struct reader r = {b->arena, b->diags, t->issuance, NULL};
    bool found = read_row(&r, rows, ARRAY_LEN(rows), d);
    must(found); /* tls.c's table and this one belong together */
    return b->diags->errors == errors;
}

void issuance_option(struct arena *a, struct cf_diags *diags, const struct cf_directive *d,
                     struct issuance *out)
{
    static const struct row rows[] = {
        {S_INIT("cert_issuer"), read_issuer},  {S_INIT("cert_lifetime"), all_lifetime},
        {S_INIT("key_type"), all_key_type},    {S_INIT("preferred_chains"), all_chains},
        {S_INIT("renewal_window_ratio"), all_ratio},
    };
    struct reader r = {a, diags, out, NULL};
    bool found = read_row(&r, rows, ARRAY_LEN(rows), d);
    must(found); /* options.c's table and this one belong together */
}
