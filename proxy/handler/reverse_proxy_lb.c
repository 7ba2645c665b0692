/* lb_policy <name> ... [{ fallback <policy>; max_age <duration> }]; see reverse_proxy_lb.h. */
#include "proxy/handler/reverse_proxy_lb.h"

#include "proxy/base/mem.h"
#include "proxy/tls/keyed_hash.h"

#define WEIGHT_MAX 1000000u

/* args behind the policy's name. */
static const struct {
    struct slice name;
    enum lb_policy policy;
    size_t args_min;
    size_t args_max;
    const char *form;
} policies[] = {
    {S_INIT("random"), POLICY_RANDOM, 0, 0, "random"},
    {S_INIT("random_choose"), POLICY_RANDOM_CHOOSE, 1, 1, "random_choose <number>"},
    {S_INIT("first"), POLICY_FIRST, 0, 0, "first"},
    {S_INIT("round_robin"), POLICY_ROUND_ROBIN, 0, 0, "round_robin"},
    {S_INIT("weighted_round_robin"), POLICY_WEIGHTED_ROUND_ROBIN, 1, ORIGINS_MAX,
     "weighted_round_robin <weight>..."},
    {S_INIT("least_conn"), POLICY_LEAST_CONN, 0, 0, "least_conn"},
    {S_INIT("ip_hash"), POLICY_IP_HASH, 0, 0, "ip_hash"},
    {S_INIT("client_ip_hash"), POLICY_CLIENT_IP_HASH, 0, 0, "client_ip_hash"},
    {S_INIT("uri_hash"), POLICY_URI_HASH, 0, 0, "uri_hash"},
    {S_INIT("query"), POLICY_QUERY, 1, 1, "query <key>"},
    {S_INIT("header"), POLICY_HEADER, 1, 1, "header <field>"},
    {S_INIT("cookie"), POLICY_COOKIE, 0, 2, "cookie [<name> [<secret>]]"},
};

void balance_init(struct build *b, struct balance *out)
{
    struct balance_counter *counter = ARENA_NEW(b->arena, struct balance_counter);
    must(counter);
    *out = (struct balance){.policy = POLICY_RANDOM, .counter = counter};
}

static bool read_choose(struct build *b, struct balance *out, const struct cf_token *t)
{
    uint64_t n;
    if (!slice_u64(t->text, ORIGINS_MAX, &n) || n < 2) {
        cf_error(b->diags, t, "random_choose takes a number from 2 to %d", ORIGINS_MAX);
        return false;
    }
    out->choose = (unsigned)n;
    return true;
}

static bool read_weights(struct build *b, struct balance *out, const struct cf_token *t,
                         size_t count)
{
    unsigned *weights = ARENA_ARRAY(b->arena, unsigned, ORIGINS_MAX);
    uint64_t sum = 0;
    must(weights);
    for (size_t i = 0; i < count; i++) {
        uint64_t v;
        if (!slice_u64(t[i].text, WEIGHT_MAX, &v)) {
            cf_error(b->diags, &t[i], "\"%.*s\" is no weight from 0 to %u", SLICE_ARG(t[i].text),
                     WEIGHT_MAX);
            return false;
        }
        weights[i] = (unsigned)v;
        sum += v;
    }
    if (sum == 0) {
        cf_error(b->diags, &t[0], "one of the weights must be more than 0");
        return false;
    }
    out->weights = weights;
    out->choose = (unsigned)count; /* until balance_finish has compared it */
    return true;
}

static bool read_args(struct build *b, struct balance *out, const struct cf_token *args,
                      size_t count)
{
    switch (out->policy) {
    case POLICY_RANDOM_CHOOSE:
        return read_choose(b, out, &args[0]);
    case POLICY_WEIGHTED_ROUND_ROBIN:
        return read_weights(b, out, args, count);
    case POLICY_QUERY:
        out->name = args[0].text;
        return true;
    case POLICY_HEADER:
    case POLICY_COOKIE:
        out->name = count ? args[0].text : S("lb");
        if (!field_name_valid(out->name)) {
            cf_error(b->diags, &args[0], "\"%.*s\" is no name", SLICE_ARG(out->name));
            return false;
        }
        return true;
    default:
        return true;
    }
}

static bool takes_fallback(enum lb_policy policy)
{
    return policy == POLICY_QUERY || policy == POLICY_HEADER || policy == POLICY_COOKIE;
}

static void read_block(struct build *b, struct balance *out, const struct cf_directive *first)
{
    for (const struct cf_directive *o = first; o; o = o->next) {
        if (slice_eq(o->name.text, S("fallback")) && o->arg_count) {
            struct balance *fallback = ARENA_NEW(b->arena, struct balance);
            must(fallback);
            balance_init(b, fallback);
            (void)balance_read(b, fallback, o, o->args, o->arg_count);
            out->fallback = fallback;
        } else if (slice_eq(o->name.text, S("max_age")) && out->policy == POLICY_COOKIE &&
                   o->arg_count == 1) {
            int64_t ms = 0;
            if (!cf_parse_duration(o->args[0].text, &ms) || ms < 1000) {
                cf_error(b->diags, &o->args[0], "max_age is a duration of a second or more");
            }
            out->cookie_max_age_s = ms / 1000;
        } else {
            cf_error(b->diags, &o->name, "a policy's block has fallback <policy>%s",
                     out->policy == POLICY_COOKIE ? " and max_age <duration>" : "");
        }
    }
}

static bool unknown_policy(struct build *b, const struct cf_token *t)
{
    struct slice names[ARRAY_LEN(policies)];
    for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
        names[i] = policies[i].name;
    }
    struct cf_diag *diag = cf_error(b->diags, t, "unknown load-balancing policy \"%.*s\"",
                                    SLICE_ARG(t->text));
    if (diag) {
        cf_did_you_mean(b->diags, diag, t->text, names, ARRAY_LEN(names));
    }
    return false;
}

bool balance_read(struct build *b, struct balance *out, const struct cf_directive *d,
                  const struct cf_token *args, size_t count)
{
    size_t i = 0;
    if (!expect_args(b, d, count, 1, 1 + ORIGINS_MAX)) {
        return false;
    }
    while (i < ARRAY_LEN(policies) && !slice_eq(policies[i].name, args[0].text)) {
        i++;
    }
    if (i == ARRAY_LEN(policies)) {
        return unknown_policy(b, &args[0]);
    }
    if (count - 1 < policies[i].args_min || count - 1 > policies[i].args_max) {
        cf_error(b->diags, &args[0], "the policy is written: %s", policies[i].form);
        return false;
    }
    out->policy = policies[i].policy;
    if (!read_args(b, out, args + 1, count - 1)) {
        return false;
    }
    if (d->children && !takes_fallback(out->policy)) {
        cf_error(b->diags, &d->name, "the policy \"%.*s\" takes no block", SLICE_ARG(args[0].text));
        return false;
    }
    read_block(b, out, d->children);
    if (takes_fallback(out->policy) && !out->fallback) {
        struct balance *fallback = ARENA_NEW(b->arena, struct balance);
        must(fallback);
        balance_init(b, fallback);
        out->fallback = fallback;
    }
    if (out->policy == POLICY_COOKIE) {
        struct slice *secret = ARENA_NEW(b->arena, struct slice);
        must(secret);
        *secret = count == 3 ? args[2].text : S("");
        out->cookies = secret; /* until balance_finish makes the values of it */
    }
    if (out->policy == POLICY_WEIGHTED_ROUND_ROBIN) {
        struct cf_token *at = ARENA_NEW(b->arena, struct cf_token);
        must(at);
        *at = args[0];
        out->at = at;
    }
    return true;
}

static void make_cookies(struct build *b, struct balance *balance, const struct reverse_proxy *p)
{
    struct slice secret = balance->cookies[0];
    struct slice *values = ARENA_ARRAY(b->arena, struct slice, ORIGINS_MAX);
    must(values);
    for (size_t i = 0; i < p->origin_count; i++) {
        char hex[KEYED_HASH_BYTES];
        must(keyed_hash_hex(secret, p->origins[i]->text, hex));
        values[i] = arena_copy(b->arena, slice_str(hex));
    }
    balance->cookies = values;
}

void balance_finish(struct build *b, struct reverse_proxy *p)
{
    for (struct balance *x = &p->balance; x; x = (struct balance *)(uintptr_t)x->fallback) {
        if (x->policy == POLICY_COOKIE && x->cookies) {
            make_cookies(b, x, p);
        }
        if (x->policy == POLICY_WEIGHTED_ROUND_ROBIN && x->weights &&
            x->choose != p->origin_count) {
            cf_error(b->diags, x->at, "%u weights for %zu origins", x->choose, p->origin_count);
        }
    }
}
