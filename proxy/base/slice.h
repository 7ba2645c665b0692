/* A view of bytes: pointer and length, never owned, not NUL-terminated. The string type of the
 * whole tree; NUL-terminated copies are made only at the border to libc, OpenSSL and curl. */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "proxy/base/attr.h"

struct slice {
    const char *p;
    size_t n;
};

/* A slice of a string literal. */
#define S(lit) ((struct slice){"" lit, sizeof(lit) - 1})
/* The same for static initialisers. */
#define S_INIT(lit) {"" lit, sizeof(lit) - 1}
/* For printf: printf("%.*s", SLICE_ARG(s)). */
#define SLICE_ARG(s) ((int)(s).n), ((s).p ? (s).p : "")

#define SLICE_NPOS SIZE_MAX

static inline struct slice slice_of(const void *p, size_t n)
{
    return (struct slice){p, n};
}

/* NULL gives an empty slice. */
static inline struct slice slice_str(const char *cstr)
{
    return (struct slice){cstr, cstr ? strlen(cstr) : 0};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* s without its first k bytes (k is clamped to the length). */
static inline struct slice slice_from(struct slice s, size_t k)
{
    return k >= s.n ? (struct slice){s.p ? s.p + s.n : NULL, 0} : (struct slice){s.p + k, s.n - k};
}

/* The first k bytes of s (k is clamped to the length). */
static inline struct slice slice_upto(struct slice s, size_t k)
{
    return (struct slice){s.p, k < s.n ? k : s.n};
}

static inline bool slice_starts(struct slice s, struct slice prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

static inline bool slice_ends(struct slice s, struct slice suffix)
{
    return s.n >= suffix.n &&
           (suffix.n == 0 || memcmp(s.p + (s.n - suffix.n), suffix.p, suffix.n) == 0);
}

static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static inline bool ascii_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool ascii_is_alpha(char c)
{
    char l = (char)(c | 0x20);
    return l >= 'a' && l <= 'z';
}

/* -1 if c is no hexadecimal digit. */
static inline int ascii_hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char l = (char)(c | 0x20);
    return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

/* Equal, ASCII letters compared without regard to case. */
bool slice_eq_case(struct slice a, struct slice b);

/* memcmp order, the shorter first where one is a prefix of the other. */
int slice_cmp(struct slice a, struct slice b);

/* Index of the first c, or SLICE_NPOS. */
size_t slice_find(struct slice s, char c);

/* Index of the last c, or SLICE_NPOS. */
size_t slice_rfind(struct slice s, char c);

/* Index of the first occurrence of needle, or SLICE_NPOS; an empty needle is at 0. */
size_t slice_find_slice(struct slice s, struct slice needle);

/* Takes the part of *rest before the first sep into *head and moves *rest behind sep. Without a
 * sep *head is all of it and *rest becomes empty with p == NULL. False once rest->p is NULL. */
bool slice_cut(struct slice *rest, char sep, struct slice *head);

/* Without spaces and tabs at both ends (OWS, RFC 9110 section 5.6.3). */
struct slice slice_trim(struct slice s);

/* Decimal digits only, at least one, value at most max. False leaves *out alone. */
NODISCARD bool slice_u64(struct slice s, uint64_t max, uint64_t *out);

/* Does a comma-separated list (RFC 9110 section 5.6.1) have the token, without regard to case? */
bool slice_list_has(struct slice list, struct slice token);

#endif
