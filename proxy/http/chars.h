/* Character classes of HTTP's grammar (RFC 9110 section 5.6, RFC 3986), as one table, and the fast
 * searches for the end of a name and a value: 16 bytes at a time where the processor has SSE2 (all
 * of x86-64). Pure; shared by the field functions and the codecs. */
#ifndef HTTP_CHARS_H
#define HTTP_CHARS_H

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "proxy/base/slice.h"

enum {
    CHAR_TOKEN = 1,  /* tchar (RFC 9110 section 5.6.2) */
    CHAR_TARGET = 2, /* visible ASCII but '#': what a request target may consist of */
    CHAR_HOST = 4,   /* unreserved and sub-delims of a reg-name (RFC 3986 section 3.2.2) */
};

extern const unsigned char http_char_class[256];

static inline bool http_is_token(char c)
{
    return (http_char_class[(unsigned char)c] & CHAR_TOKEN) != 0;
}

static inline bool http_is_target(char c)
{
    return (http_char_class[(unsigned char)c] & CHAR_TARGET) != 0;
}

static inline bool http_is_host(char c)
{
    return (http_char_class[(unsigned char)c] & CHAR_HOST) != 0;
}

/* May the byte be in a field value: tab, space, visible, obs-text (section 5.5)? */
static inline bool http_is_value(char c)
{
    unsigned char u = (unsigned char)c;
    return (u >= 0x20 && u != 0x7f) || u == '\t';
}

#ifdef __SSE2__

/* A bit for each of the 16 bytes that may not be in a field value. */
static inline unsigned http_value_mask(__m128i v)
{
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
    __m128i tab = _mm_cmpeq_epi8(v, _mm_set1_epi8('\t'));
    __m128i del = _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, control), del));
}

/* A bit for each of the 16 bytes that is neither a letter nor a hyphen: what is left in a name must
 * be looked at one by one. */
static inline unsigned http_uncommon_mask(__m128i v)
{
    __m128i letter = _mm_sub_epi8(_mm_or_si128(v, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
    letter = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(25)), letter);
    __m128i hyphen = _mm_cmpeq_epi8(v, _mm_set1_epi8('-'));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(letter, hyphen)) ^ 0xffffu;
}

/* All of the n > 0 bytes at p, n < 16, some of them more than once; nothing beside them is read. */
static inline __m128i http_load_short(const char *p, size_t n)
{
    uint64_t first = 0;
    uint64_t last = 0;
    if (n >= 8) {
        memcpy(&first, p, 8);
        memcpy(&last, p + n - 8, 8);
    } else if (n >= 4) {
        uint32_t a;
        uint32_t b;
        memcpy(&a, p, 4);
        memcpy(&b, p + n - 4, 4);
        first = last = a | (uint64_t)b << 32;
    } else {
        const uint64_t pairs = UINT64_C(0x0001000100010001);
        first = (uint64_t)(unsigned char)p[0] | (uint64_t)(unsigned char)p[n / 2] << 8;
        first *= pairs;
        last = (uint64_t)(unsigned char)p[n - 1] * (pairs * 0x101);
    }
    return _mm_set_epi64x((long long)last, (long long)first);
}

/* The first byte in [p, end) that may not be in a field value, or end. */
static inline const char *http_value_end(const char *p, const char *end)
{
    while (end - p >= 16) {
        unsigned mask = http_value_mask(_mm_loadu_si128((const __m128i_u *)(const void *)p));
        if (mask) {
            return p + __builtin_ctz(mask);
        }
        p += 16;
    }
    while (p < end && http_is_value(*p)) {
        p++;
    }
    return p;
}

/* The first byte in [p, end) that is no token character, or end. */
static inline const char *http_token_end(const char *p, const char *end)
{
    while (end - p >= 16) {
        unsigned mask = http_uncommon_mask(_mm_loadu_si128((const __m128i_u *)(const void *)p));
        if (mask) {
            p += __builtin_ctz(mask);
            break;
        }
        p += 16;
    }
    while (p < end && http_is_token(*p)) {
        p++;
    }
    return p;
}

/* May all of these bytes be in a field value? */
static inline bool http_all_value(const char *p, size_t n)
{
    if (n < 16) {
        return n == 0 || http_value_mask(http_load_short(p, n)) == 0;
    }
    unsigned bad = http_value_mask(_mm_loadu_si128((const __m128i_u *)(const void *)(p + n - 16)));
    for (size_t i = 0; i + 16 < n; i += 16) {
        bad |= http_value_mask(_mm_loadu_si128((const __m128i_u *)(const void *)(p + i)));
    }
    return bad == 0;
}

/* Is it surely a token: letters and hyphens only, up to 32 of them? */
static inline bool http_surely_token(const char *p, size_t n)
{
    if (n - 1 < 15) {
        return http_uncommon_mask(http_load_short(p, n)) == 0;
    }
    if (n - 16 > 16) {
        return false;
    }
    __m128i first = _mm_loadu_si128((const __m128i_u *)(const void *)p);
    __m128i last = _mm_loadu_si128((const __m128i_u *)(const void *)(p + n - 16));
    return (http_uncommon_mask(first) | http_uncommon_mask(last)) == 0;
}

#else /* without SSE2: eight bytes at a time, and one by one */

/* Does one of the eight bytes equal 0x7f or lie below 0x20 (a tab is reported too)? Each term
 * sets the top bit of a byte that matches; borrows can only add matches above a true one, which
 * does no harm where the question is "any?". */
static inline bool http_any_control(uint64_t w)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t tops = ones * 0x80;
    uint64_t below = (w - ones * 0x20) & ~w;
    uint64_t del = w ^ ones * 0x7f;
    return ((below | ((del - ones) & ~del)) & tops) != 0;
}

/* The first byte in [p, end) that may not be in a field value, or end. */
static inline const char *http_value_end(const char *p, const char *end)
{
    for (;;) {
        while (end - p >= 8) {
            uint64_t w;
            memcpy(&w, p, sizeof(w));
            if (http_any_control(w)) {
                break;
            }
            p += 8;
        }
        const char *stop = end - p > 8 ? p + 8 : end;
        while (p < stop && http_is_value(*p)) {
            p++;
        }
        if (p < stop || p == end) {
            return p;
        }
    }
}

static inline const char *http_token_end(const char *p, const char *end)
{
    while (p < end && http_is_token(*p)) {
        p++;
    }
    return p;
}

static inline bool http_all_value(const char *p, size_t n)
{
    return n == 0 || http_value_end(p, p + n) == p + n;
}

static inline bool http_surely_token(const char *p, size_t n)
{
    (void)p;
    (void)n;
    return false;
}

#endif

#endif
