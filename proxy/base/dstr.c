/* Growable strings; see dstr.h. */
#include "proxy/base/dstr.h"

#include <stdio.h>
#include <stdlib.h>

void dstr_init(struct dstr *d, size_t max_bytes)
{
    *d = (struct dstr){.max_bytes = max_bytes};
}

void dstr_fini(struct dstr *d)
{
    free(d->p);
    dstr_init(d, d->max_bytes);
}

void dstr_reset(struct dstr *d)
{
    d->n = 0;
    d->failed = false;
}

char *dstr_reserve(struct dstr *d, size_t n)
{
    size_t need;
    if (d->failed || __builtin_add_overflow(d->n, n, &need) || need > d->max_bytes) {
        d->failed = true;
        return NULL;
    }
    if (need + 1 > d->cap) {
        size_t cap = d->cap ? d->cap * 2 : 128;
        while (cap < need + 1) {
            cap *= 2;
        }
        char *p = realloc(d->p, cap);
        if (!p) {
            d->failed = true;
            return NULL;
        }
        d->p = p;
        d->cap = cap;
    }
    return d->p + d->n;
}

void dstr_append(struct dstr *d, struct slice s)
{
    char *at = dstr_reserve(d, s.n);
    if (!at) {
        return;
    }
    if (s.n) {
        memcpy(at, s.p, s.n);
    }
    d->n += s.n;
    d->p[d->n] = '\0';
}

void dstr_byte(struct dstr *d, char c)
{
    dstr_append(d, slice_of(&c, 1));
}

void dstr_vprintf(struct dstr *d, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    char *at = n >= 0 ? dstr_reserve(d, (size_t)n) : NULL;
    if (at) {
        (void)vsnprintf(at, (size_t)n + 1, fmt, again);
        d->n += (size_t)n;
    } else {
        d->failed = true;
    }
    va_end(again);
}

void dstr_printf(struct dstr *d, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    dstr_vprintf(d, fmt, ap);
    va_end(ap);
}

/* Length of the valid UTF-8 sequence at p (RFC 3629), 0 if there is none. */
static size_t utf8_sequence(const unsigned char *p, size_t n)
{
    if (p[0] < 0x80) {
        return 1;
    }
    size_t len = p[0] >= 0xc2 && p[0] <= 0xdf ? 2 : (p[0] & 0xf0) == 0xe0 ? 3
                 : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4 : 0;
    if (len == 0 || len > n) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)) {
        return 0;
    }
    return len;
}

static size_t json_one(struct dstr *d, const unsigned char *p, size_t n)
{
    unsigned char c = p[0];
    if (c == '"' || c == '\\') {
        dstr_byte(d, '\\');
        dstr_byte(d, (char)c);
    } else if (c == '\n') {
        dstr_append(d, S("\\n"));
    } else if (c == '\t') {
        dstr_append(d, S("\\t"));
    } else if (c == '\r') {
        dstr_append(d, S("\\r"));
    } else if (c < 0x20 || c == 0x7f) {
        dstr_printf(d, "\\u%04x", c);
    } else {
        size_t len = utf8_sequence(p, n);
        dstr_append(d, len ? slice_of(p, len) : S("\xef\xbf\xbd"));
        return len ? len : 1;
    }
    return 1;
}

void dstr_json(struct dstr *d, struct slice s)
{
    dstr_byte(d, '"');
    size_t i = 0;
    while (i < s.n) {
        size_t run = i;
        while (run < s.n && s.p[run] >= 0x20 && s.p[run] < 0x7f && s.p[run] != '"' &&
               s.p[run] != '\\') {
            run++;
        }
        dstr_append(d, slice_of(s.p + i, run - i));
        i = run;
        if (i < s.n) {
            i += json_one(d, (const unsigned char *)s.p + i, s.n - i);
        }
    }
    dstr_byte(d, '"');
}

void dstr_html(struct dstr *d, struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        switch (s.p[i]) {
        case '&': dstr_append(d, S("&amp;")); break;
        case '<': dstr_append(d, S("&lt;")); break;
        case '>': dstr_append(d, S("&gt;")); break;
        case '"': dstr_append(d, S("&#34;")); break;
        case '\'': dstr_append(d, S("&#39;")); break;
        default: dstr_byte(d, s.p[i]);
        }
    }
}
