/* Texts with placeholders: compiled to parts, filled in; see template.h. */
#include "proxy/route/template.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "proxy/route/placeholder.h"

#define FILE_MAX_BYTES ((size_t)1024 * 1024)

struct part {
    struct part *next;
    struct slice text; /* as written: all there is, or what stays of an unknown placeholder */
    bool is_text;
    struct placeholder_use use;
};

struct template {
    struct part *parts;
    struct slice literal; /* p == NULL: has placeholders */
};

/* Does text look like the inside of a placeholder? JSON and CSS in a body do not. */
static bool is_placeholder_name(struct slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && !strchr("._-?%", c)) {
            return false;
        }
    }
    return text.n > 0 && !ascii_is_digit(text.p[0]);
}

/* What may be an argument of a known placeholder: one line without braces. */
static bool may_be_argument(struct slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        if ((unsigned char)text.p[i] < 0x20 || text.p[i] == '{') {
            return false;
        }
    }
    return text.n > 0;
}

/* ---- {file./path} ---------------------------------------------------------------------------- */

static bool read_whole(int fd, struct dstr *d)
{
    for (;;) {
        char *space = dstr_reserve(d, 4096);
        if (!space) {
            errno = EFBIG;
            return false;
        }
        ssize_t n = read(fd, space, 4096);
        if (n == 0) {
            return true;
        }
        if (n < 0 && errno != EINTR) {
            return false;
        }
        d->n += n > 0 ? (size_t)n : 0;
    }
}

static bool read_file_part(struct arena *a, struct slice path, struct part *out,
                           const struct cf_token *token, struct cf_diags *diags)
{
    struct dstr d;
    dstr_init(&d, FILE_MAX_BYTES);
    char *name = arena_cstr(a, path);
    int fd = name ? open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) : -1;
    bool ok = fd >= 0 && read_whole(fd, &d);
    if (!ok) {
        cf_error(diags, token, "cannot read the file of {file.%.*s}: %s", SLICE_ARG(path),
                 strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    struct slice text = dstr_slice(&d);
    text.n -= text.n && text.p[text.n - 1] == '\n';
    text.n -= text.n && text.p[text.n - 1] == '\r';
    *out = (struct part){.is_text = true, .text = arena_copy(a, text)};
    dstr_fini(&d);
    return ok;
}

/* ---- compiling ------------------------------------------------------------------------------- */

enum taken { TAKEN, NO_PLACEHOLDER, TAKE_FAILED };

/* The placeholder "{name}" at the front of s. */
static enum taken take_placeholder(struct arena *a, struct slice s, struct slice name,
                                   struct part *out, const struct cf_token *token,
                                   struct cf_diags *diags)
{
    *out = (struct part){.text = slice_upto(s, name.n + 2)};
    enum placeholder_found found = placeholder_find(a, name, &out->use);
    if (found == PLACEHOLDER_KNOWN) {
        return TAKEN;
    }
    if (slice_starts(name, S("file.")) && name.n > 5) {
        return read_file_part(a, slice_from(name, 5), out, token, diags) ? TAKEN : TAKE_FAILED;
    }
    if (!is_placeholder_name(name)) {
        return NO_PLACEHOLDER;
    }
    if (found == PLACEHOLDER_NOT_HERE || !cf_is_declared(diags, name)) {
        placeholder_complain(diags, token, name, found);
    }
    return found == PLACEHOLDER_NOT_HERE ? TAKE_FAILED : TAKEN;
}

/* Takes one placeholder or literal run off *rest. */
static bool next_part(struct arena *a, struct slice *rest, struct part *out,
                      const struct cf_token *token, struct cf_diags *diags)
{
    struct slice s = *rest;
    if (s.n > 1 && s.p[0] == '\\' && (s.p[1] == '{' || s.p[1] == '}')) {
        *out = (struct part){.is_text = true, .text = slice_of(s.p + 1, 1)};
        *rest = slice_from(s, 2);
        return true;
    }
    size_t end = s.p[0] == '{' ? slice_find(s, '}') : SLICE_NPOS;
    struct slice name = end == SLICE_NPOS ? S("") : slice_of(s.p + 1, end - 1);
    if (may_be_argument(name)) {
        enum taken taken = take_placeholder(a, s, name, out, token, diags);
        if (taken != NO_PLACEHOLDER) {
            *rest = slice_from(s, end + 1);
            return taken == TAKEN;
        }
    }
    size_t n = 1;
    while (n < s.n && s.p[n] != '{' && s.p[n] != '\\') {
        n++;
    }
    *out = (struct part){.is_text = true, .text = slice_upto(s, n)};
    *rest = slice_from(s, n);
    return true;
}

static struct slice joined(struct arena *a, const struct part *parts)
{
    struct dstr text;
    dstr_init(&text, SIZE_MAX / 2);
    for (const struct part *p = parts; p; p = p->next) {
        dstr_append(&text, p->text);
    }
    struct slice out = arena_copy(a, dstr_slice(&text));
    dstr_fini(&text);
    return out;
}

struct template *template_compile(struct arena *a, const struct cf_token *token,
                                  struct cf_diags *diags)
{
    struct template *t = ARENA_NEW(a, struct template);
    struct part **tail = t ? &t->parts : NULL;
    struct slice rest = token->text;
    bool literal = true;
    while (t && rest.n) {
        struct part *part = ARENA_NEW(a, struct part);
        if (!part || !next_part(a, &rest, part, token, diags)) {
            return NULL;
        }
        *tail = part;
        tail = &part->next;
        literal = literal && part->is_text;
    }
    if (t && literal) {
        t->literal = joined(a, t->parts);
    }
    return t;
}

/* ---- filling in ------------------------------------------------------------------------------ */

static struct slice as_it_is(struct exchange *ex, struct slice value)
{
    (void)ex;
    return value;
}

struct slice template_eval(const struct template *t, struct exchange *ex)
{
    return template_eval_escaped(t, ex, as_it_is);
}

struct slice template_eval_escaped(const struct template *t, struct exchange *ex,
                                   struct slice (*escape)(struct exchange *ex, struct slice value))
{
    if (t->literal.p) {
        return t->literal;
    }
    if (!t->parts->next) { /* one placeholder and nothing else */
        struct slice only = t->parts->text;
        (void)placeholder_value(&t->parts->use, ex, &only);
        only = escape(ex, only);
        return only.p ? only : S("");
    }
    struct dstr out;
    dstr_init(&out, EXCHANGE_ARENA_MAX / 4);
    for (const struct part *p = t->parts; p; p = p->next) {
        struct slice text = p->text;
        if (!p->is_text) {
            (void)placeholder_value(&p->use, ex, &text);
            text = escape(ex, text);
        }
        dstr_append(&out, text);
    }
    struct slice text = out.failed ? S("") : arena_copy(&ex->arena, dstr_slice(&out));
    if (out.failed) {
        ex->arena.failed = true; /* nobody may take a text that was cut for the whole */
    }
    dstr_fini(&out);
    return text.p ? text : S("");
}

struct slice template_literal(const struct template *t)
{
    return t->literal;
}

bool template_names_origin(const struct template *t)
{
    for (const struct part *p = t->parts; p; p = p->next) {
        if (!p->is_text && p->use.row && p->use.row->of_origin) {
            return true;
        }
    }
    return false;
}
