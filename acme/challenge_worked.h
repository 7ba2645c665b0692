/* Which way of proving a name worked last, kept in the store so that a renewal begins with it. */
#ifndef ACME_CHALLENGE_WORKED_H
#define ACME_CHALLENGE_WORKED_H

#include "store/store.h"

#define WORKED_TYPE_MAX 32

/* The challenge type ("http-01") in out, or an empty slice. */
struct slice worked_load(struct store *s, struct slice name, char out[WORKED_TYPE_MAX]);
/* A store that takes nothing loses only this advice. */
void worked_save(struct store *s, struct slice name, struct slice type);

#endif
