/* Paths and queries for matching; see path.h. */
#include "proxy/route/path.h"

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

static struct slice clean(struct arena *a, struct slice raw, bool keep_slashes, bool decode)
{
    char *p = arena_alloc(a, raw.n + 2);
    if (!p) {
        return (struct slice){NULL, 0};
    }
    size_t n = 0;
    p[n++] = '/';
    for (size_t i = 0; i < raw.n;) {
        char c = decode ? next_byte(raw, &i) : raw.p[i++];
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

struct slice path_clean(struct arena *a, struct slice raw, bool keep_slashes)
{
    return clean(a, raw, keep_slashes, true);
}

struct slice path_clean_raw(struct arena *a, struct slice raw, bool keep_slashes)
{
    return clean(a, raw, keep_slashes, false);
}

struct slice path_decode(struct arena *a, struct slice raw)
{
    if (slice_find(raw, '%') == SLICE_NPOS) {
        return raw;
    }
    char *p = arena_alloc(a, raw.n + 1);
    size_t n = 0;
    if (!p) {
        return (struct slice){NULL, 0};
    }
    for (size_t i = 0; i < raw.n;) {
        p[n++] = next_byte(raw, &i);
    }
    p[n] = '\0';
    return slice_of(p, n);
}

/* ---- queries --------------------------------------------------------------------------------- */

/* Decoded; *broken: an escape is none. */
static struct slice query_decode(struct arena *a, struct slice s, bool *broken)
{
    if (slice_find(s, '%') == SLICE_NPOS && slice_find(s, '+') == SLICE_NPOS) {
        return s;
    }
    char *p = arena_alloc(a, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; p && i < s.n;) {
        size_t before = i;
        char c = s.p[i];
        p[n] = next_byte(s, &i);
        *broken = *broken || (c == '%' && i - before != 3);
        p[n] = c == '+' ? ' ' : p[n];
        n++;
    }
    return p ? slice_of(p, n) : S("");
}

bool query_next(struct arena *a, struct slice *rest, struct slice *key, struct slice *value)
{
    struct slice pair;
    while (slice_cut(rest, '&', &pair)) {
        bool broken = pair.n == 0 || slice_find(pair, ';') != SLICE_NPOS;
        struct slice v = pair;
        struct slice k;
        if (!broken && slice_cut(&v, '=', &k)) {
            *key = query_decode(a, k, &broken);
            *value = v.p ? query_decode(a, v, &broken) : S("");
            if (!broken) {
                return !a->failed;
            }
        }
    }
    return false;
}

/* ---- patterns -------------------------------------------------------------------------------- */

/* One character of a pattern at *p (no star): "?", "[a-z]", "\x" or itself. Moves *p behind it;
 * does c fit? */
static bool one_fits(struct slice pattern, size_t *p, char c)
{
    char want = pattern.p[(*p)++];
    if (want == '?') {
        return c != '/';
    }
    if (want == '\\' && *p < pattern.n) {
        want = pattern.p[(*p)++];
    } else if (want == '[' && slice_find(slice_from(pattern, *p), ']') != SLICE_NPOS) {
        bool negated = pattern.p[*p] == '^';
        bool hit = false;
        for (*p += negated; *p < pattern.n && pattern.p[*p] != ']';) {
            char low = ascii_lower(pattern.p[(*p)++]);
            char high = low;
            if (*p + 1 < pattern.n && pattern.p[*p] == '-' && pattern.p[*p + 1] != ']') {
                high = ascii_lower(pattern.p[*p + 1]);
                *p += 2;
            }
            hit = hit || (ascii_lower(c) >= low && ascii_lower(c) <= high);
        }
        (*p)++;
        return c != '/' && hit != negated;
    }
    return ascii_lower(want) == ascii_lower(c);
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
        size_t next = p;
        if (p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            retry = s;
        } else if (p < pattern.n && one_fits(pattern, &next, path.p[s])) {
            p = next;
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
    if (stars == 0 && slice_find(pattern, '?') == SLICE_NPOS &&
        slice_find(pattern, '[') == SLICE_NPOS && slice_find(pattern, '\\') == SLICE_NPOS) {
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

/* One step of a pattern with escapes at *p against the raw path at *i: both move on. */
static bool escaped_step(struct slice pattern, size_t *p, struct slice raw, size_t *i)
{
    if (pattern.p[*p] == '%' && *p + 2 < pattern.n) {
        bool same = *i + 2 < raw.n && slice_eq_case(slice_of(raw.p + *i, 3),
                                                    slice_of(pattern.p + *p, 3));
        *p += 3;
        *i += 3;
        return same;
    }
    char c = next_byte(raw, i);
    return one_fits(pattern, p, c);
}

/* "*" (decoded, without '/') or "%*" (as sent, without '/') at p? */
static size_t star_at(struct slice pattern, size_t p)
{
    if (p < pattern.n && pattern.p[p] == '*') {
        return 1;
    }
    return p + 1 < pattern.n && pattern.p[p] == '%' && pattern.p[p + 1] == '*' ? 2 : 0;
}

/* Steps over one byte of what a star stands for; false: it cannot stand for that. At the end of a
 * pattern a star stands for whatever is left, slashes too. */
static bool star_takes(struct slice raw, size_t *i, bool as_sent)
{
    char c = as_sent ? raw.p[(*i)++] : next_byte(raw, i);
    return c != '/';
}

bool path_escaped_pattern_matches(struct slice pattern, struct slice raw)
{
    size_t p = 0;
    size_t i = 0;
    size_t star = SLICE_NPOS;
    size_t star_length = 0;
    size_t retry = 0;
    while (i < raw.n) {
        size_t next_p = p;
        size_t next_i = i;
        size_t n = star_at(pattern, p);
        if (n) {
            if (p + n == pattern.n) {
                return true;
            }
            star = p;
            star_length = n;
            retry = i;
            p += n;
        } else if (p < pattern.n && escaped_step(pattern, &next_p, raw, &next_i) &&
                   next_i <= raw.n) {
            p = next_p;
            i = next_i;
        } else if (star != SLICE_NPOS && star_takes(raw, &retry, star_length == 2)) {
            p = star + star_length;
            i = retry;
        } else {
            return false;
        }
    }
    for (size_t n; (n = star_at(pattern, p)) > 0;) {
        p += n;
    }
    return p == pattern.n;
}
