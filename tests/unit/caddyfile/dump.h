/* A document as one line of text, for comparing in tests:
 *     options{email [a@b.c]} route(r){...} site(a.com b.com){handle [/x]{respond [A]}}
 * Arguments are in brackets, so that their edges show. Included by the tests only. */
#ifndef TESTS_CADDYFILE_DUMP_H
#define TESTS_CADDYFILE_DUMP_H

#include "proxy/caddyfile/caddyfile.h"

static inline void dump_directives(struct dstr *out, const struct cf_directive *d)
{
    dstr_byte(out, '{');
    for (; d; d = d->next) {
        dstr_append(out, d->name.text);
        for (size_t i = 0; i < d->arg_count; i++) {
            dstr_printf(out, " [%.*s]", SLICE_ARG(d->args[i].text));
        }
        if (d->has_block) {
            dump_directives(out, d->children);
        }
        dstr_append(out, d->next ? S("; ") : S(""));
    }
    dstr_byte(out, '}');
}

static inline void dump_document(struct dstr *out, const struct cf_document *doc)
{
    if (doc->options) {
        dstr_append(out, S("options"));
        dump_directives(out, doc->options);
    }
    for (const struct cf_named_route *r = doc->named_routes; r; r = r->next) {
        dstr_printf(out, "%sroute(%.*s)", out->n ? " " : "", SLICE_ARG(r->name.text));
        dump_directives(out, r->directives);
    }
    for (const struct cf_site *s = doc->sites; s; s = s->next) {
        dstr_printf(out, "%ssite(", out->n ? " " : "");
        for (size_t i = 0; i < s->address_count; i++) {
            dstr_printf(out, "%s%.*s", i ? " " : "", SLICE_ARG(s->addresses[i].text));
        }
        dstr_byte(out, ')');
        dump_directives(out, s->directives);
    }
}

#endif
