/* Any bytes as matchers, expressions and texts with placeholders: compiled, and tried on a request
 * whose target and fields come from the same bytes. */
#include <stdint.h>
#include <stdlib.h>

#include "proxy/loop/loop.h"
#include "proxy/net/addr.h"
#include "proxy/route/matcher.h"
#include "proxy/route/path.h"
#include "proxy/route/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct loop *loop;
static struct addr peer;
static const struct http_service service = {0};
static const struct exchange_codec codec = {0};

static struct exchange *exchange_for(struct slice bytes)
{
    struct client_info client = {.peer = &peer, .local = &peer};
    struct exchange *ex = exchange_new(loop, loop_queue(loop), &codec, &service, &client);
    ex->req.method_text = S("GET");
    ex->req.host = ex->req.authority = S("a.example");
    ex->req.target = slice_upto(bytes, slice_find(bytes, '\n'));
    ex->req.path = slice_upto(ex->req.target, slice_find(ex->req.target, '?'));
    ex->req.query = slice_from(ex->req.target, ex->req.path.n + 1);
    ex->req.scheme = S("http");
    if (!fields_add(&ex->req.fields, &ex->arena, S("Cookie"), ex->req.target)) {
        abort();
    }
    return ex;
}

static void try_matcher(const struct matcher *m, struct slice bytes)
{
    struct exchange *ex = exchange_for(bytes);
    (void)matcher_matches(m, ex);
    (void)matcher_may_wait(m);
    (void)matcher_more_specific(m, m);
    exchange_release(ex);
}

static void definitions(struct arena *a, struct slice bytes, struct cf_diags *diags)
{
    static const struct cf_options options = {.max_bytes = 1 << 16, .max_tokens = 5000,
                                              .no_files = true};
    struct cf_document *doc = cf_parse_text(S("none"), bytes, &options, diags);
    for (const struct cf_site *s = doc->sites; s && diags->errors == 0; s = s->next) {
        for (const struct cf_directive *d = s->directives; d; d = d->next) {
            struct matcher *m;
            if (matcher_from_lines(a, d->children, &m, diags)) {
                try_matcher(m, bytes);
            }
        }
    }
    cf_free(doc);
}

static void expression(struct arena *a, struct slice bytes, struct cf_diags *diags)
{
    struct matcher *m;
    struct cf_token words[] = {{.text = S("expression")},
                               {.text = bytes, .quote = CF_BACKTICK}};
    if (matcher_from_words(a, words, 2, NULL, &m, diags)) {
        try_matcher(m, bytes);
    }
}

static void text(struct arena *a, struct slice bytes, struct cf_diags *diags)
{
    struct cf_token token = {.text = bytes};
    struct template *t = template_compile(a, &token, diags);
    if (t) {
        struct exchange *ex = exchange_for(bytes);
        (void)template_eval(t, ex);
        exchange_release(ex);
    }
    struct slice half = slice_upto(bytes, bytes.n / 2);
    (void)path_pattern_matches(half, slice_from(bytes, half.n));
    (void)path_escaped_pattern_matches(half, slice_from(bytes, half.n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_of(data, size);
    struct err err;
    if (!loop && (!(loop = loop_new(&err)) || !addr_parse_ip(S("192.0.2.7"), 4000, &peer))) {
        abort();
    }
    if (size > 4096 || slice_find_slice(bytes, S("{file")) != SLICE_NPOS) {
        return 0; /* {file./path} would open whatever it names */
    }
    struct arena a;
    struct cf_diags diags;
    arena_init(&a, ARENA_NO_MAX);
    cf_diags_init(&diags);
    definitions(&a, bytes, &diags);
    expression(&a, bytes, &diags);
    text(&a, bytes, &diags);
    cf_diags_fini(&diags);
    arena_fini(&a);
    exchange_pool_drain();
    return 0;
}
