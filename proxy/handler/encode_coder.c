/* Compressors: see encode_coder.h. Windows are small (128 KiB; 256 KiB of br), because there is one
 * for each response under way, and web pages gain little from larger ones. */
#include "proxy/handler/encode_coder.h"

#include <brotli/encode.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#define GZIP_WINDOW_BITS (15 + 16) /* 16: gzip's header and trailer */
#define GZIP_MEMORY_LEVEL 8
#define ZSTD_WINDOW_LOG 17
#define ZSTD_TABLE_LOG 17
#define BR_WINDOW_LOG 18
#define BR_BLOCK_LOG 16 /* what it works on at once: a loop waits for it */

/* About what one takes, tables and buffers (measured, rounded up). */
static const size_t costs[CODING_COUNT] = {
    [CODING_ZSTD] = (size_t)2 << 20,
    [CODING_BR] = (size_t)4 << 20,
    [CODING_GZIP] = (size_t)280 << 10,
};

const struct slice coding_names[CODING_COUNT] = {
    [CODING_ZSTD] = S_INIT("zstd"), [CODING_BR] = S_INIT("br"), [CODING_GZIP] = S_INIT("gzip")};

static const struct {
    int standard, min, max;
} levels[CODING_COUNT] = {
    [CODING_ZSTD] = {3, 1, 11}, [CODING_BR] = {4, 0, 9}, [CODING_GZIP] = {5, 1, 9}};

struct coder {
    struct coder *next; /* while it waits */
    enum coding coding;
    int level;
    z_stream z;
    ZSTD_CCtx *zstd;
    BrotliEncoderState *br;
};

static _Thread_local struct coder *idle;
static _Thread_local size_t idle_bytes;
static _Thread_local size_t used_bytes; /* given out */

int coding_level_default(enum coding coding)
{
    return levels[coding].standard;
}

int coding_level_min(enum coding coding)
{
    return levels[coding].min;
}

int coding_level_max(enum coding coding)
{
    return levels[coding].max;
}

/* ---- making and keeping -------- */

static bool open_zstd(struct coder *c)
{
    c->zstd = ZSTD_createCCtx();
    return c->zstd &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_compressionLevel, c->level)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_windowLog, ZSTD_WINDOW_LOG)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_hashLog, ZSTD_TABLE_LOG)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_chainLog, ZSTD_TABLE_LOG));
}

static bool open_br(struct coder *c)
{
    c->br = BrotliEncoderCreateInstance(NULL, NULL, NULL);
    return c->br &&
           BrotliEncoderSetParameter(c->br, BROTLI_PARAM_QUALITY, (uint32_t)c->level) &&
           BrotliEncoderSetParameter(c->br, BROTLI_PARAM_LGWIN, BR_WINDOW_LOG) &&
           BrotliEncoderSetParameter(c->br, BROTLI_PARAM_LGBLOCK, BR_BLOCK_LOG);
}

static bool open_gzip(struct coder *c)
{
    return deflateInit2(&c->z, c->level, Z_DEFLATED, GZIP_WINDOW_BITS, GZIP_MEMORY_LEVEL,
                        Z_DEFAULT_STRATEGY) == Z_OK;
}

static void destroy(struct coder *c)
{
    if (c->coding == CODING_GZIP) {
        (void)deflateEnd(&c->z);
    }
    (void)ZSTD_freeCCtx(c->zstd);
    if (c->br) {
        BrotliEncoderDestroyInstance(c->br);
    }
    free(c);
}

static struct coder *make(enum coding coding, int level)
{
    struct coder *c = calloc(1, sizeof(*c));
    if (!c) {
        return NULL;
    }
    c->coding = coding;
    c->level = level;
    bool ok = coding == CODING_ZSTD ? open_zstd(c)
              : coding == CODING_BR ? open_br(c)
                                    : open_gzip(c);
    if (!ok) {
        destroy(c);
        return NULL;
    }
    return c;
}

/* As new; false: it cannot be (brotli has no way back). */
static bool reset(struct coder *c)
{
    switch (c->coding) {
    case CODING_ZSTD:
        return !ZSTD_isError(ZSTD_CCtx_reset(c->zstd, ZSTD_reset_session_only));
    case CODING_GZIP:
        return deflateReset(&c->z) == Z_OK;
    default:
        return false;
    }
}

static struct coder *take_idle(enum coding coding, int level)
{
    for (struct coder **at = &idle; *at; at = &(*at)->next) {
        struct coder *c = *at;
        if (c->coding == coding && c->level == level) {
            *at = c->next;
            idle_bytes -= costs[coding];
            return c;
        }
    }
    return NULL;
}

struct coder *coder_take(enum coding coding, int level)
{
    must(coding < CODING_COUNT && level >= levels[coding].min && level <= levels[coding].max);
    if (used_bytes + costs[coding] > CODERS_MAX_BYTES) {
        return NULL;
    }
    struct coder *c = take_idle(coding, level);
    if (!c) {
        c = make(coding, level);
    }
    if (c) {
        used_bytes += costs[coding];
    }
    return c;
}

void coder_give(struct coder *c)
{
    size_t bytes = costs[c->coding];
    used_bytes -= bytes;
    if (idle_bytes + bytes > CODERS_IDLE_MAX_BYTES || !reset(c)) {
        destroy(c);
        return;
    }
    idle_bytes += bytes;
    c->next = idle;
    idle = c;
}

void coder_pool_drain(void)
{
    while (idle) {
        struct coder *next = idle->next;
        destroy(idle);
        idle = next;
    }
    idle_bytes = 0;
}

size_t coder_bytes_in_use(void)
{
    return used_bytes + idle_bytes;
}

/* ---- compressing -------- */

static enum coder_status run_zstd(struct coder *c, struct coder_io *io, enum coder_op op)
{
    static const ZSTD_EndDirective directives[] = {ZSTD_e_continue, ZSTD_e_flush, ZSTD_e_end};
    ZSTD_inBuffer in = {io->in, io->in_n, 0};
    ZSTD_outBuffer out = {io->out, io->out_n, 0};
    size_t left = ZSTD_compressStream2(c->zstd, &out, &in, directives[op]);
    io->in += in.pos;
    io->in_n -= in.pos;
    io->out += out.pos;
    io->out_n -= out.pos;
    if (ZSTD_isError(left)) {
        return CODER_ERROR;
    }
    return (op == CODER_RUN ? io->in_n : left) == 0 ? CODER_DONE : CODER_MORE;
}

static enum coder_status run_br(struct coder *c, struct coder_io *io, enum coder_op op)
{
    static const BrotliEncoderOperation operations[] = {
        BROTLI_OPERATION_PROCESS, BROTLI_OPERATION_FLUSH, BROTLI_OPERATION_FINISH};
    const uint8_t *in = (const uint8_t *)io->in;
    uint8_t *out = (uint8_t *)io->out;
    bool ok = BrotliEncoderCompressStream(c->br, operations[op], &io->in_n, &in, &io->out_n, &out,
                                          NULL);
    io->in = (const char *)in;
    io->out = (char *)out;
    if (!ok) {
        return CODER_ERROR;
    }
    return io->in_n == 0 && (op == CODER_RUN || !BrotliEncoderHasMoreOutput(c->br)) ? CODER_DONE
                                                                                 : CODER_MORE;
}

static enum coder_status run_gzip(struct coder *c, struct coder_io *io, enum coder_op op)
{
    static const int flushes[] = {Z_NO_FLUSH, Z_SYNC_FLUSH, Z_FINISH};
    /* zlib's type has no const; it does not write through next_in. */
    c->z.next_in = (unsigned char *)(uintptr_t)io->in;
    c->z.avail_in = (unsigned)io->in_n;
    c->z.next_out = (unsigned char *)io->out;
    c->z.avail_out = (unsigned)io->out_n;
    int r = deflate(&c->z, flushes[op]);
    io->in = (const char *)c->z.next_in;
    io->in_n = c->z.avail_in;
    io->out = (char *)c->z.next_out;
    io->out_n = c->z.avail_out;
    if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR) {
        return CODER_ERROR;
    }
    bool done = op == CODER_FINISH  ? r == Z_STREAM_END
                : op == CODER_FLUSH ? io->out_n > 0
                                    : io->in_n == 0;
    return done ? CODER_DONE : CODER_MORE;
}

enum coder_status coder_run(struct coder *c, struct coder_io *io, enum coder_op op)
{
    must(io->in_n <= UINT32_MAX && io->out_n > 0 && io->out_n <= UINT32_MAX);
    switch (c->coding) {
    case CODING_ZSTD:
        return run_zstd(c, io, op);
    case CODING_BR:
        return run_br(c, io, op);
    default:
        return run_gzip(c, io, op);
    }
}
