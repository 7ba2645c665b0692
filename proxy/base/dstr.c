/* Growable strings; see dstr.h. */
#include "proxy/base/dstr.h"

#include <stdio.h>
#include <stdlib.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Behind cap, so that 16 bytes can be looked at wherever a string ends. */
#define SLACK_BYTES 16

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
        cap = cap > d->max_bytes ? d->max_bytes + 1 : cap;
        char *p = realloc(d->p, cap + SLACK_BYTES);
        if (!p) {
            d->failed = true;
            return NULL;
        }
        d->p = p;
        d->cap = cap;
    }
    return d->p + d->n;
}

static unsigned digits_of(uint64_t value)
{
    unsigned n = 1;
    for (; value >= 10000; value /= 10000) {
        n += 4;
    }
    return n + (value >= 10) + (value >= 100) + (value >= 1000);
}

void dstr_number(struct dstr *d, uint64_t value, unsigned digits_min)
{
    unsigned n = digits_of(value);
    n = n < digits_min ? digits_min : n;
    char *at = LIKELY(!d->failed && d->cap - d->n > n) ? d->p + d->n : dstr_reserve(d, n);
    if (!at) {
        return;
    }
    for (unsigned i = n; i > 0; value /= 10) {
        at[--i] = (char)('0' + value % 10);
    }
    d->n += n;
    d->p[d->n] = '\0';
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

/* ---- strings that need nothing changed: nearly all -------- */

#ifdef __SSE2__

/* A bit for each of the 16 bytes that JSON wants escaped, or that is not ASCII. */
static unsigned special_mask(__m128i v)
{
    __m128i low = _mm_cmplt_epi8(v, _mm_set1_epi8(0x20)); /* signed: 0x80 and above as well */
    __m128i del = _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f));
    __m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
    __m128i slash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
    __m128i any = _mm_or_si128(_mm_or_si128(low, del), _mm_or_si128(quote, slash));
    return (unsigned)_mm_movemask_epi8(any);
}

static __m128i load16(const char *p)
{
    return _mm_loadu_si128((const __m128i_u *)(const void *)p);
}

static void store16(char *p, __m128i v)
{
    _mm_storeu_si128((__m128i_u *)(void *)p, v);
}

/* For n < 16: everything at once, some bytes more than once. */
static bool copy_short(char *to, const char *from, size_t n)
{
    __m128i v;
    if (n >= 8) {
        v = _mm_unpacklo_epi64(_mm_loadu_si64(from), _mm_loadu_si64(from + n - 8));
        memcpy(to, from, 8);
        memcpy(to + n - 8, from + n - 8, 8);
    } else if (n >= 4) {
        v = _mm_unpacklo_epi32(_mm_loadu_si32(from), _mm_loadu_si32(from + n - 4));
        v = _mm_unpacklo_epi64(v, v);
        memcpy(to, from, 4);
        memcpy(to + n - 4, from + n - 4, 4);
    } else if (n > 0) {
        unsigned first = (unsigned char)from[0];
        unsigned middle = (unsigned char)from[n / 2];
        unsigned last = (unsigned char)from[n - 1];
        v = _mm_set1_epi32((int)(first | middle << 8 | last << 16 | last << 24));
        to[0] = (char)first;
        to[n / 2] = (char)middle;
        to[n - 1] = (char)last;
    } else {
        return true;
    }
    return special_mask(v) == 0;
}

/* Copies; false: JSON does not want it as it is. */
static bool copy_plain(char *to, const char *from, size_t n)
{
    if (n < 16) {
        return copy_short(to, from, n);
    }
    __m128i end = load16(from + n - 16);
    unsigned special = special_mask(end);
    for (size_t i = 0; i + 16 < n; i += 16) {
        __m128i v = load16(from + i);
        special |= special_mask(v);
        store16(to + i, v);
    }
    store16(to + n - 16, end);
    return special == 0;
}

/* The first letter and those behind a hyphen large, the others small. Behind n SLACK_BYTES may be
 * touched. */
static void capitalise(char *p, size_t n)
{
    __m128i first = _mm_cvtsi32_si128(0xff); /* behind a hyphen, or the first */
    for (size_t i = 0; i < n; i += 16) {
        __m128i v = load16(p + i);
        __m128i letter = _mm_sub_epi8(_mm_or_si128(v, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
        letter = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(25)), letter);
        __m128i hyphen = _mm_cmpeq_epi8(v, _mm_set1_epi8('-'));
        __m128i large = _mm_or_si128(first, _mm_slli_si128(hyphen, 1));
        first = _mm_srli_si128(hyphen, 15);
        v = _mm_or_si128(v, _mm_and_si128(letter, _mm_set1_epi8(0x20)));
        v = _mm_xor_si128(v, _mm_and_si128(_mm_and_si128(large, letter), _mm_set1_epi8(0x20)));
        store16(p + i, v);
    }
}

#else

static bool copy_plain(char *to, const char *from, size_t n)
{
    bool plain = true;
    for (size_t i = 0; i < n; i++) {
        to[i] = from[i];
        plain = plain && from[i] >= 0x20 && from[i] < 0x7f && from[i] != '"' && from[i] != '\\';
    }
    return plain;
}

static void capitalise(char *p, size_t n)
{
    bool large = true;
    for (size_t i = 0; i < n; i++) {
        char c = ascii_lower(p[i]);
        p[i] = large && c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
        large = c == '-';
    }
}

#endif

static void escape(struct dstr *d, struct slice s)
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

/* Where s goes, with its first quote in front, if there is room for all of it; NULL: it has been
 * written with escapes, or has failed. */
static inline char *quoted(struct dstr *d, struct slice s)
{
    size_t room = d->failed ? 0 : d->cap - d->n;
    char *at = LIKELY(room >= 3 && s.n <= room - 3) ? d->p + d->n
               : s.n < d->max_bytes                 ? dstr_reserve(d, s.n + 2)
                                                    : NULL;
    if (!at) {
        d->failed = true;
        return NULL;
    }
    if (UNLIKELY(!copy_plain(at + 1, s.p, s.n))) {
        escape(d, s);
        return NULL;
    }
    at[0] = '"';
    at[s.n + 1] = '"';
    at[s.n + 2] = '\0';
    d->n += s.n + 2;
    return at + 1;
}

void dstr_json(struct dstr *d, struct slice s)
{
    (void)quoted(d, s);
}

/* One with escapes is not from a message: no field has such a name. */
void dstr_json_field_name(struct dstr *d, struct slice name)
{
    char *text = quoted(d, name);
    if (text) {
        capitalise(text, name.n);
    }
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
