/* Views of bytes; see slice.h for the contracts. */
#include "proxy/base/slice.h"

bool slice_eq_case(struct slice a, struct slice b)
{
    if (a.n != b.n) {
        return false;
    }
    for (size_t i = 0; i < a.n; i++) {
        if (a.p[i] != b.p[i] && ascii_lower(a.p[i]) != ascii_lower(b.p[i])) {
            return false;
        }
    }
    return true;
}

int slice_cmp(struct slice a, struct slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    if (c != 0) {
        return c;
    }
    return a.n < b.n ? -1 : a.n > b.n;
}

size_t slice_find(struct slice s, char c)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;
    return at ? (size_t)(at - s.p) : SLICE_NPOS;
}

size_t slice_rfind(struct slice s, char c)
{
    const char *at = s.n ? memrchr(s.p, c, s.n) : NULL;
    return at ? (size_t)(at - s.p) : SLICE_NPOS;
}

size_t slice_find_slice(struct slice s, struct slice needle)
{
    if (needle.n == 0) {
        return 0;
    }
    const char *at = s.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
    return at ? (size_t)(at - s.p) : SLICE_NPOS;
}

bool slice_cut(struct slice *rest, char sep, struct slice *head)
{
    if (!rest->p) {
        return false;
    }
    size_t at = slice_find(*rest, sep);
    if (at == SLICE_NPOS) {
        *head = *rest;
        *rest = (struct slice){NULL, 0};
    } else {
        *head = slice_upto(*rest, at);
        *rest = slice_from(*rest, at + 1);
    }
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct slice slice_trim(struct slice s)
{
    while (s.n && is_blank(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n && is_blank(s.p[s.n - 1])) {
        s.n--;
    }
    return s;
}

bool slice_u64(struct slice s, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    if (s.n == 0) {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_is_digit(s.p[i]) || __builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v)) {
            return false;
        }
    }
    if (v > max) {
        return false;
    }
    *out = v;
    return true;
}

bool slice_list_has(struct slice list, struct slice token)
{
    struct slice item;
    while (slice_cut(&list, ',', &item)) {
        if (slice_eq_case(slice_trim(item), token)) {
            return true;
        }
    }
    return false;
}
