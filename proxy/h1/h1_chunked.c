/* Chunked decoding: see h1_chunked.h. A state machine over single bytes for the size lines, over
 * ranges for data and trailer lines; the state is all there is, so the input may be cut anywhere.
 *
 * In: received bytes. Out: slices of them, and at the end the trailers in the caller's arena. */
#include "proxy/h1/h1_chunked.h"

#include "proxy/h1/h1_lines.h"

#define SIZE_DIGITS_MAX 16u
#define EXTENSION_LINE_MAX 256u
#define EXTENSION_BODY_MAX ((size_t)16 * 1024)
#define TRAILER_BYTES_MAX ((size_t)64 * 1024)

enum {
    AT_SIZE,          /* hexadecimal digits */
    AT_EXTENSION,     /* behind ';' */
    AT_SIZE_LF,       /* behind the CR of a size line */
    AT_DATA,
    AT_DATA_CR,
    AT_DATA_LF,
    AT_TRAILER_START, /* of a trailer line, or of the empty one */
    AT_TRAILER,       /* inside a trailer line */
    AT_LAST_LF,       /* behind the CR of the empty line */
    AT_END,
    AT_BAD,
};

void h1_chunked_init(struct h1_chunked *c)
{
    *c = (struct h1_chunked){.state = AT_SIZE};
    dstr_init(&c->trailer_text, TRAILER_BYTES_MAX);
}

void h1_chunked_fini(struct h1_chunked *c)
{
    dstr_fini(&c->trailer_text);
}

/* Each step function returns NULL or what is wrong. */

static const char *size_byte(struct h1_chunked *c, char byte)
{
    int value = ascii_hex_value(byte);
    if (value >= 0) {
        /* 16 digits fit; the top bit must stay clear so that lengths can be signed elsewhere. */
        if (c->digits == SIZE_DIGITS_MAX || c->left >> 59) {
            return "a chunk size that is too large";
        }
        c->left = c->left << 4 | (unsigned)value;
        c->digits++;
        return NULL;
    }
    if (c->digits == 0) {
        return "a chunk without a size";
    }
    if (byte == '\r') {
        c->state = AT_SIZE_LF;
    } else if (byte == ';') {
        c->state = AT_EXTENSION;
        c->line_bytes = 0;
    } else {
        return "a malformed chunk size";
    }
    return NULL;
}

static const char *extension_byte(struct h1_chunked *c, char byte)
{
    if (byte == '\r') {
        c->state = AT_SIZE_LF;
        return NULL;
    }
    unsigned char u = (unsigned char)byte;
    if (u < 0x20 || u == 0x7f) {
        return "a control byte in a chunk extension";
    }
    c->line_bytes++;
    c->extension_bytes++;
    return c->line_bytes > EXTENSION_LINE_MAX || c->extension_bytes > EXTENSION_BODY_MAX
               ? "chunk extensions that are too long"
               : NULL;
}

static const char *framing_byte(struct h1_chunked *c, char byte)
{
    switch (c->state) {
    case AT_SIZE: return size_byte(c, byte);
    case AT_EXTENSION: return extension_byte(c, byte);
    case AT_SIZE_LF:
        c->state = c->left > 0 ? AT_DATA : AT_TRAILER_START;
        return byte == '\n' ? NULL : "a chunk size line that does not end with CRLF";
    case AT_DATA_CR:
        c->state = AT_DATA_LF;
        return byte == '\r' ? NULL : "a chunk longer than its size";
    case AT_DATA_LF:
        c->state = AT_SIZE;
        c->digits = 0;
        return byte == '\n' ? NULL : "a chunk longer than its size";
    case AT_TRAILER_START:
        c->state = byte == '\r' ? AT_LAST_LF : AT_TRAILER;
        if (byte == '\n') {
            return "a line ends with LF instead of CRLF";
        }
        if (byte != '\r') {
            dstr_byte(&c->trailer_text, byte);
        }
        return NULL;
    case AT_LAST_LF:
        c->state = AT_END;
        return byte == '\n' ? NULL : "a CR without LF";
    default: must(false);
    }
    return NULL;
}

/* Takes bytes of one trailer line, up to its LF if that is there; how many. */
static size_t trailer_bytes(struct h1_chunked *c, struct slice in)
{
    size_t lf = slice_find(in, '\n');
    struct slice part = in;
    if (lf != SLICE_NPOS) {
        part.n = lf + 1;
        c->state = AT_TRAILER_START;
    }
    dstr_append(&c->trailer_text, part);
    return part.n;
}

static const char *read_trailers(const struct h1_chunked *c, struct arena *a, struct fields *out)
{
    *out = (struct fields){0};
    if (c->trailer_text.n == 0) {
        return NULL;
    }
    struct slice text = arena_copy(a, dstr_slice(&c->trailer_text));
    if (!text.p) {
        return "out of memory";
    }
    const char *p = text.p;
    const char *end = text.p + text.n;
    while (p < end) {
        struct field f;
        const char *why;
        if (!h1_field_line(&p, end, &f, &why)) {
            return why;
        }
        if (out->count >= FIELDS_FROM_PEER_MAX) {
            return "too many trailers";
        }
        if (!fields_add_id(out, a, f.id, f.name, f.value)) {
            return "out of memory";
        }
    }
    fields_strip_trailers(out);
    return NULL;
}

static enum h1_chunked_result fail(struct h1_chunked *c, const char *text, const char **why)
{
    c->state = AT_BAD;
    *why = text;
    return H1_CHUNKED_BAD;
}

enum h1_chunked_result h1_chunked_step(struct h1_chunked *c, struct slice in, size_t *used,
                                       struct slice *data, struct arena *a,
                                       struct fields *trailers, const char **why)
{
    size_t i = 0;
    *used = 0;
    if (c->state == AT_BAD) {
        return fail(c, "the body was malformed before", why);
    }
    while (i < in.n && c->state != AT_END) {
        const char *wrong;
        if (c->state == AT_DATA) {
            *data = slice_of(in.p + i, in.n - i < c->left ? in.n - i : (size_t)c->left);
            c->left -= data->n;
            if (c->left == 0) {
                c->state = AT_DATA_CR;
            }
            *used = i + data->n;
            return H1_CHUNKED_DATA;
        }
        if (c->state == AT_TRAILER) {
            i += trailer_bytes(c, slice_from(in, i));
            wrong = c->trailer_text.failed ? "trailers that are too long" : NULL;
        } else {
            wrong = framing_byte(c, in.p[i++]);
        }
        if (wrong) {
            *used = i;
            return fail(c, wrong, why);
        }
    }
    *used = i;
    if (c->state != AT_END) {
        return H1_CHUNKED_MORE;
    }
    const char *wrong = read_trailers(c, a, trailers);
    return wrong ? fail(c, wrong, why) : H1_CHUNKED_END;
}
