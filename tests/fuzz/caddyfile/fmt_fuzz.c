/* Any bytes laid out as a Caddyfile. What comes out is laid out already, and it is read as the same
 * tree. Trees are not compared where variables of the environment may bring half a word. */
#include <stdint.h>
#include <stdlib.h>

#include "../../unit/caddyfile/dump.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* False: text has errors. */
static bool read_tree(struct slice text, struct dstr *out)
{
    static const struct cf_options options = {
        .max_bytes = 1 << 16, .max_tokens = 20000, .no_files = true};
    struct cf_diags diags;
    cf_diags_init(&diags);
    struct cf_document *doc = cf_parse_text(S("none/Caddyfile"), text, &options, &diags);
    bool ok = diags.errors == 0;
    if (ok) {
        dump_document(out, doc);
    }
    cf_free(doc);
    cf_diags_fini(&diags);
    return ok;
}

static bool format(struct slice text, struct dstr *out)
{
    struct cf_diags diags;
    cf_diags_init(&diags);
    bool ok = cf_format(S("none/Caddyfile"), text, out, NULL, &diags);
    if (ok != (diags.errors == 0)) {
        abort();
    }
    cf_diags_fini(&diags);
    return ok;
}

static void compare_trees(struct slice before, struct slice after)
{
    struct dstr a;
    struct dstr b;
    dstr_init(&a, 1 << 22);
    dstr_init(&b, 1 << 22);
    if (read_tree(before, &a) &&
        (!read_tree(after, &b) || !slice_eq(dstr_slice(&a), dstr_slice(&b)))) {
        abort();
    }
    dstr_fini(&a);
    dstr_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size);
    struct dstr once;
    struct dstr twice;
    dstr_init(&once, 1 << 22);
    dstr_init(&twice, 1 << 22);
    if (size < 1 << 14 && format(text, &once)) {
        if (!format(dstr_slice(&once), &twice) ||
            !slice_eq(dstr_slice(&once), dstr_slice(&twice))) {
            abort();
        }
        if (slice_find_slice(text, S("{$")) == SLICE_NPOS) {
            compare_trees(text, dstr_slice(&once));
        }
    }
    dstr_fini(&once);
    dstr_fini(&twice);
    return 0;
}
