/* Targets: compiled texts, cleaned paths, escaping; see target.h. */
#include "proxy/handler/target.h"

#include "proxy/route/path.h"

#define TARGET_BYTES_MAX (EXCHANGE_ARENA_MAX / 4)

enum piece_kind {
    PIECE_TEXT,
    PIECE_PATH,   /* {path}: decoded it could be taken apart anew by what is in it, so it stays as
                     it came, as in Caddy */
    PIECE_FILLED, /* a placeholder, as it is */
    PIECE_FORM,   /* a placeholder, escaped as a value of a form */
};

struct piece {
    struct piece *next;
    enum piece_kind kind;
    struct slice text;
    struct template *filled;
};

struct target {
    struct piece *path;  /* NULL: the request's */
    struct piece *query; /* with has_query; NULL: there is none then */
    bool has_query;
};

/* ---- bytes ----------------------------------------------------------------------------------- */

/* May c stand in a path (RFC 3986 section 3.3) as it is? */
static bool path_byte(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c) || (c && strchr("-._~!$&'()*+,;=:@/%[]", c));
}

/* In a query (section 3.4); generous, because what a client sends there is generous, too. */
static bool query_byte(char c)
{
    return (unsigned char)c > ' ' && c != 0x7f && c != '#' && (unsigned char)c < 0x80;
}

static void append_escape(struct dstr *out, char c)
{
    dstr_printf(out, "%%%02X", (unsigned)(unsigned char)c);
}

static bool is_escape(struct slice s, size_t i)
{
    return s.p[i] == '%' && i + 2 < s.n && ascii_hex_value(s.p[i + 1]) >= 0 &&
           ascii_hex_value(s.p[i + 2]) >= 0;
}

static void append_path(struct dstr *out, struct slice path)
{
    if (!slice_starts(path, S("/"))) {
        dstr_byte(out, '/');
    }
    for (size_t i = 0; i < path.n; i++) {
        char c = path.p[i];
        if (!path_byte(c) || (c == '%' && !is_escape(path, i))) {
            append_escape(out, c);
        } else {
            dstr_byte(out, c);
        }
    }
}

static void append_query(struct dstr *out, struct slice query)
{
    for (size_t i = 0; i < query.n; i++) {
        if (query_byte(query.p[i])) {
            dstr_byte(out, query.p[i]);
        } else {
            append_escape(out, query.p[i]);
        }
    }
}

void target_form_encode(struct dstr *out, struct slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == ' ') {
            dstr_byte(out, '+');
        } else if (ascii_is_alpha(c) || ascii_is_digit(c) || (c && strchr("-._~", c))) {
            dstr_byte(out, c);
        } else {
            append_escape(out, c);
        }
    }
}

/* ---- setting --------------------------------------------------------------------------------- */

bool target_set(struct exchange *ex, struct request *req, struct slice path, struct slice query)
{
    struct dstr out;
    dstr_init(&out, TARGET_BYTES_MAX);
    append_path(&out, path);
    size_t path_bytes = out.n;
    if (query.p) {
        dstr_byte(&out, '?');
        append_query(&out, query);
    }
    struct slice text = out.failed ? (struct slice){NULL, 0}
                                   : arena_copy(&ex->arena, dstr_slice(&out));
    dstr_fini(&out);
    if (!text.p) {
        return false;
    }
    req->target = text;
    req->path = slice_upto(text, path_bytes);
    req->query = query.p ? slice_from(text, path_bytes + 1) : (struct slice){NULL, 0};
    if (req == &ex->req) {
        ex->clean_path[0] = ex->clean_path[1] = (struct slice){NULL, 0};
    }
    return true;
}

/* ---- stripping ------------------------------------------------------------------------------- */

/* One byte of the path from *i on, going up or down, an escape taken for what it stands for unless
 * want is the "%" itself. */
static char step_byte(struct slice path, size_t *i, bool up, char want)
{
    size_t at = up ? *i : *i - 1;
    if (want != '%' && up && is_escape(path, at)) {
        *i += 3;
        return (char)(unsigned char)(ascii_hex_value(path.p[at + 1]) * 16 +
                                     ascii_hex_value(path.p[at + 2]));
    }
    if (want != '%' && !up && *i >= 3 && is_escape(path, *i - 3)) {
        at = *i - 3;
        *i = at;
        return (char)(unsigned char)(ascii_hex_value(path.p[at + 1]) * 16 +
                                     ascii_hex_value(path.p[at + 2]));
    }
    *i = up ? at + 1 : at;
    return path.p[at];
}

static struct slice strip(struct slice path, struct slice text, bool prefix)
{
    size_t at = prefix ? 0 : path.n;
    for (size_t i = 0; i < text.n; i++) {
        char want = text.p[prefix ? i : text.n - 1 - i];
        if ((prefix && at == path.n) || (!prefix && at == 0) ||
            ascii_lower(step_byte(path, &at, prefix, want)) != ascii_lower(want)) {
            return path;
        }
    }
    return prefix ? slice_from(path, at) : slice_upto(path, at);
}

bool target_strip(struct exchange *ex, struct slice text, bool prefix)
{
    bool keep_slashes = slice_find_slice(text, S("//")) != SLICE_NPOS;
    struct slice path = path_clean_raw(&ex->arena, ex->req.path, keep_slashes);
    return path.p && target_set(ex, &ex->req, strip(path, text, prefix), ex->req.query);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* The placeholder at the beginning of s with its braces, or nothing. */
static struct slice placeholder_at(struct slice s)
{
    size_t end = s.n && s.p[0] == '{' ? slice_find(s, '}') : SLICE_NPOS;
    return end == SLICE_NPOS ? S("") : slice_upto(s, end + 1);
}

static bool is_path(struct slice placeholder)
{
    return slice_eq(placeholder, S("{path}")) ||
           slice_eq(placeholder, S("{http.request.uri.path}"));
}

static bool append_piece(struct arena *a, struct piece ***tail, const struct piece *like)
{
    struct piece *p = ARENA_NEW(a, struct piece);
    if (!p) {
        return false;
    }
    *p = *like;
    **tail = p;
    *tail = &p->next;
    return true;
}

/* Takes one placeholder or one run of text off *rest. */
static bool next_piece(struct arena *a, struct slice *rest, const struct cf_token *t, bool in_path,
                       struct cf_diags *diags, struct piece *out)
{
    struct slice s = *rest;
    struct slice placeholder = placeholder_at(s);
    *out = (struct piece){.kind = PIECE_TEXT};
    if (in_path && is_path(placeholder)) {
        out->kind = PIECE_PATH;
        *rest = slice_from(s, placeholder.n);
        return true;
    }
    if (placeholder.n) {
        struct cf_token part = *t;
        part.text = arena_copy(a, placeholder);
        out->filled = part.text.p ? template_compile(a, &part, diags) : NULL;
        if (!out->filled) {
            return false;
        }
        out->text = template_literal(out->filled);
        out->kind = out->text.p ? PIECE_TEXT : PIECE_FILLED;
        *rest = slice_from(s, placeholder.n);
        return true;
    }
    bool escaped = s.p[0] == '\\' && s.n > 1 && (s.p[1] == '{' || s.p[1] == '}');
    size_t n = escaped ? 2 : 1;
    while (!escaped && n < s.n && s.p[n] != '{' && s.p[n] != '\\') {
        n++;
    }
    out->text = slice_from(slice_upto(s, n), escaped ? 1 : 0);
    *rest = slice_from(s, n);
    return true;
}

static bool read_path(struct arena *a, struct slice text, const struct cf_token *t,
                      struct cf_diags *diags, struct piece **out)
{
    struct piece **tail = out;
    while (text.n) {
        struct piece piece;
        if (!next_piece(a, &text, t, true, diags, &piece) || !append_piece(a, &tail, &piece)) {
            return false;
        }
    }
    return true;
}

/* In a query {query} in the place of a key is a whole query; every other placeholder is one key or
 * value. */
static bool read_query(struct arena *a, struct slice text, const struct cf_token *t,
                       struct cf_diags *diags, struct piece **out)
{
    struct piece **tail = out;
    bool in_key = true;
    while (text.n) {
        struct slice name = placeholder_at(text);
        bool whole = in_key && (slice_eq(name, S("{query}")) || slice_eq(name, S("{%query}")) ||
                                slice_eq(name, S("{http.request.uri.query}")));
        struct piece piece;
        if (!next_piece(a, &text, t, false, diags, &piece)) {
            return false;
        }
        if (piece.kind == PIECE_FILLED && !whole) {
            piece.kind = PIECE_FORM;
        }
        size_t eq = slice_rfind(piece.text, '=');
        size_t amp = slice_rfind(piece.text, '&');
        if (piece.kind == PIECE_TEXT && (eq != SLICE_NPOS || amp != SLICE_NPOS)) {
            in_key = eq == SLICE_NPOS || (amp != SLICE_NPOS && amp > eq);
        }
        if (!append_piece(a, &tail, &piece)) {
            return false;
        }
    }
    return true;
}

struct target *target_compile(struct arena *a, const struct cf_token *t, struct cf_diags *diags)
{
    struct target *target = ARENA_NEW(a, struct target);
    /* {?query} is the one placeholder with a "?" in it, and begins a query. */
    struct slice text = t->text;
    struct slice path = S("");
    struct slice rest = text;
    while (rest.n && rest.p[0] != '?' && rest.p[0] != '#') {
        struct slice name = placeholder_at(rest);
        rest = slice_from(rest, name.n ? name.n : 1);
    }
    path = slice_upto(text, text.n - rest.n);
    struct slice query = rest.n && rest.p[0] == '?' ? slice_from(rest, 1) : S("");
    query = slice_upto(query, slice_find(query, '#'));
    if (!target || !read_path(a, path, t, diags, &target->path) ||
        !read_query(a, query, t, diags, &target->query)) {
        return NULL;
    }
    target->has_query = rest.n && rest.p[0] == '?';
    return target;
}

/* ---- applying -------------------------------------------------------------------------------- */

static void fill_in(const struct piece *p, struct exchange *ex, struct dstr *out)
{
    for (; p; p = p->next) {
        if (p->kind == PIECE_FORM) {
            target_form_encode(out, template_eval(p->filled, ex));
        } else {
            dstr_append(out, p->kind == PIECE_TEXT   ? p->text
                             : p->kind == PIECE_PATH ? ex->req.path
                                                     : template_eval(p->filled, ex));
        }
    }
}

/* A path that a placeholder ({uri}, a captured text) brought a query with: it is one, unless one is
 * written. */
static void split_query(struct slice *path, const struct target *t, struct slice *query)
{
    size_t mark = slice_find(*path, '?');
    if (mark != SLICE_NPOS) {
        if (!t->has_query) {
            *query = slice_from(*path, mark + 1);
        }
        *path = slice_upto(*path, mark);
    }
}

bool target_apply(const struct target *t, struct exchange *ex, struct request *req)
{
    struct dstr path_text;
    struct dstr query_text;
    dstr_init(&path_text, TARGET_BYTES_MAX);
    dstr_init(&query_text, TARGET_BYTES_MAX);
    struct slice path = req->path;
    struct slice query = req->query;
    if (t->path) {
        fill_in(t->path, ex, &path_text);
        path = dstr_slice(&path_text);
        split_query(&path, t, &query);
    }
    if (t->has_query) {
        fill_in(t->query, ex, &query_text);
        query = query_text.n ? dstr_slice(&query_text) : (struct slice){NULL, 0};
    }
    bool ok = !path_text.failed && !query_text.failed && target_set(ex, req, path, query);
    dstr_fini(&path_text);
    dstr_fini(&query_text);
    return ok;
}
