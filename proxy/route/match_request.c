/* Matchers of the request line and the connection:
 *   path P...   method M...   host H...   protocol http|https|grpc|http/V[+]   tls
 *   remote_ip R...   client_ip R...   not MATCHER | not { MATCHERS } */
#include "proxy/net/stream.h"
#include "proxy/route/ip_ranges.h"
#include "proxy/route/match.h"
#include "proxy/route/path.h"

/* ---- path ------------------------------------------------------------------------------------ */

static bool read_path(struct match_line *line, struct matcher *m)
{
    struct match_values *v = m->data ? m->data : ARENA_NEW(line->arena, struct match_values);
    must(v);
    m->data = v;
    bool ok = true;
    for (size_t i = 0; i < line->count; i++) {
        char c = line->args[i].text.n ? line->args[i].text.p[0] : '\0';
        if (c != '/' && c != '*' && c != '{') {
            cf_error(line->diags, &line->args[i],
                     "a path pattern begins with / or *; this one never matches");
            ok = false;
        } else {
            ok = match_value_add(line, v, &line->args[i]) && ok;
        }
    }
    return ok;
}

/* Out of memory leaves arena.failed set, which the chain answers with 503: a rule that denies must
 * not fail open. */
static bool path_fits(struct slice pattern, struct exchange *ex)
{
    bool keep = slice_find_slice(pattern, S("//")) != SLICE_NPOS;
    if (slice_find(pattern, '%') != SLICE_NPOS) {
        return path_escaped_pattern_matches(pattern,
                                            path_clean_raw(&ex->arena, ex->req.path, keep));
    }
    struct slice *clean = &ex->clean_path[keep];
    if (!clean->p) {
        *clean = path_clean(&ex->arena, ex->req.path, keep);
    }
    return path_pattern_matches(pattern, *clean);
}

static enum match_result path_matches(const struct matcher *m, struct exchange *ex)
{
    const struct match_values *values = m->data;
    for (const struct match_value *v = values->first; v; v = v->next) {
        if (path_fits(template_eval(v->text, ex), ex)) {
            return MATCH_YES;
        }
    }
    return MATCH_NO;
}

const struct matcher_kind match_path = {
    .name = S_INIT("path"),
    .read = read_path,
    .matches = path_matches,
};

/* The one pattern of a set's path matcher; p == NULL: it has none, or several. */
static struct slice single_path(const struct matcher *m)
{
    for (; m; m = m->next) {
        const struct match_values *v = m->data;
        if (m->kind == &match_path && v->first == v->last) {
            return template_literal(v->first->text);
        }
    }
    return (struct slice){NULL, 0};
}

bool matcher_more_specific(const struct matcher *a, const struct matcher *b)
{
    struct slice pa = single_path(a);
    struct slice pb = single_path(b);
    if (!pa.p || !pb.p) {
        return a && !b;
    }
    struct slice ta = slice_upto(pa, pa.n - slice_ends(pa, S("*")));
    struct slice tb = slice_upto(pb, pb.n - slice_ends(pb, S("*")));
    if (slice_eq(ta, tb)) {
        return pa.n < pb.n;
    }
    return ta.n == tb.n ? slice_cmp(ta, tb) < 0 : ta.n > tb.n;
}

/* One path that is literal but for a star at its end. */
static bool is_plain_path(struct slice p)
{
    for (size_t i = 0; i < p.n; i++) {
        if (memchr("*?[%\\", p.p[i], 5) && !(p.p[i] == '*' && i + 1 == p.n)) {
            return false;
        }
    }
    return p.n > 0;
}

bool matcher_covers(const struct matcher *a, const struct matcher *b)
{
    if (!a || a == b) {
        return true;
    }
    struct slice pa = a->next ? (struct slice){NULL, 0} : single_path(a);
    struct slice pb = single_path(b);
    if (!pa.p || !pb.p || !is_plain_path(pa) || !is_plain_path(pb)) {
        return false;
    }
    struct slice prefix = slice_upto(pa, pa.n - 1);
    return slice_eq_case(pa, pb) ||
           (slice_ends(pa, S("*")) && pb.n >= prefix.n &&
            slice_eq_case(slice_upto(pb, prefix.n), prefix));
}

/* ---- method ---------------------------------------------------------------------------------- */

struct texts {
    struct slice *items;
    size_t count;
    size_t cap;
};

static void add_text(struct arena *a, struct texts *t, struct slice text)
{
    if (t->count == t->cap) {
        size_t cap = t->cap * 2 + 8;
        struct slice *items = ARENA_ARRAY(a, struct slice, cap);
        must(items);
        if (t->count) {
            memcpy(items, t->items, t->count * sizeof(*items));
        }
        t->items = items;
        t->cap = cap;
    }
    t->items[t->count++] = text;
}

static struct slice upper(struct arena *a, struct slice s)
{
    char *p = arena_alloc(a, s.n + 1);
    must(p);
    for (size_t i = 0; i < s.n; i++) {
        p[i] = s.p[i] >= 'a' && s.p[i] <= 'z' ? (char)(s.p[i] - 'a' + 'A') : s.p[i];
    }
    p[s.n] = '\0';
    return slice_of(p, s.n);
}

static bool read_method(struct match_line *line, struct matcher *m)
{
    struct texts *t = m->data ? m->data : ARENA_NEW(line->arena, struct texts);
    must(t);
    m->data = t;
    for (size_t i = 0; i < line->count; i++) {
        if (!field_name_valid(line->args[i].text)) {
            cf_error(line->diags, &line->args[i], "\"%.*s\" is no method; this never matches",
                     SLICE_ARG(line->args[i].text));
            return false;
        }
        add_text(line->arena, t, upper(line->arena, line->args[i].text));
    }
    return true;
}

static enum match_result method_matches(const struct matcher *m, struct exchange *ex)
{
    const struct texts *t = m->data;
    for (size_t i = 0; i < t->count; i++) {
        if (slice_eq(t->items[i], ex->req.method_text)) {
            return MATCH_YES;
        }
    }
    return MATCH_NO;
}

const struct matcher_kind match_method = {
    .name = S_INIT("method"),
    .read = read_method,
    .matches = method_matches,
};

/* ---- host ------------------------------------------------------------------------------------ */

struct hosts {
    struct map exact;           /* names as they are */
    struct match_values others; /* with "*" or placeholders */
};

static void free_map(void *map)
{
    map_fini(map);
}

static struct hosts *new_hosts(struct arena *a)
{
    struct hosts *h = ARENA_NEW(a, struct hosts);
    must(h);
    map_init(&h->exact);
    arena_on_fini(a, free_map, &h->exact);
    return h;
}

static bool read_host(struct match_line *line, struct matcher *m)
{
    static char there; /* a map's values are not NULL */
    struct hosts *h = m->data ? m->data : new_hosts(line->arena);
    m->data = h;
    for (size_t i = 0; i < line->count; i++) {
        struct cf_token lower = line->args[i];
        bool plain = slice_find(lower.text, '*') == SLICE_NPOS &&
                     slice_find(lower.text, '{') == SLICE_NPOS;
        if (plain) {
            lower.text = arena_lower(line->arena, lower.text);
            struct slice host = lower.text;
            size_t n = host.n;
            host = n > 1 && host.p[n - 1] == '.' ? slice_upto(host, n - 1) : host;
            host = n > 2 && host.p[0] == '[' ? slice_of(host.p + 1, n - 2) : host;
            if (map_put(&h->exact, host, &there)) {
                cf_warning(line->diags, &line->args[i], "this host is here twice");
            }
            if (n == 0 || slice_find(lower.text, '/') != SLICE_NPOS) {
                cf_error(line->diags, &line->args[i], "\"%.*s\" is no host name; this never"
                         " matches", SLICE_ARG(lower.text));
                return false;
            }
        } else if (!match_value_add(line, &h->others, &lower)) {
            return false;
        }
    }
    return true;
}

/* Label by label; "*" is any one. */
static bool host_fits(struct slice pattern, struct slice host)
{
    struct slice want;
    struct slice have;
    if (slice_find(pattern, '*') == SLICE_NPOS) {
        return slice_eq_case(pattern, host);
    }
    do {
        (void)slice_cut(&pattern, '.', &want);
        (void)slice_cut(&host, '.', &have);
        if (!slice_eq(want, S("*")) && !slice_eq_case(want, have)) {
            return false;
        }
    } while (pattern.p && host.p);
    return !pattern.p && !host.p;
}

static enum match_result host_matches(const struct matcher *m, struct exchange *ex)
{
    const struct hosts *h = m->data;
    if (map_get(&h->exact, ex->req.host)) {
        return MATCH_YES;
    }
    for (const struct match_value *v = h->others.first; v; v = v->next) {
        if (host_fits(template_eval(v->text, ex), ex->req.host)) {
            return MATCH_YES;
        }
    }
    return MATCH_NO;
}

const struct matcher_kind match_host = {
    .name = S_INIT("host"),
    .read = read_host,
    .matches = host_matches,
};

/* ---- protocol, tls --------------------------------------------------------------------------- */

static bool grpc(const struct exchange *ex)
{
    const struct field *f = fields_find_id(&ex->req.fields, FIELD_CONTENT_TYPE);
    return f && slice_starts(f->value, S("application/grpc"));
}

static bool plain(const struct exchange *ex)
{
    return !ex->client.tls;
}

static bool over_tls(const struct exchange *ex)
{
    return ex->client.tls;
}

static bool exactly_1_0(const struct exchange *ex)
{
    return ex->req.version == HTTP_1_0;
}

static bool any_version(const struct exchange *ex)
{
    (void)ex;
    return true;
}

static bool exactly_1_1(const struct exchange *ex)
{
    return ex->req.version == HTTP_1_1;
}

static bool from_1_1(const struct exchange *ex)
{
    return ex->req.version != HTTP_1_0;
}

static bool version_2(const struct exchange *ex)
{
    return ex->req.version == HTTP_2;
}

static bool from_2(const struct exchange *ex)
{
    return ex->req.version >= HTTP_2;
}

static bool from_3(const struct exchange *ex)
{
    return ex->req.version > HTTP_2;
}

struct protocol {
    struct slice name;
    bool (*fits)(const struct exchange *ex);
};

static const struct protocol protocols[] = {
    {S_INIT("http"), plain},         {S_INIT("https"), over_tls},
    {S_INIT("grpc"), grpc},          {S_INIT("http/1.0"), exactly_1_0},
    {S_INIT("http/1.0+"), any_version}, {S_INIT("http/1.1"), exactly_1_1},
    {S_INIT("http/1.1+"), from_1_1}, {S_INIT("http/2"), version_2},
    {S_INIT("http/2+"), from_2},     {S_INIT("http/3"), from_3},
    {S_INIT("http/3+"), from_3},
};

static bool read_protocol(struct match_line *line, struct matcher *m)
{
    struct slice names[ARRAY_LEN(protocols)];
    if (line->count > 1 || m->data) {
        cf_error(line->diags, line->count > 1 ? &line->args[1] : line->name,
                 "a request has one protocol: write one, or two matchers in two \"not\" lines");
        return false;
    }
    struct slice want = arena_lower(line->arena, line->args[0].text);
    for (size_t i = 0; i < ARRAY_LEN(protocols); i++) {
        if (slice_eq(want, protocols[i].name)) {
            m->data = (void *)(uintptr_t)&protocols[i];
            return true;
        }
        names[i] = protocols[i].name;
    }
    struct cf_diag *d = cf_error(line->diags, &line->args[0], "\"%.*s\" is no protocol such as"
                                 " https, grpc or http/1.1+; this never matches",
                                 SLICE_ARG(line->args[0].text));
    if (d) {
        cf_did_you_mean(line->diags, d, want, names, ARRAY_LEN(names));
    }
    return false;
}

static enum match_result protocol_matches(const struct matcher *m, struct exchange *ex)
{
    const struct protocol *p = m->data;
    return match_bool(p->fits(ex));
}

const struct matcher_kind match_protocol = {
    .name = S_INIT("protocol"),
    .read = read_protocol,
    .matches = protocol_matches,
};

static char any; /* what a tls matcher's data points to */
static char early;

static bool read_tls(struct match_line *line, struct matcher *m)
{
    bool wants_early = line->count == 1 && slice_eq(line->args[0].text, S("early_data"));
    if (line->count && !wants_early) {
        cf_error(line->diags, &line->args[0], "the matcher tls takes nothing or early_data");
        return false;
    }
    if (wants_early) {
        cf_warning(line->diags, &line->args[0], "caddis takes no early data, so this never"
                   " matches");
    }
    m->data = wants_early ? &early : m->data ? m->data : &any;
    return true;
}

static enum match_result tls_matches(const struct matcher *m, struct exchange *ex)
{
    return match_bool(ex->client.tls && m->data == &any);
}

const struct matcher_kind match_tls = {
    .name = S_INIT("tls"),
    .read = read_tls,
    .matches = tls_matches,
    .no_arguments = true,
};

/* ---- remote_ip, client_ip -------------------------------------------------------------------- */

static bool read_ranges(struct match_line *line, struct matcher *m)
{
    struct ip_ranges *r = m->data ? m->data : ARENA_NEW(line->arena, struct ip_ranges);
    must(r);
    m->data = r;
    bool ok = true;
    for (size_t i = 0; i < line->count; i++) {
        ok = ip_ranges_add(line->arena, r, &line->args[i], line->diags) && ok;
    }
    return ok;
}

static enum match_result remote_ip_matches(const struct matcher *m, struct exchange *ex)
{
    return match_bool(ip_ranges_have(m->data, ex->client.peer));
}

static enum match_result client_ip_matches(const struct matcher *m, struct exchange *ex)
{
    return match_bool(ip_ranges_have(m->data, ex->client_addr));
}

const struct matcher_kind match_remote_ip = {
    .name = S_INIT("remote_ip"),
    .read = read_ranges,
    .matches = remote_ip_matches,
};

const struct matcher_kind match_client_ip = {
    .name = S_INIT("client_ip"),
    .read = read_ranges,
    .matches = client_ip_matches,
};

/* ---- not ------------------------------------------------------------------------------------- */

/* Sets of which none may match: one for each `not` line. */
struct negated {
    struct negated *next;
    struct matcher *set;
};

static struct matcher *read_negated(struct match_line *line)
{
    if (line->count == 0) {
        if (!line->children) {
            cf_error(line->diags, line->name, "\"not\" needs a matcher");
            return NULL;
        }
        return match_compile_set(line, line->children);
    }
    struct match_line inner = *line;
    inner.name = &line->args[0];
    inner.args = line->args + 1;
    inner.count = line->count - 1;
    inner.depth++;
    return match_compile_line(&inner);
}

static bool read_not(struct match_line *line, struct matcher *m)
{
    struct negated *n = ARENA_NEW(line->arena, struct negated);
    must(n);
    n->set = read_negated(line);
    n->next = m->data;
    m->data = n;
    return n->set != NULL;
}

static enum match_result not_matches(const struct matcher *m, struct exchange *ex)
{
    for (const struct negated *n = m->data; n; n = n->next) {
        enum match_result r = matcher_matches(n->set, ex);
        if (r != MATCH_NO) {
            return r == MATCH_YES ? MATCH_NO : r;
        }
    }
    return MATCH_YES;
}

static bool not_may_wait(const struct matcher *m)
{
    for (const struct negated *n = m->data; n; n = n->next) {
        if (matcher_may_wait(n->set)) {
            return true;
        }
    }
    return false;
}

const struct matcher_kind match_not = {
    .name = S_INIT("not"),
    .read = read_not,
    .matches = not_matches,
    .has_block = true,
    .no_arguments = true,
    .may_wait = not_may_wait,
};
