/* Character classes of HTTP's grammar (RFC 9110 section 5.6, RFC 3986), as one table, and the fast
 * search for the end of a field value. Pure; shared by the field functions and the codecs. */
#ifndef HTTP_CHARS_H
#define HTTP_CHARS_H

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

#endif
