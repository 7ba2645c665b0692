/* The Caddyfile that import writes: sites, lines, comments, quoting. */
#include "cmd/import/import.h"

void import_init(struct import *i, struct slice name)
{
    *i = (struct import){.origin = name};
    arena_init(&i->arena, 4 * IMPORT_TEXT_MAX);
    dstr_init(&i->head.out, IMPORT_TEXT_MAX);
    dstr_init(&i->options.out, IMPORT_TEXT_MAX);
    i->options.depth = 1;
    i->last_site = &i->sites;
}

void import_fini(struct import *i)
{
    dstr_fini(&i->head.out);
    dstr_fini(&i->options.out);
    for (struct import_site *s = i->sites; s; s = s->next) {
        dstr_fini(&s->body.out);
    }
    arena_fini(&i->arena);
}

struct import_site *import_site_of(struct import *i, struct slice addresses)
{
    for (struct import_site *s = i->sites; s; s = s->next) {
        if (slice_eq(s->addresses, addresses)) {
            return s;
        }
    }
    struct import_site *s = ARENA_NEW(&i->arena, struct import_site);
    if (!s) {
        return NULL;
    }
    s->addresses = arena_copy(&i->arena, addresses);
    dstr_init(&s->body.out, IMPORT_TEXT_MAX);
    s->body.depth = 1;
    *i->last_site = s;
    i->last_site = &s->next;
    return s;
}

void import_write(struct import *i, struct dstr *out)
{
    dstr_append(out, dstr_slice(&i->head.out));
    if (i->options.out.n) {
        dstr_append(out, S("{\n"));
        dstr_append(out, dstr_slice(&i->options.out));
        dstr_append(out, S("}\n"));
    }
    for (struct import_site *s = i->sites; s; s = s->next) {
        dstr_printf(out, "%s%.*s {\n", out->n ? "\n" : "", SLICE_ARG(s->addresses));
        dstr_append(out, dstr_slice(&s->body.out));
        dstr_append(out, S("}\n"));
        out->failed = out->failed || s->body.out.failed;
    }
    out->failed = out->failed || i->head.out.failed || i->options.out.failed || i->arena.failed;
}

static void indent(struct import_text *t)
{
    for (unsigned k = 0; k < t->depth; k++) {
        dstr_byte(&t->out, '\t');
    }
}

static void line(struct import_text *t, const char *fmt, va_list ap)
{
    indent(t);
    dstr_vprintf(&t->out, fmt, ap);
    dstr_byte(&t->out, '\n');
}

void text_line(struct import_text *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    line(t, fmt, ap);
    va_end(ap);
}

void text_open(struct import_text *t, const char *fmt, ...)
{
    va_list ap;
    indent(t);
    va_start(ap, fmt);
    dstr_vprintf(&t->out, fmt, ap);
    va_end(ap);
    dstr_append(&t->out, S(" {\n"));
    t->depth++;
}

void text_close(struct import_text *t)
{
    t->depth--;
    indent(t);
    dstr_append(&t->out, S("}\n"));
}

/* What stands in a comment must not end it. */
static void comment(struct dstr *out, struct slice s)
{
    for (size_t k = 0; k < s.n; k++) {
        bool control = (unsigned char)s.p[k] < 0x20 || s.p[k] == 0x7f;
        dstr_byte(out, control ? ' ' : s.p[k]);
    }
}

static void begin_comment(struct import *i, struct import_text *t, const char *word, unsigned at,
                          struct slice what)
{
    indent(t);
    dstr_printf(&t->out, "# %s%.*s", word, SLICE_ARG(i->origin));
    if (at) {
        dstr_printf(&t->out, ":%u", at);
    }
    dstr_append(&t->out, S(": "));
    comment(&t->out, what);
}

void text_dropped(struct import *i, struct import_text *t, unsigned at, struct slice what,
                  const char *why)
{
    begin_comment(i, t, "", at, what);
    dstr_printf(&t->out, ": %s\n", why);
}

void text_warning(struct import *i, struct import_text *t, unsigned at, struct slice what,
                  const char *fmt, ...)
{
    va_list ap;
    begin_comment(i, t, "WARNING ", at, what);
    dstr_append(&t->out, S(": "));
    va_start(ap, fmt);
    dstr_vprintf(&t->out, fmt, ap);
    va_end(ap);
    dstr_byte(&t->out, '\n');
    i->warnings++;
}

static bool needs_quotes(struct slice v)
{
    if (v.n == 0 || v.p[0] == '#' || v.p[0] == '"' || v.p[0] == '`' || slice_starts(v, S("<<")) ||
        slice_eq(v, S("{")) || slice_eq(v, S("}")) || slice_eq(v, S("<")) ||
        slice_eq(v, S(">")) || slice_eq(v, S(";")) || v.p[v.n - 1] == '\\' ||
        v.p[v.n - 1] == '{') {
        return true;
    }
    for (size_t k = 0; k < v.n; k++) {
        if ((unsigned char)v.p[k] <= ' ') {
            return true;
        }
    }
    return false;
}

struct slice import_quoted(struct import *i, struct slice v)
{
    struct dstr d;
    if (!needs_quotes(v)) {
        return v;
    }
    dstr_init(&d, IMPORT_TEXT_MAX);
    /* Between double quotes only the double quote has an escape, so that a backslash at the end
     * cannot be written there. */
    bool special = slice_find(v, '"') != SLICE_NPOS || (v.n && v.p[v.n - 1] == '\\');
    bool raw = special && slice_find(v, '`') == SLICE_NPOS;
    dstr_byte(&d, raw ? '`' : '"');
    for (size_t k = 0; k < v.n; k++) {
        if (!raw && v.p[k] == '"') {
            dstr_byte(&d, '\\');
        }
        dstr_byte(&d, v.p[k]);
    }
    dstr_byte(&d, raw ? '`' : '"');
    struct slice copy = arena_copy(&i->arena, dstr_slice(&d));
    dstr_fini(&d);
    return copy;
}

struct slice import_below(struct import *i, struct slice path)
{
    return import_quoted(i, arena_printf(&i->arena, "%.*s*", SLICE_ARG(path)));
}

struct slice import_name(struct import *i)
{
    return arena_printf(&i->arena, "m%u", ++i->names);
}

struct slice import_join(struct import *i, const struct slice *words, size_t count)
{
    struct dstr d;
    dstr_init(&d, IMPORT_TEXT_MAX);
    for (size_t k = 0; k < count; k++) {
        if (k) {
            dstr_byte(&d, ' ');
        }
        dstr_append(&d, words[k]);
    }
    struct slice copy = arena_copy(&i->arena, dstr_slice(&d));
    dstr_fini(&d);
    return copy;
}

bool import_cert_is_automatic(struct slice path)
{
    static const struct slice places[] = {
        S_INIT("letsencrypt"), S_INIT("/acme"), S_INIT("acme.sh"), S_INIT("snakeoil"),
        S_INIT("certbot"), S_INIT("dehydrated"), S_INIT("lego"),
    };
    for (size_t k = 0; k < ARRAY_LEN(places); k++) {
        if (slice_find_slice(path, places[k]) != SLICE_NPOS) {
            return true;
        }
    }
    return false;
}

bool import_field_is_automatic(struct slice name)
{
    static const struct slice always[] = {
        S_INIT("X-Forwarded-For"), S_INIT("X-Forwarded-Proto"), S_INIT("X-Forwarded-Host"),
        S_INIT("Upgrade"), S_INIT("Connection"), S_INIT("Content-Length"),
    };
    for (size_t k = 0; k < ARRAY_LEN(always); k++) {
        if (slice_eq_case(name, always[k])) {
            return true;
        }
    }
    return false;
}
