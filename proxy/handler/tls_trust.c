/* trust_pool and verifier in client_auth's block: which client certificates are trusted.
 *
 *     trust_pool inline { trust_der <base64 of DER>... }
 *     trust_pool file [<file>...] { pem_file <file>... }
 *     trust_pool pki_root|pki_intermediate [local] { authority local }
 *     trust_pool storage [<key>...] { keys <key>... }
 *     trust_pool http [<URL>...] { endpoints <URL>...; tls { ca file <file> } }
 *     trust_pool system
 *     trust_pool combined { source <pool as above> ... }
 *     verifier leaf <loader>   or   verifier leaf { <loader> ... }
 *         file <file>... | folder <folder>... | pem <PEM text>... | storage <key>...
 *
 * Files are read with the configuration; what the store or a URL has is fetched while the program
 * runs (struct tls_trust_source), so that it may come later and change. */
#include "proxy/handler/handler.h"
#include "store/names.h"

#define CERTIFICATES_MAX 1024
#define SOURCES_MAX 64
#define COMBINED_DEPTH_MAX 4

/* Where certificates go. */
struct pool {
    struct build *b;
    struct tls_settings *t;
    bool leafs; /* a verifier's; else CAs */
    unsigned depth;
};

/* Reads what stands behind a kind's name or on a line of its block. */
typedef bool pool_words(struct pool *p, const struct cf_token *args, size_t count);

static bool add_text(struct pool *p, struct slice pem)
{
    struct tls_policy_spec *spec = &p->t->policy;
    struct slice *to = p->leafs ? &spec->leafs_pem : &spec->roots_pem;
    *to = arena_printf(p->b->arena, "%.*s%.*s\n", SLICE_ARG(*to), SLICE_ARG(pem));
    must(to->p);
    return true;
}

static bool add_source(struct pool *p, const struct cf_token *at, enum tls_trust_kind kind,
                       struct slice place, struct slice root_file)
{
    struct tls_policy_spec *spec = &p->t->policy;
    if (spec->source_count == SOURCES_MAX) {
        cf_error(p->b->diags, at, "more than %d places to fetch certificates from", SOURCES_MAX);
        return false;
    }
    struct tls_trust_source *more =
        ARENA_ARRAY(p->b->arena, struct tls_trust_source, spec->source_count + 1);
    must(more);
    if (spec->source_count) {
        memcpy(more, spec->sources, spec->source_count * sizeof(*more));
    }
    more[spec->source_count++] = (struct tls_trust_source){kind, p->leafs, place, root_file};
    spec->sources = more;
    return true;
}

/* ---- the kinds ------------------------------------------------------------------------------- */

static bool add_files(struct pool *p, const struct cf_token *files, size_t count)
{
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        struct slice pem;
        ok = tls_read_file(p->b, &files[i], &pem) && add_text(p, pem);
    }
    return ok;
}

/* Base64 of a certificate's DER is PEM without its frame. */
static bool add_ders(struct pool *p, const struct cf_token *ders, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct slice body = S("");
        for (struct slice rest = ders[i].text; rest.n; rest = slice_from(rest, 64)) {
            body = arena_printf(p->b->arena, "%.*s%.*s\n", SLICE_ARG(body),
                                SLICE_ARG(slice_upto(rest, 64)));
            must(body.p);
        }
        struct slice pem = arena_printf(p->b->arena, "-----BEGIN CERTIFICATE-----\n%.*s"
                                        "-----END CERTIFICATE-----", SLICE_ARG(body));
        must(pem.p);
        add_text(p, pem);
    }
    return true;
}

static bool add_pems(struct pool *p, const struct cf_token *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        add_text(p, texts[i].text);
    }
    return true;
}

static bool add_pem_of(void *ctx, const struct cf_token *at, const char *path)
{
    struct pool *p = ctx;
    struct cf_token file = *at;
    struct slice pem;
    file.text = slice_str(path);
    return tls_read_file(p->b, &file, &pem) && add_text(p, pem);
}

static bool add_folders(struct pool *p, const struct cf_token *folders, size_t count)
{
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        ok = tls_each_pem(p->b, &folders[i], add_pem_of, p);
    }
    return ok;
}

static bool add_keys(struct pool *p, const struct cf_token *keys, size_t count)
{
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        ok = add_source(p, &keys[i], TLS_TRUST_STORE, keys[i].text, S(""));
    }
    return ok;
}

static bool add_authorities(struct pool *p, const struct cf_token *names, size_t count,
                            const char *file)
{
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        if (!slice_eq(names[i].text, S("local"))) {
            cf_error(p->b->diags, &names[i], "there is no authority \"%.*s\": caddis's own is"
                     " called local", SLICE_ARG(names[i].text));
            return false;
        }
        struct slice key = store_pki_key(p->b->arena, S("local"), file);
        must(key.p);
        ok = add_source(p, &names[i], TLS_TRUST_STORE, key, S(""));
    }
    return ok;
}

static bool add_local_roots(struct pool *p, const struct cf_token *names, size_t count)
{
    return add_authorities(p, names, count, "root.crt");
}

static bool add_local_intermediates(struct pool *p, const struct cf_token *names, size_t count)
{
    return add_authorities(p, names, count, "intermediate.crt");
}

static const struct pool_kind {
    struct slice name;
    struct slice line; /* of its block; empty: it has none */
    bool of_roots, of_leafs;
    pool_words *add;
} kinds[] = {
    {S_INIT("inline"), S_INIT("trust_der"), true, false, add_ders},
    {S_INIT("file"), S_INIT("pem_file"), true, false, add_files},
    {S_INIT("pki_root"), S_INIT("authority"), true, false, add_local_roots},
    {S_INIT("pki_intermediate"), S_INIT("authority"), true, false, add_local_intermediates},
    {S_INIT("storage"), S_INIT("keys"), true, true, add_keys},
    {S_INIT("file"), S_INIT("file"), false, true, add_files},
    {S_INIT("folder"), S_INIT("folder"), false, true, add_folders},
    {S_INIT("pem"), S_INIT("pem"), false, true, add_pems},
};

/* The words behind the name and those on the lines of the block; together at least one. */
static bool read_words(struct pool *p, const struct pool_kind *kind, const struct cf_directive *d,
                       const struct cf_token *args, size_t count)
{
    bool ok = kind->add(p, args, count);
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        if (!slice_eq(o->name.text, kind->line)) {
            cf_error(p->b->diags, &o->name, "here it is %.*s, not \"%.*s\"",
                     SLICE_ARG(kind->line), SLICE_ARG(o->name.text));
            return false;
        }
        ok = ok && expect_args(p->b, o, o->arg_count, 1, CERTIFICATES_MAX) &&
             expect_no_block(p->b, o) && kind->add(p, o->args, o->arg_count);
        count += o->arg_count;
    }
    if (ok && !count) {
        cf_error(p->b->diags, &d->name, "%.*s needs at least one: { %.*s ... }",
                 SLICE_ARG(kind->name), SLICE_ARG(kind->line));
    }
    return ok && count;
}

/* ---- http ------------------------------------------------------------------------------------ */

static bool is_near(struct slice url)
{
    return slice_starts(url, S("https://")) || slice_starts(url, S("http://localhost")) ||
           slice_starts(url, S("http://127.")) || slice_starts(url, S("http://[::1]"));
}

static bool add_urls(struct pool *p, const struct cf_token *urls, size_t count,
                     struct slice root_file)
{
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        struct slice url = urls[i].text;
        if (!slice_starts(url, S("https://")) && !slice_starts(url, S("http://"))) {
            cf_error(p->b->diags, &urls[i], "\"%.*s\" is no URL (https://...)", SLICE_ARG(url));
            return false;
        }
        if (!is_near(url)) {
            cf_warning(p->b->diags, &urls[i], "over plain http, whoever is on the way can choose"
                       " which client certificates are let in");
        }
        ok = add_source(p, &urls[i], TLS_TRUST_HTTP, url, root_file);
    }
    return ok;
}

/* tls { ca file <file> } */
static bool read_http_tls(struct pool *p, const struct cf_directive *d, struct slice *root_file)
{
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        if (!slice_eq(o->name.text, S("ca")) || o->arg_count != 2 || o->children ||
            !slice_eq(o->args[0].text, S("file"))) {
            cf_error(p->b->diags, &o->name, "here it is ca file <file>: the CAs that the server's"
                     " certificate is checked with; \"%.*s\" is not in caddis",
                     SLICE_ARG(o->name.text));
            return false;
        }
        *root_file = o->args[1].text;
    }
    return true;
}

static bool read_http(struct pool *p, const struct cf_directive *d, const struct cf_token *args,
                      size_t count)
{
    struct slice root_file = S("");
    bool ok = true;
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        if (slice_eq(o->name.text, S("tls"))) {
            ok = read_http_tls(p, o, &root_file) && ok;
        } else if (!slice_eq(o->name.text, S("endpoints"))) {
            cf_error(p->b->diags, &o->name, "here it is endpoints or tls, not \"%.*s\"",
                     SLICE_ARG(o->name.text));
            ok = false;
        }
    }
    ok = ok && add_urls(p, args, count, root_file);
    for (const struct cf_directive *o = d->children; ok && o; o = o->next) {
        if (slice_eq(o->name.text, S("endpoints"))) {
            ok = add_urls(p, o->args, o->arg_count, root_file);
            count += o->arg_count;
        }
    }
    if (ok && !count) {
        cf_error(p->b->diags, &d->name, "http needs at least one URL: { endpoints ... }");
    }
    return ok && count;
}

/* ---- pools ----------------------------------------------------------------------------------- */

static bool read_kind(struct pool *p, const struct cf_directive *d, const struct cf_token *kind,
                      const struct cf_token *args, size_t count);

static bool read_combined(struct pool *p, const struct cf_directive *d)
{
    bool ok = d->children != NULL && p->depth < COMBINED_DEPTH_MAX;
    if (!ok) {
        cf_error(p->b->diags, &d->name, "combined is { source <pool> ... }, at most %d deep",
                 COMBINED_DEPTH_MAX);
    }
    p->depth++;
    for (const struct cf_directive *o = d->children; ok && o; o = o->next) {
        if (!slice_eq(o->name.text, S("source"))) {
            cf_error(p->b->diags, &o->name, "here it is source, not \"%.*s\"",
                     SLICE_ARG(o->name.text));
            return false;
        }
        ok = expect_args(p->b, o, o->arg_count, 1, CERTIFICATES_MAX) &&
             read_kind(p, o, &o->args[0], o->args + 1, o->arg_count - 1);
    }
    p->depth--;
    return ok;
}

/* kind: its name; args: what stands behind it; d: the line, for its block. */
static bool read_kind(struct pool *p, const struct cf_directive *d, const struct cf_token *kind,
                      const struct cf_token *args, size_t count)
{
    struct slice name = kind->text;
    if (!p->leafs && slice_eq(name, S("http"))) {
        return read_http(p, d, args, count);
    }
    bool alone = !p->leafs && (slice_eq(name, S("combined")) || slice_eq(name, S("system")));
    if (alone && count) {
        cf_error(p->b->diags, &args[0], "nothing stands behind %.*s", SLICE_ARG(name));
        return false;
    }
    if (alone && slice_eq(name, S("combined"))) {
        return read_combined(p, d);
    }
    if (alone) {
        p->t->policy.system_roots = true;
        return expect_no_block(p->b, d);
    }
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (slice_eq(name, kinds[i].name) && (p->leafs ? kinds[i].of_leafs : kinds[i].of_roots)) {
            return read_words(p, &kinds[i], d, args, count);
        }
    }
    cf_error(p->b->diags, kind, p->leafs ? "\"%.*s\" is no source of leaf certificates: file,"
             " folder, pem, storage" : "\"%.*s\" is no trust pool: inline, file, pki_root,"
             " pki_intermediate, storage, http, system, combined (others are plug-ins of Caddy)",
             SLICE_ARG(name));
    return false;
}

TLS_SUBDIRECTIVE(tls_read_trust_pool)
{
    struct pool p = {.b = b, .t = t};
    return expect_args(b, d, d->arg_count, 1, CERTIFICATES_MAX) &&
           read_kind(&p, d, &d->args[0], d->args + 1, d->arg_count - 1);
}

TLS_SUBDIRECTIVE(tls_read_verifier)
{
    struct pool p = {.b = b, .t = t, .leafs = true};
    if (!expect_args(b, d, d->arg_count, 1, CERTIFICATES_MAX)) {
        return false;
    }
    if (!slice_eq(d->args[0].text, S("leaf"))) {
        cf_error(b->diags, &d->args[0], "\"%.*s\" is no verifier: leaf (others are plug-ins of"
                 " Caddy)", SLICE_ARG(d->args[0].text));
        return false;
    }
    if (d->arg_count > 1) {
        return read_kind(&p, d, &d->args[1], d->args + 2, d->arg_count - 2);
    }
    bool ok = d->children != NULL;
    if (!ok) {
        cf_error(b->diags, &d->name, "verifier leaf { file|folder|pem|storage ... }");
    }
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        ok = read_kind(&p, o, &o->name, o->args, o->arg_count) && ok;
    }
    return ok;
}

/* ---- the older words ------------------------------------------------------------------------- */

TLS_SUBDIRECTIVE(tls_read_trusted_text)
{
    struct pool p = {.b = b, .t = t, .leafs = slice_starts(d->name.text, S("trusted_leaf"))};
    return expect_args(b, d, d->arg_count, 1, CERTIFICATES_MAX) && expect_no_block(b, d) &&
           add_ders(&p, d->args, d->arg_count);
}

TLS_SUBDIRECTIVE(tls_read_trusted_files)
{
    struct pool p = {.b = b, .t = t, .leafs = slice_starts(d->name.text, S("trusted_leaf"))};
    return expect_args(b, d, d->arg_count, 1, CERTIFICATES_MAX) && expect_no_block(b, d) &&
           add_files(&p, d->args, d->arg_count);
}
