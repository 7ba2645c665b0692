/* Reading the words of global options: how many there are, and what they say. Errors in diags. */
#ifndef SERVER_OPTION_WORDS_H
#define SERVER_OPTION_WORDS_H

#include "proxy/caddyfile/caddyfile.h"

struct options;

struct option_reading {
    struct arena *arena;
    struct cf_diags *diags;
    struct options *o;
};

bool option_args(struct option_reading *r, const struct cf_directive *d, size_t min, size_t max);
/* Milliseconds. */
void option_duration(struct option_reading *r, const struct cf_directive *d, int64_t *out);
void option_text(struct option_reading *r, const struct cf_directive *d, struct slice *out);

#endif
