/* Reads --envfile files; see envfile.h. */
#include "cmd/envfile.h"

#include <stdlib.h>

#include "cmd/text_file.h"
#include "proxy/base/arena.h"
#include "proxy/base/dstr.h"

#define FILE_MAX_BYTES ((size_t)1 << 20)

/* The end of a quoted value that begins at text.p[0]; quotes may span lines. */
static size_t closing_quote(struct slice text)
{
    for (size_t i = 1; i < text.n; i++) {
        if (text.p[i] == '\\' && text.p[0] == '"') {
            i++;
        } else if (text.p[i] == text.p[0]) {
            return i;
        }
    }
    return SLICE_NPOS;
}

/* A double-quoted value's \n, \" and \\ (single quotes keep everything). */
static struct slice unescape(struct arena *a, struct slice text)
{
    char *p = arena_alloc(a, text.n + 1);
    size_t n = 0;
    for (size_t i = 0; p && i < text.n; i++) {
        char c = text.p[i];
        if (c == '\\' && i + 1 < text.n) {
            c = text.p[++i];
            c = c == 'n' ? '\n' : c;
        }
        p[n++] = c;
    }
    return slice_of(p, n);
}

/* Takes a value off *rest, up to the end of its line. */
static bool take_value(struct arena *a, struct slice *rest, struct slice *value)
{
    struct slice line;
    char first = rest->n ? rest->p[0] : '\0';
    if (first == '"' || first == '\'') {
        size_t end = closing_quote(*rest);
        if (end == SLICE_NPOS) {
            return false;
        }
        *value = slice_of(rest->p + 1, end - 1);
        *value = first == '"' ? unescape(a, *value) : *value;
        *rest = slice_from(*rest, end + 1);
        return !rest->n || slice_cut(rest, '\n', &line);
    }
    (void)slice_cut(rest, '\n', &line);
    size_t comment = slice_find_slice(line, S(" #"));
    *value = slice_trim(slice_upto(line, comment));
    if (value->n && value->p[value->n - 1] == '\r') {
        value->n--;
    }
    return true;
}

static bool load(struct arena *a, struct slice rest, const char *path, struct err *err)
{
    while (rest.p && rest.n) {
        struct slice line;
        struct slice copy = rest;
        (void)slice_cut(&copy, '\n', &line);
        struct slice trimmed = slice_trim(line);
        if (!trimmed.n || trimmed.p[0] == '#' || trimmed.p[0] == '\r') {
            rest = copy;
            continue;
        }
        rest = slice_from(rest, (size_t)(trimmed.p - rest.p));
        rest = slice_starts(rest, S("export ")) ? slice_from(rest, 7) : rest;
        size_t equals = slice_find(slice_upto(rest, line.n), '=');
        if (equals == SLICE_NPOS || equals == 0) {
            return err_set(err, "%s: \"%.*s\" is not NAME=value", path, SLICE_ARG(trimmed));
        }
        char *name = arena_cstr(a, slice_trim(slice_upto(rest, equals)));
        struct slice value;
        rest = slice_from(rest, equals + 1);
        if (!take_value(a, &rest, &value)) {
            return err_set(err, "%s: the value of %s has no closing quote", path, name);
        }
        char *text = arena_cstr(a, value);
        if (!name || !text || setenv(name, text, 0) != 0) {
            return err_set(err, "%s: %s cannot be set", path, name ? name : "?");
        }
    }
    return true;
}

bool envfile_load(const char *path, struct err *err)
{
    struct dstr text;
    struct arena a;
    dstr_init(&text, FILE_MAX_BYTES);
    arena_init(&a, ARENA_NO_MAX);
    bool ok = text_file_read(path, &text, err) && load(&a, dstr_slice(&text), path, err);
    arena_fini(&a);
    dstr_fini(&text);
    return ok;
}
