/* Inside the conversion of Apache: apache.c does hosts and what answers in them, apache_access.c
 * who may come. */
#ifndef CMD_IMPORT_APACHE_CONVERT_H
#define CMD_IMPORT_APACHE_CONVERT_H

#include "cmd/import/apache_parse.h"

struct apache {
    struct import *i;
    const struct apache_directive *top;
    bool keeps_host; /* ProxyPreserveHost On */
};

static inline struct slice word(const struct apache_directive *d, size_t k)
{
    return k < d->count ? d->words[k] : S("");
}

static inline bool is(const struct apache_directive *d, struct slice name)
{
    return slice_eq_case(d->words[0], name);
}

/* The directive as it was written, for comments. */
static inline struct slice written(struct apache *a, const struct apache_directive *d)
{
    return import_join(a->i, d->words, d->count);
}

/* Is there anything among them, or in their sections, by which not everybody may come? */
bool apache_closes(const struct apache_directive *first);
/* The lines that keep closed what was closed: by its path, to stand first in the host's `route`; in
 * a folder whose files are served; in front of an origin. */
void apache_access(struct apache *a, struct import_text *t, const struct apache_directive *host);
void apache_folder_access(struct apache *a, struct import_text *t,
                          const struct apache_directive *host, struct slice folder);
void apache_origin_access(struct apache *a, struct import_text *t,
                          const struct apache_directive *host, struct slice url);
/* The conditions in front of a RewriteRule. */
struct apache_conditions {
    bool any;
    bool upgrade;  /* for WebSockets */
    bool for_some; /* they say who may come */
};
void apache_condition(struct apache_conditions *c, const struct apache_directive *d);
/* The status with which apache_access refuses what the rule fits; 0: it does not. */
unsigned apache_refuses(const struct apache_directive *rule, const struct apache_conditions *c);
/* Is it a Redirect that refuses, which apache_access writes? */
bool apache_is_refusal(const struct apache_directive *d);

#endif
