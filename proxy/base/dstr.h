/* A growable byte string with a maximum. Appends past the maximum (or out of memory) set
 * `failed`, which stays set: write everything, check once. Always NUL-terminated when p is set. */
#ifndef BASE_DSTR_H
#define BASE_DSTR_H

#include <stdarg.h>

#include "proxy/base/slice.h"

struct dstr {
    char *p; /* owned; NULL until the first append */
    size_t n;
    size_t cap;
    size_t max_bytes;
    bool failed;
};

void dstr_init(struct dstr *d, size_t max_bytes);
void dstr_fini(struct dstr *d);
/* Empties, keeps the memory. */
void dstr_reset(struct dstr *d);
void dstr_printf(struct dstr *d, const char *fmt, ...) PRINTF(2, 3);
void dstr_vprintf(struct dstr *d, const char *fmt, va_list ap) PRINTF(2, 0);
/* Space for n more bytes at p + this->n, or NULL; the caller then adds to this->n. */
char *dstr_reserve(struct dstr *d, size_t n);
static inline void dstr_append(struct dstr *d, struct slice s)
{
    bool fits = !d->failed && s.n < d->cap - d->n; /* cap is never past the maximum */
    char *at = LIKELY(fits) ? d->p + d->n : dstr_reserve(d, s.n);
    if (!at) {
        return;
    }
    if (s.n) {
        memcpy(at, s.p, s.n);
    }
    d->n += s.n;
    d->p[d->n] = '\0';
}
static inline void dstr_byte(struct dstr *d, char c)
{
    dstr_append(d, (struct slice){&c, 1});
}
/* The number in decimal, with zeros in front up to so many digits (at most 20). */
void dstr_number(struct dstr *d, uint64_t value, unsigned digits_min);
/* A JSON string with its quotes; bytes that are no UTF-8 become U+FFFD. */
void dstr_json(struct dstr *d, struct slice s);
/* The same for the name of a header field, written "Like-This" whatever its letters were. */
void dstr_json_field_name(struct dstr *d, struct slice name);
/* With & < > " ' escaped. */
void dstr_html(struct dstr *d, struct slice s);
static inline struct slice dstr_slice(const struct dstr *d)
{
    return (struct slice){d->p, d->n};
}

#endif
