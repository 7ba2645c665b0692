/* The options of reverse_proxy but for its origins and its transport: a table of names and readers.
 * Their meaning is described in reverse_proxy.c. In: the lines of the block. Out: struct
 * reverse_proxy, or placed errors. */
#include "proxy/base/mem.h"
#include "proxy/handler/reverse_proxy_config.h"
#include "proxy/handler/reverse_proxy_lb.h"
#include "proxy/http/body_buffer.h"
#include "proxy/route/regex.h"

#define RULE_TOKENS_MAX 4
#define TRY_INTERVAL_MS 250
#define HEALTH_INTERVAL_MS (30 * 1000)
#define HEALTH_TIMEOUT_MS (5 * 1000)

typedef void option_fn(struct proxy_reading *r, const struct cf_directive *d);

/* ---- values ---------------------------------------------------------------------------------- */

static void read_duration(struct proxy_reading *r, const struct cf_directive *d, int64_t *out)
{
    if (expect_args(r->b, d, d->arg_count, 1, 1) && expect_no_block(r->b, d) &&
        !cf_parse_duration(d->args[0].text, out)) {
        cf_error(r->b->diags, &d->args[0], "\"%.*s\" is no duration such as 30s, 5m or 1h30m",
                 SLICE_ARG(d->args[0].text));
    }
}

static void read_number(struct proxy_reading *r, const struct cf_directive *d, uint64_t min,
                        uint64_t max, unsigned *out)
{
    uint64_t v;
    if (!expect_args(r->b, d, d->arg_count, 1, 1) || !expect_no_block(r->b, d)) {
        return;
    }
    if (!slice_u64(d->args[0].text, max, &v) || v < min) {
        cf_error(r->b->diags, &d->args[0], "\"%.*s\" is no number from %llu to %llu",
                 SLICE_ARG(d->args[0].text), (unsigned long long)min, (unsigned long long)max);
        return;
    }
    *out = (unsigned)v;
}

static void read_text(struct proxy_reading *r, const struct cf_directive *d, struct slice *out)
{
    if (expect_args(r->b, d, d->arg_count, 1, 1) && expect_no_block(r->b, d)) {
        *out = d->args[0].text;
    }
}

static void read_statuses(struct proxy_reading *r, const struct cf_directive *d,
                          struct status_set *out)
{
    if (!expect_args(r->b, d, d->arg_count, 1, 100) || !expect_no_block(r->b, d)) {
        return;
    }
    for (size_t i = 0; i < d->arg_count; i++) {
        if (!status_set_add(out, d->args[i].text)) {
            cf_error(r->b->diags, &d->args[i], "\"%.*s\" is no status such as 404 or 5xx",
                     SLICE_ARG(d->args[i].text));
        }
    }
}

/* ---- fields and trust ------------------------------------------------------------------------ */

static void read_rule(struct proxy_reading *r, const struct cf_directive *d,
                      struct field_rules *rules)
{
    if (expect_args(r->b, d, d->arg_count, 1, RULE_TOKENS_MAX - 1) && expect_no_block(r->b, d)) {
        (void)field_rules_parse(r->b, rules, d->args, d->arg_count, "+-");
    }
}

static void option_header_up(struct proxy_reading *r, const struct cf_directive *d)
{
    read_rule(r, d, &r->p->header_up);
}

static void option_header_down(struct proxy_reading *r, const struct cf_directive *d)
{
    read_rule(r, d, &r->p->header_down);
}

static void option_trusted_proxies(struct proxy_reading *r, const struct cf_directive *d)
{
    if (!expect_args(r->b, d, d->arg_count, 1, IP_RANGES_MAX) || !expect_no_block(r->b, d)) {
        return;
    }
    for (size_t i = 0; i < d->arg_count; i++) {
        (void)ip_ranges_add(r->b->arena, &r->p->trusted, &d->args[i], r->b->diags);
    }
}

/* ---- balancing ------------------------------------------------------------------------------- */

static void option_lb_policy(struct proxy_reading *r, const struct cf_directive *d)
{
    (void)balance_read(r->b, &r->p->balance, d, d->args, d->arg_count);
}

static void option_lb_retries(struct proxy_reading *r, const struct cf_directive *d)
{
    read_number(r, d, 0, 1000, &r->p->retry.retries);
}

static void option_lb_try_duration(struct proxy_reading *r, const struct cf_directive *d)
{
    read_duration(r, d, &r->p->retry.try_duration_ms);
}

static void option_lb_try_interval(struct proxy_reading *r, const struct cf_directive *d)
{
    read_duration(r, d, &r->p->retry.try_interval_ms);
    r->try_interval_set = true;
}

static void option_lb_retry_match(struct proxy_reading *r, const struct cf_directive *d)
{
    struct retry_policy *p = &r->p->retry;
    if (d->arg_count == 0 && !d->children) {
        cf_error(r->b->diags, &d->name,
                 "lb_retry_match needs a matcher: lb_retry_match method PUT");
        return;
    }
    struct matcher *m;
    if (p->match_count == RETRY_MATCHES_MAX) {
        cf_error(r->b->diags, &d->name, "more than %u lb_retry_match", RETRY_MATCHES_MAX);
        return;
    }
    bool ok = d->arg_count ? matcher_from_words(r->b->arena, d->args, d->arg_count, d->children, &m,
                                                r->b->diags)
                           : matcher_from_lines(r->b->arena, d->children, &m, r->b->diags);
    if (ok && matcher_may_wait(m)) {
        cf_error(r->b->diags, &d->name, "a matcher that looks at files cannot decide on retries");
    } else if (ok) {
        p->match[p->match_count++] = m;
    }
    r->retry_match_at = &d->name;
}

/* ---- passive checks -------------------------------------------------------------------------- */

static void option_fail_duration(struct proxy_reading *r, const struct cf_directive *d)
{
    read_duration(r, d, &r->passive.fail_duration_ms);
}

static void option_max_fails(struct proxy_reading *r, const struct cf_directive *d)
{
    read_number(r, d, 1, MAX_FAILS_MAX, &r->passive.max_fails);
    r->passive_at = &d->name;
}

static void option_unhealthy_status(struct proxy_reading *r, const struct cf_directive *d)
{
    read_statuses(r, d, &r->passive.unhealthy_status);
    r->passive_at = &d->name;
}

static void option_unhealthy_latency(struct proxy_reading *r, const struct cf_directive *d)
{
    read_duration(r, d, &r->passive.unhealthy_latency_ms);
    r->passive_at = &d->name;
}

static void option_unhealthy_request_count(struct proxy_reading *r, const struct cf_directive *d)
{
    read_number(r, d, 1, 1000 * 1000, &r->passive.request_count_max);
}

/* ---- active checks --------------------------------------------------------------------------- */

static void option_health_uri(struct proxy_reading *r, const struct cf_directive *d)
{
    struct slice *target = &r->p->check.target;
    read_text(r, d, target);
    if (target->n && (target->p[0] != '/' || slice_find(*target, ' ') != SLICE_NPOS)) {
        cf_error(r->b->diags, &d->args[0], "health_uri is a path with or without a query: /health");
    }
    r->active = true;
}

static void option_health_port(struct proxy_reading *r, const struct cf_directive *d)
{
    unsigned port = 0;
    read_number(r, d, 1, 65535, &port);
    r->health_port = (uint16_t)port;
    r->active = true;
}

static void option_health_upstream(struct proxy_reading *r, const struct cf_directive *d)
{
    read_text(r, d, &r->health_upstream);
    r->active_at = &d->name;
}

static void option_health_method(struct proxy_reading *r, const struct cf_directive *d)
{
    read_text(r, d, &r->p->check.method);
    if (r->p->check.method.n && !field_name_valid(r->p->check.method)) {
        cf_error(r->b->diags, &d->args[0], "\"%.*s\" is no method", SLICE_ARG(d->args[0].text));
    }
    r->active_at = &d->name;
}

static void option_health_headers(struct proxy_reading *r, const struct cf_directive *d)
{
    r->active_at = &d->name;
    if (!expect_args(r->b, d, d->arg_count, 0, 0)) {
        return;
    }
    for (const struct cf_directive *f = d->children; f; f = f->next) {
        for (size_t i = 0; i < f->arg_count; i++) {
            if (!field_name_valid(f->name.text) || !field_value_valid(f->args[i].text)) {
                cf_error(r->b->diags, &f->name, "\"%.*s\" is no field", SLICE_ARG(f->name.text));
            } else if (!fields_add(&r->p->check.fields, r->b->arena, f->name.text,
                                   f->args[i].text)) {
                cf_error(r->b->diags, &f->name, "too many fields");
            }
        }
        if (f->arg_count == 0 &&
            (!field_name_valid(f->name.text) ||
             !fields_add(&r->p->check.fields, r->b->arena, f->name.text, S("")))) {
            cf_error(r->b->diags, &f->name, "\"%.*s\" is no field", SLICE_ARG(f->name.text));
        }
    }
}

static void option_health_request_body(struct proxy_reading *r, const struct cf_directive *d)
{
    read_text(r, d, &r->p->check.body);
    r->active_at = &d->name;
}

static bool body_fits(const void *ctx, struct slice body)
{
    return regex_search(ctx, body, NULL, 0, NULL) == REGEX_MATCH;
}

static void option_health_body(struct proxy_reading *r, const struct cf_directive *d)
{
    struct slice pattern = S("");
    struct slice why = S("");
    read_text(r, d, &pattern);
    r->active_at = &d->name;
    struct regex *re = d->arg_count == 1 ? regex_compile(r->b->arena, pattern, &why) : NULL;
    if (!re && why.n) {
        cf_error(r->b->diags, &d->args[0], "\"%.*s\" is no regular expression: %.*s",
                 SLICE_ARG(pattern), SLICE_ARG(why));
    }
    r->p->check.body_fits = body_fits;
    r->p->check.ctx = re;
}

static void option_health_follow_redirects(struct proxy_reading *r, const struct cf_directive *d)
{
    r->p->check.follow_redirects = expect_args(r->b, d, d->arg_count, 0, 0);
    r->active_at = &d->name;
}

static void option_health_interval(struct proxy_reading *r, const struct cf_directive *d)
{
    read_duration(r, d, &r->p->check.interval_ms);
    if (r->p->check.interval_ms < 10) {
        cf_error(r->b->diags, &d->name, "health_interval is at least 10ms");
    }
    r->active_at = &d->name;
}

static void option_health_timeout(struct proxy_reading *r, const struct cf_directive *d)
{
    read_duration(r, d, &r->p->check.timeout_ms);
    r->active_at = &d->name;
}

static void option_health_passes(struct proxy_reading *r, const struct cf_directive *d)
{
    read_number(r, d, 1, 1000, &r->p->check.passes);
    r->active_at = &d->name;
}

static void option_health_fails(struct proxy_reading *r, const struct cf_directive *d)
{
    read_number(r, d, 1, 1000, &r->p->check.fails);
    r->active_at = &d->name;
}

static void option_health_status(struct proxy_reading *r, const struct cf_directive *d)
{
    read_statuses(r, d, &r->p->check.status);
    r->active_at = &d->name;
}

/* ---- the request and the stream -------------------------------------------------------------- */

static void option_method(struct proxy_reading *r, const struct cf_directive *d)
{
    read_text(r, d, &r->p->method);
    if (r->p->method.n &&
        (!field_name_valid(r->p->method) || http_method_of(r->p->method) == METHOD_CONNECT)) {
        cf_error(r->b->diags, &d->args[0], "\"%.*s\" is no method", SLICE_ARG(r->p->method));
    }
}

static void option_rewrite(struct proxy_reading *r, const struct cf_directive *d)
{
    struct slice to = S("");
    read_text(r, d, &to);
    if (!to.n) {
        return;
    }
    if (to.p[0] != '/' && to.p[0] != '?' && to.p[0] != '{') {
        cf_error(r->b->diags, &d->args[0], "rewrite takes a path and a query: /path?query");
        return;
    }
    r->p->rewrite = target_compile(r->b->arena, &d->args[0], r->b->diags);
}

/* Everything is passed on at once here, whatever the interval (-1 is Caddy's word for that). */
static void option_flush_interval(struct proxy_reading *r, const struct cf_directive *d)
{
    int64_t unused;
    struct slice v = d->arg_count ? d->args[0].text : S("");
    v = slice_from(v, slice_starts(v, S("-")) ? 1 : 0);
    if (expect_args(r->b, d, d->arg_count, 1, 1) && !slice_eq(v, S("1")) &&
        !cf_parse_duration(v, &unused)) {
        cf_error(r->b->diags, &d->args[0], "\"%.*s\" is neither a duration nor -1",
                 SLICE_ARG(d->args[0].text));
    }
}

static void option_stream_timeout(struct proxy_reading *r, const struct cf_directive *d)
{
    read_duration(r, d, &r->p->stream_timeout_ms);
}

static void option_stream_close_delay(struct proxy_reading *r, const struct cf_directive *d)
{
    read_duration(r, d, &r->p->stream_close_delay_ms);
    r->close_delay = true;
}

static void option_verbose_logs(struct proxy_reading *r, const struct cf_directive *d)
{
    r->p->verbose = expect_args(r->b, d, d->arg_count, 0, 0);
}

static void read_buffer(struct proxy_reading *r, const struct cf_directive *d, uint64_t *out)
{
    if (!expect_args(r->b, d, d->arg_count, 1, 1) || !expect_no_block(r->b, d)) {
        return;
    }
    bool unlimited = slice_eq(d->args[0].text, S("unlimited"));
    if (!unlimited && !cf_parse_size(d->args[0].text, out)) {
        cf_error(r->b->diags, &d->args[0], "\"%.*s\" is no size such as 64KiB or 1MB",
                 SLICE_ARG(d->args[0].text));
    } else if (unlimited || *out > BODY_BUFFER_MAX_BYTES) {
        struct cf_diag *diag = cf_error(r->b->diags, &d->args[0],
                                        "%.*s is at most 10MiB for each request",
                                        SLICE_ARG(d->name.text));
        if (diag) {
            diag->hint = S("larger bodies are passed on as they come, without being collected");
        }
    }
}

static void option_request_buffers(struct proxy_reading *r, const struct cf_directive *d)
{
    read_buffer(r, d, &r->p->request_buffer_bytes);
}

static void option_response_buffers(struct proxy_reading *r, const struct cf_directive *d)
{
    read_buffer(r, d, &r->p->response_buffer_bytes);
}

/* Sizes of Caddy's own buffers; here bodies go through a bounded queue that needs no size. */
static void option_harmless(struct proxy_reading *r, const struct cf_directive *d)
{
    cf_warning(r->b->diags, &d->name, "\"%.*s\" has no meaning in caddis and is left out",
               SLICE_ARG(d->name.text));
}

/* ---- what is done with an answer ------------------------------------------------------------- */

/* A rule with the matcher that may stand in front; *args and *count move behind it. */
static struct response_rule *new_rule(struct proxy_reading *r, const struct cf_token **args,
                                      size_t *count)
{
    struct response_rule *rule = ARENA_NEW(r->b->arena, struct response_rule);
    must(rule);
    if (*count && slice_starts((*args)[0].text, S("@"))) {
        rule->matcher = response_matcher_find(r->b, &r->responses, &(*args)[0]);
        ++*args;
        --*count;
    }
    *r->rules_tail = rule;
    r->rules_tail = &rule->next;
    return rule;
}

static void option_replace_status(struct proxy_reading *r, const struct cf_directive *d)
{
    const struct cf_token *args = d->args;
    size_t count = d->arg_count;
    struct response_rule *rule = new_rule(r, &args, &count);
    uint64_t v;
    if (!expect_args(r->b, d, count, 1, 1) || !expect_no_block(r->b, d)) {
        return;
    }
    bool literal = slice_find(args[0].text, '{') == SLICE_NPOS;
    if (literal && (!slice_u64(args[0].text, 599, &v) || v < 200)) {
        cf_error(r->b->diags, &args[0], "\"%.*s\" is no status from 200 to 599",
                 SLICE_ARG(args[0].text));
        return;
    }
    rule->status = template_compile(r->b->arena, &args[0], r->b->diags);
}

static void option_handle_response(struct proxy_reading *r, const struct cf_directive *d)
{
    const struct cf_token *args = d->args;
    size_t count = d->arg_count;
    struct response_rule *rule = new_rule(r, &args, &count);
    if (!expect_args(r->b, d, count, 0, 0)) {
        return;
    }
    if (!d->has_block) {
        cf_error(r->b->diags, &d->name, "handle_response needs a block of directives");
        return;
    }
    bool outer = r->b->in_handle_response;
    r->b->in_handle_response = true;
    if (!route_build(r->b, d->children, &rule->route)) {
        /* its errors are in diags */
    }
    r->b->in_handle_response = outer;
}

/* Definitions come first, wherever they stand. */
void reverse_proxy_define_matchers(struct proxy_reading *r, const struct cf_directive *first)
{
    for (const struct cf_directive *d = first; d; d = d->next) {
        if (slice_starts(d->name.text, S("@")) && d->name.quote == CF_BARE) {
            response_matcher_define(r->b, &r->responses, d);
        }
    }
}

/* ---- the table ------------------------------------------------------------------------------- */

static const struct {
    struct slice name;
    option_fn *read;
} options[] = {
    {S_INIT("header_up"), option_header_up},
    {S_INIT("header_down"), option_header_down},
    {S_INIT("trusted_proxies"), option_trusted_proxies},
    {S_INIT("lb_policy"), option_lb_policy},
    {S_INIT("lb_retries"), option_lb_retries},
    {S_INIT("lb_try_duration"), option_lb_try_duration},
    {S_INIT("lb_try_interval"), option_lb_try_interval},
    {S_INIT("lb_retry_match"), option_lb_retry_match},
    {S_INIT("fail_duration"), option_fail_duration},
    {S_INIT("max_fails"), option_max_fails},
    {S_INIT("unhealthy_status"), option_unhealthy_status},
    {S_INIT("unhealthy_latency"), option_unhealthy_latency},
    {S_INIT("unhealthy_request_count"), option_unhealthy_request_count},
    {S_INIT("health_uri"), option_health_uri},
    {S_INIT("health_path"), option_health_uri}, /* its old name */
    {S_INIT("health_port"), option_health_port},
    {S_INIT("health_upstream"), option_health_upstream},
    {S_INIT("health_method"), option_health_method},
    {S_INIT("health_headers"), option_health_headers},
    {S_INIT("health_request_body"), option_health_request_body},
    {S_INIT("health_body"), option_health_body},
    {S_INIT("health_follow_redirects"), option_health_follow_redirects},
    {S_INIT("health_interval"), option_health_interval},
    {S_INIT("health_timeout"), option_health_timeout},
    {S_INIT("health_passes"), option_health_passes},
    {S_INIT("health_fails"), option_health_fails},
    {S_INIT("health_status"), option_health_status},
    {S_INIT("replace_status"), option_replace_status},
    {S_INIT("handle_response"), option_handle_response},
    {S_INIT("method"), option_method},
    {S_INIT("rewrite"), option_rewrite},
    {S_INIT("flush_interval"), option_flush_interval},
    {S_INIT("stream_timeout"), option_stream_timeout},
    {S_INIT("stream_close_delay"), option_stream_close_delay},
    {S_INIT("request_buffers"), option_request_buffers},
    {S_INIT("response_buffers"), option_response_buffers},
    {S_INIT("stream_buffer_size"), option_harmless},
    {S_INIT("verbose_logs"), option_verbose_logs},
};

bool reverse_proxy_read_option(struct proxy_reading *r, const struct cf_directive *d)
{
    if (slice_starts(d->name.text, S("@")) && d->name.quote == CF_BARE) {
        return true; /* a response matcher; read before */
    }
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        if (slice_eq(d->name.text, options[i].name)) {
            options[i].read(r, d);
            return true;
        }
    }
    return false;
}

size_t reverse_proxy_option_names(struct slice *out, size_t max)
{
    size_t n = ARRAY_LEN(options) < max ? ARRAY_LEN(options) : max;
    for (size_t i = 0; i < n; i++) {
        out[i] = options[i].name;
    }
    return n;
}

void reverse_proxy_reading_init(struct proxy_reading *r, struct build *b, struct reverse_proxy *p)
{
    *r = (struct proxy_reading){.b = b, .p = p};
    r->rules_tail = &p->response_rules;
    p->header_up.side = RULES_REQUEST;
    p->header_down.side = RULES_RESPONSE;
    p->retry.try_interval_ms = TRY_INTERVAL_MS;
    p->check = (struct health_check){.method = S("GET"),
                                     .target = S("/"),
                                     .interval_ms = HEALTH_INTERVAL_MS,
                                     .timeout_ms = HEALTH_TIMEOUT_MS,
                                     .passes = 1,
                                     .fails = 1};
    balance_init(b, &p->balance);
}

/* ---- when all is read ------------------------------------------------------------------------ */

static void start_checks(struct background *self, struct upstream *u)
{
    struct reverse_proxy *p = container_of(self, struct reverse_proxy, background);
    for (size_t i = 0; i < p->origin_count; i++) {
        if (p->checkers[i]) {
            health_checker_start(p->checkers[i], u);
        }
    }
}

static void stop_checks(struct background *self)
{
    struct reverse_proxy *p = container_of(self, struct reverse_proxy, background);
    for (size_t i = 0; i < p->origin_count; i++) {
        if (p->checkers[i]) {
            health_checker_stop(p->checkers[i]);
        }
    }
}

/* Where the checks of an origin go: a connection of their own each time. NULL after an error. */
static struct origin *asked_origin(struct proxy_reading *r, const struct origin *o)
{
    struct origin like = *o;
    struct cf_address a;
    struct slice why = S("");
    uint64_t port;
    like.health = (struct health){.policy = {0}};
    like.keepalive_max = 0;
    if (r->health_upstream.n) {
        if (!cf_parse_address(r->b->arena, r->health_upstream, &a, &why) || a.scheme.n ||
            a.path.n || !a.host.n || !slice_u64(a.port, 65535, &port)) {
            cf_error(r->b->diags, r->active_at, "health_upstream is a host and a port");
            return NULL;
        }
        like.host = a.host;
        like.port = (uint16_t)port;
        like.unix_path = S("");
    } else if (r->health_port && !o->unix_path.n) {
        like.port = r->health_port;
    }
    if (!like.unix_path.n) {
        bool v6 = slice_find(like.host, ':') != SLICE_NPOS;
        like.text = arena_printf(r->b->arena, v6 ? "[%.*s]:%u" : "%.*s:%u", SLICE_ARG(like.host),
                                 like.port);
    }
    like.key = arena_printf(r->b->arena, "check %.*s", SLICE_ARG(like.text));
    return origin_new(&like);
}

/* ---- when all is read: tunnels and checks ---------------------------------------------------- */

static void tunnels_run(struct background *self, struct upstream *u)
{
    (void)self;
    (void)u;
}

/* The configuration was replaced (or caddis stops): tunnels have so much time left. */
static void tunnels_replaced(struct background *self)
{
    struct reverse_proxy *p = container_of(self, struct reverse_proxy, tunnel_background);
    atomic_store_explicit(&p->tunnels->replaced, true, memory_order_relaxed);
}

static void make_tunnel_policy(struct proxy_reading *r)
{
    struct reverse_proxy *p = r->p;
    p->tunnels = mem_zalloc(sizeof(*p->tunnels));
    atomic_init(&p->tunnels->refs, 1);
    atomic_init(&p->tunnels->replaced, false);
    p->tunnels->timeout_ms = p->stream_timeout_ms;
    p->tunnels->close_delay_ms = p->stream_close_delay_ms;
    p->tunnels->closes = r->close_delay;
    if (r->close_delay) {
        p->tunnel_background = (struct background){r->b->backgrounds, tunnels_run,
                                                   tunnels_replaced};
        r->b->backgrounds = &p->tunnel_background;
    }
}

static void origins_run(struct background *self, struct upstream *u)
{
    (void)u;
    metrics_origins_add(&container_of(self, struct reverse_proxy, list_background)->listed);
}

static void origins_stop(struct background *self)
{
    metrics_origins_remove(&container_of(self, struct reverse_proxy, list_background)->listed);
}

/* For the metrics; of those that are made from requests nobody knows how many there are. */
static void list_origins(struct proxy_reading *r)
{
    struct reverse_proxy *p = r->p;
    p->listed.origins = p->origins;
    p->listed.count = p->places ? 0 : p->origin_count;
    list_init(&p->listed.node);
    p->list_background = (struct background){r->b->backgrounds, origins_run, origins_stop};
    r->b->backgrounds = &p->list_background;
}

static void make_checkers(struct proxy_reading *r)
{
    struct reverse_proxy *p = r->p;
    for (size_t i = 0; i < p->origin_count; i++) {
        if (p->places && p->places[i].address) {
            cf_warning(r->b->diags, p->places[i].at, "active health checks do not reach an origin"
                       " that is made from requests");
            continue;
        }
        struct origin *asked = asked_origin(r, p->origins[i]);
        if (!asked) {
            return;
        }
        p->checkers[i] = health_checker_new(&p->check, p->origins[i], asked);
        origin_unref(asked);
    }
    p->background = (struct background){r->b->backgrounds, start_checks, stop_checks};
    r->b->backgrounds = &p->background;
}

void reverse_proxy_reading_end(struct proxy_reading *r, const struct cf_directive *d)
{
    struct reverse_proxy *p = r->p;
    bool looks_up = p->dynamic || p->named_dynamics;
    if (r->passive_at && p->origin_count && !r->passive.fail_duration_ms) {
        cf_warning(r->b->diags, r->passive_at, "\"%.*s\" does nothing without fail_duration",
                   SLICE_ARG(r->passive_at->text));
    }
    if (r->active_at && !r->active) {
        cf_warning(r->b->diags, r->active_at, "\"%.*s\" does nothing without health_uri or"
                   " health_port", SLICE_ARG(r->active_at->text));
    }
    if (r->retry_match_at && !p->retry.try_duration_ms && !p->retry.retries) {
        cf_warning(r->b->diags, r->retry_match_at, "lb_retry_match does nothing without lb_retries"
                   " or lb_try_duration");
    }
    if (!p->retry.try_duration_ms && !r->try_interval_set) {
        p->retry.try_interval_ms = 0;
    }
    for (const struct balance *x = looks_up ? &p->balance : NULL; x; x = x->fallback) {
        if (x->policy == POLICY_COOKIE || x->policy == POLICY_WEIGHTED_ROUND_ROBIN) {
            cf_error(r->b->diags, x->at ? x->at : &d->name,
                     "this lb_policy with dynamic is Caddy's and not yet in caddis");
        }
    }
    if (looks_up && r->active) {
        cf_warning(r->b->diags, r->active_at, "active health checks do not reach dynamic origins");
    }
    balance_finish(r->b, p);
    if (r->b->diags->errors == 0) {
        list_origins(r);
    }
    if (r->b->diags->errors == 0 && (p->stream_timeout_ms || r->close_delay)) {
        make_tunnel_policy(r);
    }
    if (r->active && r->b->diags->errors == 0) {
        make_checkers(r);
    }
}
