/* Which of a host's sites, by the path; see site_paths.h. */
#include "proxy/server/site_paths.h"

/* Longer is more specific; "*" does not count. */
static size_t weight_of(struct slice path)
{
    size_t n = path.n;
    for (size_t i = 0; i < path.n; i++) {
        n -= path.p[i] == '*';
    }
    return n;
}

static void warn_of_path(struct cf_diags *diags, const struct cf_token *t, struct slice path)
{
    bool below = path.p[path.n - 1] == '*';
    struct cf_diag *d = cf_warning(diags, t, "a path in a site address is deprecated: this site has"
                                   " %s \"%.*s\"%s", below ? "what begins with" : "the one page",
                                   SLICE_ARG(below ? slice_upto(path, path.n - 1) : path),
                                   below ? "" : ", not what is below it");
    if (d) {
        d->hint = arena_printf(&diags->arena, "inside a site without it write: handle %.*s%s"
                               " { ... }; handle_path takes the prefix off, too", SLICE_ARG(path),
                               below ? "" : path.p[path.n - 1] == '/' ? "*" : "/*");
    }
}

static struct site_fork *new_fork(struct arena *a, struct site *site, struct slice path,
                                  struct matcher *matcher)
{
    struct site_fork *f = ARENA_NEW(a, struct site_fork);
    must(f);
    *f = (struct site_fork){
        .path = path, .weight = weight_of(path), .matcher = matcher, .site = site};
    return f;
}

/* A site of its own in the table, with what is the host's: its TLS settings are the first one's. */
static struct site *new_fork_site(struct arena *a, struct site *first)
{
    struct site *s = ARENA_NEW(a, struct site);
    must(s);
    *s = *first;
    s->next = NULL;
    s->route = (struct route){.count = 0};
    return s;
}

struct site *site_paths_add(struct arena *a, struct site *there, struct site *site,
                            struct slice path, const struct cf_token *t, struct cf_diags *diags,
                            struct site **other)
{
    struct matcher *matcher = NULL;
    *other = NULL;
    if (path.n) {
        struct cf_token *token = ARENA_NEW(a, struct cf_token);
        must(token);
        *token = *t;
        token->text = path;
        token->quote = CF_BARE;
        warn_of_path(diags, t, path);
        if (!matcher_from_token(a, NULL, token, &matcher, diags)) {
            return NULL;
        }
    } else if (!there) {
        return site;
    }
    if (there && !there->forks) {
        struct site *before = there;
        there = new_fork_site(a, before);
        there->forks = new_fork(a, before, S(""), NULL);
    } else if (!there) {
        there = new_fork_site(a, site);
    }
    if (++there->fork_count > SITE_FORKS_MAX) {
        cf_error(diags, t, "more than %u sites of one host by their paths", SITE_FORKS_MAX);
        return NULL;
    }
    struct site_fork *f = new_fork(a, site, path, matcher);
    struct site_fork **at = &there->forks;
    while (*at && (*at)->weight >= f->weight) {
        if (slice_eq((*at)->path, path)) {
            *other = (*at)->site;
            return NULL;
        }
        at = &(*at)->next;
    }
    f->next = *at;
    *at = f;
    return there;
}

static const struct site *by_path(const struct site *s, struct exchange *ex)
{
    if (!s || !s->forks) {
        return s;
    }
    for (const struct site_fork *f = s->forks; f; f = f->next) {
        if (!f->matcher || matcher_matches(f->matcher, ex) == MATCH_YES) {
            return f->site;
        }
    }
    return NULL;
}

const struct site *site_paths_find(const struct port_table *table, struct exchange *ex)
{
    const struct site *found = NULL;
    for (enum find_step step = FIND_EXACT; !found && step <= FIND_ANY; step++) {
        found = by_path(port_table_step(table, ex->req.host, step), ex);
    }
    return found;
}
