/* One pass over the pattern; see regex_dialect.h. The rules are those of Go's regexp/syntax
 * documentation, which is RE2's. Whatever passes here and is still malformed (an unclosed group, a
 * class that ends nowhere) is left to PCRE2's own messages. */
#include "proxy/route/regex_dialect.h"

#define REPEAT_MAX 1000u /* RE2's */

struct dialect {
    struct slice rest;
    struct dstr *out;
    const char *why;
    bool quantified; /* the last thing was a quantifier, so a '+' would make it possessive */
};

static bool refuse(struct dialect *d, const char *why)
{
    d->why = why;
    return false;
}

static void take(struct dialect *d, size_t n)
{
    dstr_append(d->out, slice_upto(d->rest, n));
    d->rest = slice_from(d->rest, n);
}

/* \Q...\E: literal text, rewritten byte by byte so that nothing inside is special. */
static void take_quoted(struct dialect *d)
{
    d->rest = slice_from(d->rest, 2);
    size_t end = slice_find_slice(d->rest, S("\\E"));
    struct slice text = slice_upto(d->rest, end);
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if ((unsigned char)c < 0x80 && !ascii_is_alpha(c) && !ascii_is_digit(c)) {
            dstr_byte(d->out, '\\');
        }
        dstr_byte(d->out, c);
    }
    d->rest = slice_from(d->rest, end == SLICE_NPOS ? text.n : end + 2);
}

static const char *letter_refused(char c, bool in_class)
{
    if (c >= '1' && c <= '9') {
        return "back-references (\\1) are not in RE2's dialect";
    }
    if (c == 'k' || c == 'g') {
        return "back-references (\\k, \\g) are not in RE2's dialect";
    }
    const char *known = in_class ? "afntrvx0dDsSwWpP" : "afntrvx0dDsSwWpPbBAzQ";
    if ((ascii_is_alpha(c) || ascii_is_digit(c)) && !strchr(known, c)) {
        return "this escape is not in RE2's dialect";
    }
    return NULL;
}

static bool take_escape(struct dialect *d, bool in_class)
{
    if (d->rest.n < 2) {
        return refuse(d, "it ends in a backslash");
    }
    char c = d->rest.p[1];
    const char *why = letter_refused(c, in_class);
    if (why) {
        return refuse(d, why);
    }
    if (c == 'Q') {
        take_quoted(d);
    } else if (c == 'v') { /* RE2: vertical tab; PCRE2: any vertical white space */
        dstr_append(d->out, S("\\x0b"));
        d->rest = slice_from(d->rest, 2);
    } else {
        take(d, 2);
        size_t end = strchr("pPx", c) && slice_starts(d->rest, S("{")) ? slice_find(d->rest, '}')
                                                                        : SLICE_NPOS;
        take(d, end == SLICE_NPOS ? 0 : end + 1); /* \p{Greek}, \x{e9} */
    }
    return true;
}

static bool take_class(struct dialect *d)
{
    take(d, 1);
    if (d->rest.n && d->rest.p[0] == '^') {
        take(d, 1);
    }
    if (d->rest.n && d->rest.p[0] == ']') { /* literal in first place */
        dstr_byte(d->out, '\\');
        take(d, 1);
    }
    while (d->rest.n && d->rest.p[0] != ']') {
        char c = d->rest.p[0];
        if (c == '\\') {
            if (!take_escape(d, true)) {
                return false;
            }
        } else if (slice_starts(d->rest, S("[:"))) {
            size_t end = slice_find_slice(d->rest, S(":]"));
            take(d, end == SLICE_NPOS ? 2 : end + 2);
        } else if (c == '[') {
            dstr_byte(d->out, '\\');
            take(d, 1);
        } else {
            take(d, 1);
        }
    }
    if (!d->rest.n) {
        return refuse(d, "a [ is not closed");
    }
    take(d, 1);
    return true;
}

/* The text behind "(?": (?:, (?P<name>, (?<name>, (?flags), (?flags: and nothing else. */
static const char *group_refused(struct slice s)
{
    if (slice_starts(s, S("=")) || slice_starts(s, S("!")) || slice_starts(s, S("<=")) ||
        slice_starts(s, S("<!"))) {
        return "look-ahead and look-behind are not in RE2's dialect";
    }
    if (slice_starts(s, S(">"))) {
        return "atomic groups are not in RE2's dialect";
    }
    if (slice_starts(s, S("P<")) || slice_starts(s, S("<"))) {
        return NULL;
    }
    if (slice_starts(s, S("P=")) || slice_starts(s, S("P>")) || slice_starts(s, S("R")) ||
        slice_starts(s, S("&"))) {
        return "references to groups and recursion are not in RE2's dialect";
    }
    size_t i = 0;
    while (i < s.n && strchr("imsU-", s.p[i])) {
        i++;
    }
    if (i < s.n && (s.p[i] == ':' || (s.p[i] == ')' && i > 0))) {
        return NULL;
    }
    return "this kind of group is not in RE2's dialect";
}

static bool take_group(struct dialect *d)
{
    if (slice_starts(d->rest, S("(*"))) {
        return refuse(d, "a * has nothing to repeat");
    }
    if (!slice_starts(d->rest, S("(?"))) {
        take(d, 1);
        return true;
    }
    const char *why = group_refused(slice_from(d->rest, 2));
    if (why) {
        return refuse(d, why);
    }
    size_t n = 2;
    while (n < d->rest.n && !strchr(">:)", d->rest.p[n])) {
        n++;
    }
    take(d, n + 1);
    return true;
}

/* "{2}", "{2,}", "{2,5}": the bytes of it, 0 if the brace is an ordinary one. */
static size_t repeat_bytes(struct dialect *d)
{
    size_t end = slice_find(d->rest, '}');
    struct slice inside = slice_upto(slice_from(d->rest, 1), end == SLICE_NPOS ? 0 : end - 1);
    struct slice from;
    uint64_t low;
    uint64_t high = 0;
    if (end == SLICE_NPOS || !slice_cut(&inside, ',', &from) || !slice_u64(from, 1u << 30, &low) ||
        (inside.n && !slice_u64(inside, 1u << 30, &high))) {
        return 0;
    }
    if (low > REPEAT_MAX || high > REPEAT_MAX) {
        d->why = "a repeat count above 1000 is not in RE2's dialect";
    }
    return end + 1;
}

/* A quantifier of n bytes with its '?'; another one behind it is refused, '+' above all. */
static bool take_quantifier(struct dialect *d, size_t n)
{
    if (d->quantified) {
        return refuse(d, d->rest.p[0] == '+' ? "possessive quantifiers are not in RE2's dialect"
                                             : "a quantifier follows a quantifier");
    }
    take(d, n);
    if (d->rest.n && d->rest.p[0] == '?') {
        take(d, 1);
    }
    d->quantified = true;
    return !d->why;
}

static bool step(struct dialect *d)
{
    char c = d->rest.p[0];
    size_t n = c == '{' ? repeat_bytes(d) : strchr("*+?", c) && c ? 1 : 0;
    if (n) {
        return take_quantifier(d, n);
    }
    d->quantified = false;
    switch (c) {
    case '\\':
        return take_escape(d, false);
    case '[':
        return take_class(d);
    case '(':
        return take_group(d);
    case '{': /* newer PCRE2 reads "{,5}" as a repeat, RE2 does not */
        dstr_byte(d->out, '\\');
        take(d, 1);
        return true;
    case '\0':
        return refuse(d, "it has a NUL byte");
    default:
        take(d, 1);
        return true;
    }
}

bool regex_from_re2(struct slice pattern, struct dstr *out, const char **why)
{
    struct dialect d = {.rest = pattern, .out = out};
    while (d.rest.n) {
        if (!step(&d)) {
            *why = d.why;
            return false;
        }
    }
    return true;
}
