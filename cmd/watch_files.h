/* --watch: a call when a file that the configuration was read from has changed. */
#ifndef CMD_WATCH_FILES_H
#define CMD_WATCH_FILES_H

#include "proxy/caddyfile/caddyfile.h"
#include "proxy/loop/loop.h"

struct watch_files;

/* on_change is called on the loop, a moment after the last of several changes. NULL, and a line in
 * the log, when the kernel has no watch left. */
struct watch_files *watch_files_new(struct loop *l, void (*on_change)(void *ctx), void *ctx);
/* From now on the files that document was read from; w may be NULL. Files that come into a folder
 * from which the document imported some count, too. */
void watch_files_set(struct watch_files *w, const struct cf_document *document);
void watch_files_free(struct watch_files *w);

#endif
