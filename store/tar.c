/* Reading and writing tar archives. See tar.h. */
#include "store/tar.h"

#include <stdio.h>

#include "store/backend.h"

#define BLOCK ((size_t)512)
/* A pax header or a GNU long name. */
#define EXTRA_MAX ((size_t)64 * 1024)
/* The most headers that may stand before an entry. */
#define EXTRAS_MAX 8

/* The fields of a header (POSIX.1-1988, ustar). */
enum { NAME = 0, MODE = 100, SIZE = 124, MTIME = 136, SUM = 148, TYPE = 156, MAGIC = 257,
       PREFIX = 345 };
enum { NAME_BYTES = 100, MODE_BYTES = 8, SIZE_BYTES = 12, SUM_BYTES = 8, PREFIX_BYTES = 155 };

static unsigned sum_of(const char *block)
{
    unsigned sum = 0;
    for (size_t i = 0; i < BLOCK; i++) {
        bool in_sum = i >= SUM && i < SUM + SUM_BYTES;
        sum += in_sum ? ' ' : (unsigned char)block[i];
    }
    return sum;
}

/* ---- writing ---- */

struct writer {
    bool (*write)(void *ctx, struct slice bytes, struct err *err);
    void *ctx;
    struct err *err;
};

static void put_octal(char *at, size_t n, uint64_t value)
{
    at[n - 1] = '\0';
    for (size_t i = n - 1; i-- > 0;) {
        at[i] = (char)('0' + (value & 7));
        value >>= 3;
    }
}

static bool write_entry(struct writer *w, char type, struct slice prefix, struct slice name,
                        struct slice bytes, int64_t mtime_s)
{
    char block[BLOCK] = {0};
    static const char empty[BLOCK];
    memcpy(block + NAME, name.p, name.n);
    memcpy(block + PREFIX, prefix.p ? prefix.p : "", prefix.n);
    put_octal(block + MODE, MODE_BYTES, 0600);
    put_octal(block + 108, 8, 0);
    put_octal(block + 116, 8, 0);
    put_octal(block + SIZE, SIZE_BYTES, bytes.n);
    put_octal(block + MTIME, SIZE_BYTES, mtime_s > 0 ? (uint64_t)mtime_s : 0);
    block[TYPE] = type;
    memcpy(block + MAGIC, "ustar\00000", 8);
    put_octal(block + SUM, SUM_BYTES - 1, sum_of(block));
    block[SUM + SUM_BYTES - 1] = ' ';
    size_t over = bytes.n % BLOCK;
    return w->write(w->ctx, slice_of(block, BLOCK), w->err) && w->write(w->ctx, bytes, w->err) &&
           (over == 0 || w->write(w->ctx, slice_of(empty, BLOCK - over), w->err));
}

/* A name that fits neither whole nor cut at a slash is in a pax record: "<length> path=<name>\n",
 * the length counting itself. */
static bool write_pax(struct writer *w, struct slice name, int64_t mtime_s)
{
    struct dstr d;
    dstr_init(&d, TAR_NAME_MAX + 64);
    size_t rest = name.n + sizeof(" path=\n") - 1, digits = 1;
    for (size_t n = 10; rest + digits >= n; n *= 10) {
        digits++;
    }
    dstr_printf(&d, "%zu path=%.*s\n", rest + digits, SLICE_ARG(name));
    bool ok = !d.failed && write_entry(w, 'x', S(""), S("pax"), dstr_slice(&d), mtime_s);
    dstr_fini(&d);
    return ok;
}

bool tar_write(bool (*write)(void *ctx, struct slice bytes, struct err *err), void *ctx,
               struct slice name, struct slice value, int64_t wall_ms, struct err *err)
{
    struct writer w = {write, ctx, err};
    int64_t mtime_s = wall_ms / 1000;
    if (name.n > TAR_NAME_MAX) {
        return err_set(err, "a name of %zu bytes is too long", name.n);
    }
    if (name.n <= NAME_BYTES) {
        return write_entry(&w, '0', S(""), name, value, mtime_s);
    }
    for (size_t i = name.n - 1; i > 0 && name.n - i - 1 <= NAME_BYTES; i--) {
        if (name.p[i] == '/' && i <= PREFIX_BYTES && name.n - i - 1 > 0) {
            return write_entry(&w, '0', slice_upto(name, i), slice_from(name, i + 1), value,
                               mtime_s);
        }
    }
    return write_pax(&w, name, mtime_s) &&
           write_entry(&w, '0', S(""), slice_upto(name, NAME_BYTES), value, mtime_s);
}

bool tar_write_end(bool (*write)(void *ctx, struct slice bytes, struct err *err), void *ctx,
                   struct err *err)
{
    static const char empty[2 * BLOCK];
    return write(ctx, slice_of(empty, sizeof(empty)), err);
}

/* ---- reading ---- */

/* n bytes, or fewer at the end; -1 with err. */
static ssize_t read_full(struct tar_reader *r, char *at, size_t n, struct err *err)
{
    size_t have = 0;
    while (have < n) {
        ssize_t got = r->read(r->ctx, at + have, n - have, err);
        if (got < 0) {
            return -1;
        }
        if (got == 0) {
            break;
        }
        have += (size_t)got;
    }
    return (ssize_t)have;
}

static struct slice field(const char *block, size_t at, size_t n)
{
    return slice_of(block + at, strnlen(block + at, n));
}

/* Octal digits with blanks around them. The binary form of huge files is none of ours. */
static bool get_octal(struct slice text, uint64_t *out)
{
    uint64_t v = 0;
    text = slice_trim(text);
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '7' || v >> 60) {
            return false;
        }
        v = v * 8 + (uint64_t)(text.p[i] - '0');
    }
    *out = v;
    return true;
}

static bool cut(struct err *err)
{
    return err_set(err, "the archive is cut off or is no tar");
}

/* Content and padding of an entry, into out if it is given. */
static bool read_content(struct tar_reader *r, uint64_t size, struct dstr *out, struct err *err)
{
    char block[BLOCK];
    bool ok = true;
    if (out && !dstr_reserve(out, (size_t)size)) {
        return err_set(err, "out of memory");
    }
    while (ok && size) {
        size_t n = size < BLOCK ? (size_t)size : BLOCK;
        ssize_t got = read_full(r, block, BLOCK, err);
        ok = got == (ssize_t)BLOCK || (got >= 0 && cut(err));
        if (ok && out) {
            dstr_append(out, slice_of(block, n));
        }
        size -= n;
    }
    explicit_bzero(block, sizeof(block));
    return ok && (!out || !out->failed);
}

/* The path of a pax header, if it has one. */
static bool parse_pax(struct slice text, struct dstr *name, struct err *err)
{
    while (text.n) {
        size_t space = slice_find(text, ' ');
        uint64_t n;
        if (space == SLICE_NPOS || !slice_u64(slice_upto(text, space), text.n, &n) ||
            n < space + 2 || text.p[n - 1] != '\n') {
            return err_set(err, "the archive has a damaged extended header");
        }
        struct slice record = slice_from(slice_upto(text, (size_t)n - 1), space + 1);
        if (slice_starts(record, S("path="))) {
            dstr_reset(name);
            dstr_append(name, slice_from(record, 5));
        }
        text = slice_from(text, (size_t)n);
    }
    return !name->failed || err_set(err, "the archive has a name that is too long");
}

static bool read_extra(struct tar_reader *r, char type, uint64_t size, struct dstr *name,
                       struct err *err)
{
    struct dstr text;
    if (size > EXTRA_MAX) {
        return err_set(err, "the archive has an extended header of %llu bytes",
                       (unsigned long long)size);
    }
    dstr_init(&text, EXTRA_MAX);
    bool ok = read_content(r, size, &text, err);
    if (ok && type == 'x') {
        ok = parse_pax(dstr_slice(&text), name, err);
    } else if (ok && type == 'L') {
        dstr_reset(name);
        dstr_append(name, slice_of(text.p, text.p ? strnlen(text.p, text.n) : 0));
        ok = !name->failed || err_set(err, "the archive has a name that is too long");
    }
    dstr_fini(&text);
    return ok;
}

static void take_name(const char *block, struct dstr *name)
{
    struct slice prefix = field(block, PREFIX, PREFIX_BYTES);
    if (memcmp(block + MAGIC, "ustar", 6) == 0 && prefix.n) { /* GNU's has other things there */
        dstr_append(name, prefix);
        dstr_byte(name, '/');
    }
    dstr_append(name, field(block, NAME, NAME_BYTES));
}

static bool read_entry(struct tar_reader *r, const char *block, uint64_t size, struct dstr *name,
                       enum tar_kind *kind, struct dstr *value, struct err *err)
{
    char type = block[TYPE];
    bool regular = type == '0' || type == '\0' || type == '7';
    if (!name->n) {
        take_name(block, name);
    }
    *kind = type == '5'             ? TAR_FOLDER
            : !regular              ? TAR_OTHER
            : size > STORE_VALUE_MAX ? TAR_TOO_LARGE
                                    : TAR_VALUE;
    return read_content(r, size, *kind == TAR_VALUE ? value : NULL, err);
}

enum tar_result tar_next(struct tar_reader *r, struct dstr *name, enum tar_kind *kind,
                         struct dstr *value, struct err *err)
{
    dstr_reset(name);
    dstr_reset(value);
    for (int i = 0; i < EXTRAS_MAX; i++) {
        char block[BLOCK];
        uint64_t size, sum;
        ssize_t n = read_full(r, block, BLOCK, err);
        if (n == 0) {
            return TAR_END; /* some leave the empty blocks out */
        }
        if (n != (ssize_t)BLOCK) {
            return n < 0 ? TAR_FAILED : (cut(err), TAR_FAILED);
        }
        static const char empty[BLOCK];
        if (memcmp(block, empty, BLOCK) == 0) {
            return TAR_END;
        }
        if (!get_octal(field(block, SUM, SUM_BYTES), &sum) || sum != sum_of(block) ||
            !get_octal(field(block, SIZE, SIZE_BYTES), &size)) {
            err_set(err, "this is no tar archive, or it is damaged");
            return TAR_FAILED;
        }
        char type = block[TYPE];
        if (type != 'x' && type != 'g' && type != 'L') {
            return read_entry(r, block, size, name, kind, value, err) ? TAR_ENTRY : TAR_FAILED;
        }
        if (!read_extra(r, type, size, name, err)) {
            return TAR_FAILED;
        }
    }
    err_set(err, "the archive has too many extended headers in a row");
    return TAR_FAILED;
}
