/* Compressors: the door to zlib, libzstd and libbrotlienc. One coder compresses one response at a
 * time, in as small pieces as its caller likes. Coders belong to their thread, which keeps a few to
 * be used again and gives out no more than it has memory for. */
#ifndef HANDLER_ENCODE_CODER_H
#define HANDLER_ENCODE_CODER_H

#include "proxy/base/slice.h"

enum coding { CODING_ZSTD, CODING_BR, CODING_GZIP, CODING_COUNT };

/* By their names in Content-Encoding (RFC 9110 section 8.4.1, RFC 7932, RFC 8878). */
extern const struct slice coding_names[CODING_COUNT];

/* What all coders of a thread may take together, and what of it waits unused at the most. */
#define CODERS_MAX_BYTES ((size_t)128 << 20)
#define CODERS_IDLE_MAX_BYTES ((size_t)8 << 20)

/* The level if none is said; the least and the greatest. Those that need seconds for a megabyte
 * are left out: they are for files compressed beforehand. */
int coding_level_default(enum coding coding);
int coding_level_min(enum coding coding);
int coding_level_max(enum coding coding);

struct coder;

/* NULL: memory is out, or this thread has given out all it may. */
struct coder *coder_take(enum coding coding, int level);
/* Takes c back, whatever state it is in. */
void coder_give(struct coder *c);
/* When a thread ends. */
void coder_pool_drain(void);
/* Of this thread, given out and waiting: the figure tests watch. */
size_t coder_bytes_in_use(void);

enum coder_op {
    CODER_RUN,    /* compress; what comes out is for the coder to choose */
    CODER_FLUSH,  /* everything that went in comes out, so that the reader can use it */
    CODER_FINISH, /* the same, and the end */
};

enum coder_status {
    CODER_DONE, /* RUN: all of in was taken; else everything is out */
    CODER_MORE, /* out is full: call again with the same op */
    CODER_ERROR,
};

/* Both are moved on. */
struct coder_io {
    const char *in;
    size_t in_n;
    char *out;
    size_t out_n;
};

enum coder_status coder_run(struct coder *c, struct coder_io *io, enum coder_op op);

#endif
