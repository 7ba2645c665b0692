/* Any bytes as a Caddyfile, and its lines as durations, sizes and addresses. The tree is walked and
 * every diagnostic printed, so that a dangling slice anywhere is seen. No file is ever opened. */
#include <stdint.h>
#include <stdlib.h>

#include "proxy/caddyfile/caddyfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned sum; /* keeps the reads */

static const char *env(void *ctx, const char *name)
{
    (void)ctx;
    return name[0] == 'L' ? "{\n}\n{$L}" : name[0] == 'W' ? "word" : NULL;
}

static void read_token(const struct cf_token *t)
{
    for (size_t i = 0; i <= t->text.n; i++) { /* the NUL behind it too */
        sum += (unsigned char)t->text.p[i];
    }
    for (const struct cf_place *p = &t->at; p; p = p->imported_from) {
        sum += p->line + p->column + (unsigned)p->source->name.n;
    }
    if (t->text.p[t->text.n] != '\0') {
        abort();
    }
}

static void walk(const struct cf_directive *d)
{
    for (; d; d = d->next) {
        read_token(&d->name);
        for (size_t i = 0; i < d->arg_count; i++) {
            read_token(&d->args[i]);
        }
        if (d->children && !d->has_block) {
            abort();
        }
        walk(d->children);
    }
}

static void parse(struct slice text)
{
    static const struct cf_options options = {
        .getenv = env, .max_bytes = 1 << 16, .max_tokens = 20000, .no_files = true};
    struct cf_diags diags;
    struct dstr out;
    cf_diags_init(&diags);
    dstr_init(&out, 1 << 20);
    struct cf_document *doc = cf_parse_text(S("none/Caddyfile"), text, &options, &diags);
    walk(doc->options);
    for (const struct cf_named_route *r = doc->named_routes; r; r = r->next) {
        read_token(&r->name);
        walk(r->directives);
    }
    for (const struct cf_site *s = doc->sites; s; s = s->next) {
        for (size_t i = 0; i < s->address_count; i++) {
            read_token(&s->addresses[i]);
        }
        if (s->address_count == 0) {
            abort();
        }
        walk(s->directives);
    }
    cf_free(doc);
    cf_diags_print(&diags, &out);
    for (size_t i = 0; i < out.n; i++) {
        unsigned char c = (unsigned char)out.p[i];
        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f) {
            abort(); /* nothing may reach a terminal */
        }
    }
    cf_diags_fini(&diags);
    dstr_fini(&out);
}

static void parse_values(struct slice text)
{
    int64_t ms = 0;
    uint64_t bytes = 0;
    struct arena a;
    struct cf_address address;
    struct slice why;
    struct slice line;
    arena_init(&a, 1 << 20);
    for (int i = 0; i < 50 && slice_cut(&text, '\n', &line); i++) {
        if (cf_parse_duration(line, &ms) && ms < 0) {
            abort();
        }
        sum += cf_parse_size(line, &bytes);
        if (!cf_parse_address(&a, line, &address, &why) && why.n == 0) {
            abort();
        }
    }
    arena_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size);
    parse(text);
    parse_values(text);
    return 0;
}
