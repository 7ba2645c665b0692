/* Paths for matching: cleaned and compared as Caddy's path matcher does. The path that goes to an
 * origin is never changed by this. */
#include "proxy/route/matcher.h"

/* One byte of raw at *i, a valid %XX decoded; broken escapes stay as they are. */
static char next_byte(struct slice raw, size_t *i)
{
    char c = raw.p[(*i)++];
    if (c == '%' && *i + 1 < raw.n) {
        int hi = ascii_hex_value(raw.p[*i]);
        int lo = ascii_hex_value(raw.p[*i + 1]);
        if (hi >= 0 && lo >= 0) {
            *i += 2;
            return (char)(unsigned char)(hi * 16 + lo);
        }
    }
    return c;
}

static bool ends_segment(const char *p, size_t n, const char *segment)
{
    size_t len = strlen(segment);
    return n > len && p[n - len - 1] == '/' && memcmp(p + n - len, segment, len) == 0;
}

/* Called when a segment is complete: takes "." and ".." back out of p[0..n). */
static size_t resolve_dots(const char *p, size_t n)
{
    if (ends_segment(p, n, ".")) {
        return n - 1;
    }
    if (!ends_segment(p, n, "..")) {
        return n;
    }
    n -= 3;
    while (n > 0 && p[n - 1] != '/') {
        n--;
    }
    return n == 0 ? 1 : n;
}

struct slice path_clean(struct arena *a, struct slice raw, bool keep_slashes)
{
    char *p = arena_alloc(a, raw.n + 2);
    if (!p) {
        return (struct slice){NULL, 0};
    }
    size_t n = 0;
    p[n++] = '/';
    for (size_t i = 0; i < raw.n;) {
        char c = next_byte(raw, &i);
        if (c != '/') {
            p[n++] = c;
            continue;
        }
        n = resolve_dots(p, n);
        if (p[n - 1] != '/' || (keep_slashes && i > 1)) {
            p[n++] = '/';
        }
    }
    n = resolve_dots(p, n);
    p[n] = '\0';
    return slice_of(p, n);
}

/* Glob within segments: '*' stands for any run without '/'. Linear for one star, and at worst
 * pattern x path for several. */
static bool glob(struct slice pattern, struct slice path)
{
    size_t p = 0;
    size_t s = 0;
    size_t star = SLICE_NPOS;
    size_t retry = 0;
    while (s < path.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            retry = s;
        } else if (p < pattern.n && ascii_lower(pattern.p[p]) == ascii_lower(path.p[s])) {
            p++;
            s++;
        } else if (star != SLICE_NPOS && path.p[retry] != '/') {
            p = star + 1;
            s = ++retry;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*') {
        p++;
    }
    return p == pattern.n;
}

static bool contains_case(struct slice s, struct slice needle)
{
    for (size_t i = 0; i + needle.n <= s.n; i++) {
        if (slice_eq_case(slice_of(s.p + i, needle.n), needle)) {
            return true;
        }
    }
    return false;
}

bool path_pattern_matches(struct slice pattern, struct slice path)
{
    size_t stars = 0;
    for (size_t i = 0; i < pattern.n; i++) {
        stars += pattern.p[i] == '*';
    }
    bool at_start = pattern.n && pattern.p[0] == '*';
    bool at_end = pattern.n && pattern.p[pattern.n - 1] == '*';
    if (stars == 0) {
        return slice_eq_case(pattern, path);
    }
    if (stars == 1 && at_end) {
        struct slice prefix = slice_upto(pattern, pattern.n - 1);
        return path.n >= prefix.n && slice_eq_case(slice_upto(path, prefix.n), prefix);
    }
    if (stars == 1 && at_start) {
        struct slice suffix = slice_from(pattern, 1);
        return path.n >= suffix.n && slice_eq_case(slice_from(path, path.n - suffix.n), suffix);
    }
    if (stars == 2 && at_start && at_end) {
        return contains_case(path, slice_of(pattern.p + 1, pattern.n - 2));
    }
    return glob(pattern, path);
}
