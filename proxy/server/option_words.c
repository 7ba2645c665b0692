/* See option_words.h. */
#include "proxy/server/option_words.h"

bool option_args(struct option_reading *r, const struct cf_directive *d, size_t min, size_t max)
{
    if (d->arg_count < min) {
        cf_error(r->diags, &d->name, "the option \"%.*s\" needs a value", SLICE_ARG(d->name.text));
    } else if (d->arg_count > max) {
        cf_error(r->diags, &d->args[max], "the option \"%.*s\" takes %s", SLICE_ARG(d->name.text),
                 max == 0 ? "no value" : "fewer values");
    }
    return d->arg_count >= min && d->arg_count <= max;
}

void option_duration(struct option_reading *r, const struct cf_directive *d, int64_t *out)
{
    if (option_args(r, d, 1, 1) && !cf_parse_duration(d->args[0].text, out)) {
        cf_error(r->diags, &d->args[0], "\"%.*s\" is no duration such as 30s, 5m or 1h30m",
                 SLICE_ARG(d->args[0].text));
    }
}

void option_text(struct option_reading *r, const struct cf_directive *d, struct slice *out)
{
    if (option_args(r, d, 1, 1)) {
        *out = d->args[0].text;
    }
}
