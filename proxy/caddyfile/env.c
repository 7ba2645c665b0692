/* Environment variables in a Caddyfile: {$NAME} and {$NAME:default}.
 *
 * In:  the raw bytes of one file, before anything else looks at them: a variable may hold part of
 *      a token, several tokens, or lines.
 * Out: the bytes with every variable replaced, once: the result is not looked at again. */
#include "proxy/caddyfile/parser.h"

#include <stdlib.h>

#define NAME_MAX_BYTES 255

/* NULL if it is not set. Names that getenv cannot be asked for are not set. */
static const char *look_up(const struct cf_options *options, struct slice name)
{
    char text[NAME_MAX_BYTES + 1];
    if (name.n == 0 || name.n > NAME_MAX_BYTES || memchr(name.p, 0, name.n)) {
        return NULL;
    }
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    return options && options->getenv ? options->getenv(options->ctx, text) : getenv(text);
}

/* The default counts only where the variable is not set: set but empty stays empty. Without either
 * it is nothing, and noted. */
static void append_value(struct dstr *d, const struct cf_options *options, struct slice inside,
                         struct cf_unset *unset)
{
    struct slice rest = inside;
    struct slice name = S("");
    (void)slice_cut(&rest, ':', &name);
    const char *value = look_up(options, name);
    if (!value && !rest.p && unset->count < CF_UNSET_MAX) {
        unset->names[unset->count] = name;
        unset->at[unset->count++] = d->n;
    }
    dstr_append(d, value ? slice_str(value) : rest);
}

bool cf_replace_env(struct arena *a, struct slice text, const struct cf_options *options,
                    size_t max_bytes, struct slice *out, struct cf_unset *unset)
{
    struct dstr d;
    dstr_init(&d, max_bytes < SIZE_MAX ? max_bytes + 1 : SIZE_MAX);
    unset->count = 0;
    for (size_t at; (at = slice_find_slice(text, S("{$"))) != SLICE_NPOS;) {
        size_t end = slice_find(slice_from(text, at), '}');
        if (end == SLICE_NPOS) {
            break;
        }
        struct slice inside = slice_upto(slice_from(text, at + 2), end - 2);
        dstr_append(&d, slice_upto(text, at));
        if (inside.n > 0) {
            append_value(&d, options, inside, unset);
        } else {
            dstr_append(&d, S("{$}"));
        }
        text = slice_from(text, at + end + 1);
    }
    dstr_append(&d, text);
    bool fits = !d.failed && d.n <= max_bytes;
    *out = fits ? arena_copy(a, dstr_slice(&d)) : S("");
    dstr_fini(&d);
    return fits && out->p;
}
