/* The archive of `caddy storage export`: a POSIX tar (ustar, pax for long names) in which every
 * value is a file named by its key. Streams; what comes in is distrusted and bounded. */
#ifndef STORE_TAR_H
#define STORE_TAR_H

#include <sys/types.h>

#include "store/store.h"

/* Names longer than this are no keys. */
#define TAR_NAME_MAX ((size_t)4096)

/* Writes one value with mode 0600; write() returns false with err when it fails. */
NODISCARD bool tar_write(bool (*write)(void *ctx, struct slice bytes, struct err *err), void *ctx,
                         struct slice name, struct slice value, int64_t wall_ms, struct err *err);
/* Two empty blocks. */
NODISCARD bool tar_write_end(bool (*write)(void *ctx, struct slice bytes, struct err *err),
                             void *ctx, struct err *err);

enum tar_kind {
    TAR_VALUE,
    TAR_FOLDER,
    TAR_OTHER,    /* a link, a device, …: what it is does not matter */
    TAR_TOO_LARGE /* more than STORE_VALUE_MAX */
};

enum tar_result { TAR_ENTRY, TAR_END, TAR_FAILED };

struct tar_reader {
    /* Up to n bytes; 0 at the end, -1 with err. */
    ssize_t (*read)(void *ctx, char *at, size_t n, struct err *err);
    void *ctx;
};

/* The next entry: name and, for TAR_VALUE, value, which the caller has initialised (they are
 * emptied first; value may be secret and is the caller's to wipe). */
NODISCARD enum tar_result tar_next(struct tar_reader *r, struct dstr *name, enum tar_kind *kind,
                                   struct dstr *value, struct err *err);

#endif
