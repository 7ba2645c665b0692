/* The global option `storage`: which kind of store, and its settings. */
#ifndef SERVER_STORAGE_H
#define SERVER_STORAGE_H

#include "proxy/caddyfile/caddyfile.h"
#include "store/kinds.h"

/* In a's memory, as long as the directive's text lives. NULL after errors in diags. */
const struct store_settings *storage_read(struct arena *a, const struct cf_directive *d,
                                          struct cf_diags *diags);
/* Settings for a folder, which are what there is when nothing is named. Copied into a. */
const struct store_settings *storage_of_folder(struct arena *a, struct slice folder);

#endif
