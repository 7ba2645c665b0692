/* Making the policies of sites. See policies.h. */
#include "proxy/server/policies.h"

#include "proxy/base/mem.h"

struct known_policy {
    struct known_policy *next;
    const struct tls_policy_spec *spec;
    struct tls_policy *policy; /* counted; given up with the arena */
};

struct policy_list {
    struct arena *arena;
    struct known_policy *first;
};

struct policy_list *policy_list_new(struct arena *a)
{
    struct policy_list *l = ARENA_NEW(a, struct policy_list);
    must(l);
    l->arena = a;
    return l;
}

static bool same_names(const struct tls_policy_spec *a, const struct tls_policy_spec *b)
{
    bool same = a->alpn_count == b->alpn_count;
    for (size_t i = 0; same && i < a->alpn_count; i++) {
        same = slice_eq(a->alpn[i], b->alpn[i]);
    }
    return same;
}

static bool same_sources(const struct tls_policy_spec *a, const struct tls_policy_spec *b)
{
    bool same = a->source_count == b->source_count;
    for (size_t i = 0; same && i < a->source_count; i++) {
        const struct tls_trust_source *x = &a->sources[i], *y = &b->sources[i];
        same = x->kind == y->kind && x->leafs == y->leafs && slice_eq(x->place, y->place) &&
               slice_eq(x->root_file, y->root_file);
    }
    return same;
}

static bool same_spec(const struct tls_policy_spec *a, const struct tls_policy_spec *b)
{
    return a->min_version == b->min_version && a->max_version == b->max_version &&
           a->client == b->client && a->system_roots == b->system_roots &&
           slice_eq(a->ciphers, b->ciphers) && slice_eq(a->groups, b->groups) &&
           slice_eq(a->roots_pem, b->roots_pem) && slice_eq(a->leafs_pem, b->leafs_pem) &&
           slice_eq(a->secrets_log, b->secrets_log) && same_names(a, b) && same_sources(a, b);
}

/* What is offered where the site does not say it. */
static void choose_alpn(struct tls_policy_spec *spec)
{
    static const struct slice usual[] = {S_INIT("h2"), S_INIT("http/1.1")};
    if (!spec->alpn_count) {
        spec->alpn = usual;
        spec->alpn_count = ARRAY_LEN(usual);
    }
}

static void give_up(void *ctx)
{
    tls_policy_unref(ctx);
}

static void note_sources(struct config *c, struct tls_policy *policy,
                         const struct tls_policy_spec *spec)
{
    if (spec->source_count) {
        c->trusting = mem_realloc_array(c->trusting, c->trusting_count + 1, sizeof(*c->trusting));
        c->trusting[c->trusting_count++] = (struct trusting_policy){policy, spec};
    }
}

void policy_list_apply(struct policy_list *l, struct config *c, struct site *site,
                       struct cf_diags *diags)
{
    struct tls_settings *t = &site->settings.tls;
    if (!t->policy_token) {
        return;
    }
    choose_alpn(&t->policy);
    if (!t->policy.alpn_count) {
        cf_error(diags, t->policy_token, "this site would speak h2 only, which servers {"
                 " protocols } leaves out");
        return;
    }
    for (const struct known_policy *k = l->first; k; k = k->next) {
        if (same_spec(k->spec, &t->policy)) {
            site->policy = k->policy;
            return;
        }
    }
    struct err err;
    struct known_policy *k = ARENA_NEW(l->arena, struct known_policy);
    must(k);
    k->policy = tls_policy_new(&t->policy, &err);
    if (!k->policy) {
        cf_error(diags, t->policy_token, "%s", err.text);
        return;
    }
    arena_on_fini(l->arena, give_up, k->policy);
    k->spec = &t->policy;
    k->next = l->first;
    l->first = k;
    note_sources(c, k->policy, k->spec);
    site->policy = k->policy;
}

static bool asks_clients(const struct map *sites)
{
    size_t cursor = 0;
    for (struct map_entry *e; (e = map_next(sites, &cursor));) {
        if (tls_policy_client_id(((const struct site *)e->value)->policy)) {
            return true;
        }
    }
    return false;
}

void policies_note_asking(const struct config *c)
{
    for (struct port_table *t = c->ports; t; t = t->next) {
        bool asks = asks_clients(&t->exact) || asks_clients(&t->wildcard) ||
                    (t->any && tls_policy_client_id(t->any->policy));
        t->asks_clients = t->tls && asks;
    }
}
