/* A strict reader for single string members of a JSON object (json.h). In: bytes from the store,
 * which another program may have written. Out: the unescaped string in the caller's arena. The
 * whole document is checked, so that a value cut in the middle is never half used. */
#include "store/json.h"

struct reader {
    const char *p;
    const char *end;
    int depth;
};

static void skip_space(struct reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r')) {
        r->p++;
    }
}

static bool take(struct reader *r, char c)
{
    skip_space(r);
    if (r->p == r->end || *r->p != c) {
        return false;
    }
    r->p++;
    return true;
}

static bool hex4(struct reader *r, unsigned *out)
{
    unsigned v = 0;
    if (r->end - r->p < 4) {
        return false;
    }
    for (int i = 0; i < 4; i++) {
        int h = ascii_hex_value(*r->p++);
        if (h < 0) {
            return false;
        }
        v = v << 4 | (unsigned)h;
    }
    *out = v;
    return true;
}

/* Behind "\u": a code point, a surrogate pair taken as one; lone surrogates are refused. */
static bool code_point(struct reader *r, unsigned *out)
{
    unsigned low;
    if (!hex4(r, out) || (*out >= 0xdc00 && *out <= 0xdfff)) {
        return false;
    }
    if (*out < 0xd800 || *out > 0xdbff) {
        return true;
    }
    if (r->end - r->p < 2 || r->p[0] != '\\' || r->p[1] != 'u') {
        return false;
    }
    r->p += 2;
    if (!hex4(r, &low) || low < 0xdc00 || low > 0xdfff) {
        return false;
    }
    *out = 0x10000 + ((*out - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

/* UTF-8 of cp at *to, which is advanced. Never longer than the escape it comes from. */
static void put_utf8(char **to, unsigned cp)
{
    char *t = *to;
    if (cp < 0x80) {
        *t++ = (char)cp;
    } else if (cp < 0x800) {
        *t++ = (char)(0xc0 | cp >> 6);
        *t++ = (char)(0x80 | (cp & 0x3f));
    } else if (cp < 0x10000) {
        *t++ = (char)(0xe0 | cp >> 12);
        *t++ = (char)(0x80 | (cp >> 6 & 0x3f));
        *t++ = (char)(0x80 | (cp & 0x3f));
    } else {
        *t++ = (char)(0xf0 | cp >> 18);
        *t++ = (char)(0x80 | (cp >> 12 & 0x3f));
        *t++ = (char)(0x80 | (cp >> 6 & 0x3f));
        *t++ = (char)(0x80 | (cp & 0x3f));
    }
    *to = t;
}

/* Behind a backslash: one escape, to *to if that is not NULL. */
static bool escape(struct reader *r, char **to)
{
    static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
    if (r->p == r->end) {
        return false;
    }
    char c = *r->p++;
    unsigned cp;
    if (c == 'u') {
        if (!code_point(r, &cp)) {
            return false;
        }
    } else {
        size_t at = slice_find(slice_str(from), c);
        if (at == SLICE_NPOS) {
            return false;
        }
        cp = (unsigned char)into[at];
    }
    if (to) {
        put_utf8(to, cp);
    }
    return true;
}

/* A string with its quotes. raw (optional): what is between them, still escaped. */
static bool string(struct reader *r, struct slice *raw)
{
    if (!take(r, '"')) {
        return false;
    }
    const char *start = r->p;
    while (r->p < r->end) {
        unsigned char c = (unsigned char)*r->p++;
        if (c == '"') {
            if (raw) {
                *raw = slice_of(start, (size_t)(r->p - 1 - start));
            }
            return true;
        }
        if (c < 0x20 || (c == '\\' && !escape(r, NULL))) {
            return false;
        }
    }
    return false;
}

/* raw was checked by string() already. */
static bool unescape(struct arena *a, struct slice raw, struct slice *out)
{
    char *buf = arena_alloc(a, raw.n + 1);
    if (!buf) {
        return false;
    }
    char *to = buf;
    struct reader r = {.p = raw.p, .end = raw.p + raw.n};
    while (r.p < r.end) {
        char c = *r.p++;
        if (c != '\\') {
            *to++ = c;
        } else if (!escape(&r, &to)) {
            return false;
        }
    }
    *to = '\0';
    *out = slice_of(buf, (size_t)(to - buf));
    return true;
}

static size_t digits(struct reader *r)
{
    const char *start = r->p;
    while (r->p < r->end && ascii_is_digit(*r->p)) {
        r->p++;
    }
    return (size_t)(r->p - start);
}

static bool number(struct reader *r)
{
    if (*r->p == '-') {
        r->p++;
    }
    bool zero = r->p < r->end && *r->p == '0';
    size_t whole = digits(r);
    if (whole == 0 || (zero && whole > 1)) {
        return false;
    }
    if (r->p < r->end && *r->p == '.') {
        r->p++;
        if (digits(r) == 0) {
            return false;
        }
    }
    if (r->p < r->end && (*r->p == 'e' || *r->p == 'E')) {
        r->p++;
        if (r->p < r->end && (*r->p == '+' || *r->p == '-')) {
            r->p++;
        }
        return digits(r) > 0;
    }
    return true;
}

static bool literal(struct reader *r, struct slice word)
{
    if (!slice_starts(slice_of(r->p, (size_t)(r->end - r->p)), word)) {
        return false;
    }
    r->p += word.n;
    return true;
}

static bool value(struct reader *r);

/* Behind '[' or '{'. Depth is bounded, so this may recurse. */
static bool members(struct reader *r, char close, bool named)
{
    if (take(r, close)) {
        return true;
    }
    do {
        if ((named && (!string(r, NULL) || !take(r, ':'))) || !value(r)) {
            return false;
        }
    } while (take(r, ','));
    return take(r, close);
}

static bool value(struct reader *r)
{
    skip_space(r);
    if (r->p == r->end) {
        return false;
    }
    switch (*r->p) {
    case '"': return string(r, NULL);
    case 't': return literal(r, S("true"));
    case 'f': return literal(r, S("false"));
    case 'n': return literal(r, S("null"));
    case '{':
    case '[': break;
    default: return number(r);
    }
    if (++r->depth > STORE_JSON_DEPTH_MAX) {
        return false;
    }
    bool object = *r->p++ == '{';
    bool ok = members(r, object ? '}' : ']', object);
    r->depth--;
    return ok;
}

bool store_json_string(struct arena *a, struct slice doc, struct slice name, struct slice *out)
{
    struct reader r = {.p = doc.p, .end = doc.p + doc.n, .depth = 1};
    struct slice found = {NULL, 0}, member, raw;
    *out = found;
    if (doc.n == 0 || !take(&r, '{')) {
        return false;
    }
    bool more = !take(&r, '}');
    while (more) {
        if (!string(&r, &member) || !take(&r, ':')) {
            return false;
        }
        if (slice_eq(member, name)) {
            if (found.p || !string(&r, &raw)) {
                return false;
            }
            found = raw;
        } else if (!value(&r)) {
            return false;
        }
        if (!take(&r, ',')) {
            if (!take(&r, '}')) {
                return false;
            }
            more = false;
        }
    }
    skip_space(&r);
    return r.p == r.end && (!found.p || unescape(a, found, out));
}
