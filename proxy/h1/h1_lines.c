/* Field lines: see h1_lines.h. Strict: a token directly followed by a colon, a value without
 * control bytes, CRLF. One look at each byte; many bytes at a time. */
#include "proxy/h1/h1_lines.h"

#include "proxy/http/chars.h"

static bool bad(const char **why, const char *text)
{
    *why = text;
    return false;
}

COLD static bool bad_name(const char *name, const char *at, const char **why)
{
    if (*at == ' ' || *at == '\t') {
        return bad(why, at == name ? "a folded field line" : "white space in a field name");
    }
    return bad(why, at == name && *at == ':' ? "an empty field name"
                                             : "an invalid byte in a field name");
}

COLD static bool bad_value(const char *at, const char **why)
{
    switch (*at) {
    case '\n': return bad(why, "a line ends with LF instead of CRLF");
    case '\r': return bad(why, "a CR without LF");
    default: return bad(why, "a control byte in a field value");
    }
}

bool h1_field_line(const char **p, const char *end, struct field *out, const char **why)
{
    const char *name = *p;
    const char *s = http_token_end(name, end); /* before end, because the last byte is LF */
    if (UNLIKELY(*s != ':' || s == name)) {
        return bad_name(name, s, why);
    }
    out->name = slice_of(name, (size_t)(s - name));
    bool one_space = s[1] == ' ';
    do {
        s++;
    } while (*s == ' ' || *s == '\t');
    one_space = one_space && s == name + out->name.n + 2;
    const char *stop = http_value_end(s, end);
    /* stop < end, because the last byte is LF; if it is CR, a byte follows. */
    if (UNLIKELY(*stop != '\r' || stop[1] != '\n')) {
        return bad_value(stop, why);
    }
    *p = stop + 2;
    bool whole = one_space && stop[-1] != ' ' && stop[-1] != '\t';
    out->line_bytes = whole ? (uint32_t)(*p - name) : 0;
    while (stop > s && (stop[-1] == ' ' || stop[-1] == '\t')) {
        stop--;
    }
    out->value = slice_of(s, (size_t)(stop - s));
    out->id = field_id(out->name);
    return true;
}
