/* Reading FastCGI records; see fcgi_read.h. */
#include "proxy/fcgi/fcgi_read.h"

#include "proxy/http/message.h"

#define STATUS_MIN 200
#define STATUS_MAX 599

void fcgi_read_init(struct fcgi_read *r)
{
    *r = (struct fcgi_read){.bad = NULL};
    dstr_init(&r->head, FCGI_HEAD_MAX_BYTES);
    dstr_init(&r->errors, FCGI_ERRORS_MAX_BYTES);
}

void fcgi_read_fini(struct fcgi_read *r)
{
    dstr_fini(&r->head);
    dstr_fini(&r->errors);
}

static bool malformed(struct fcgi_read *r, const char *why)
{
    r->bad = why;
    return false;
}

/* ---- the script's head ----------------------------------------------------------------------- */

/* What is about a connection that the script does not have. */
static bool dropped(struct slice name)
{
    static const struct slice names[] = {
        S_INIT("status"), S_INIT("connection"), S_INIT("keep-alive"), S_INIT("transfer-encoding"),
        S_INIT("upgrade"), S_INIT("trailer"), S_INIT("te"), S_INIT("proxy-connection")};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_eq_case(names[i], name)) {
            return true;
        }
    }
    return false;
}

static bool next_line(struct slice *rest, struct slice *line, struct slice *name,
                      struct slice *value)
{
    if (!rest->p || !slice_cut(rest, '\n', line)) {
        return false;
    }
    *line = slice_upto(*line, line->n - slice_ends(*line, S("\r")));
    *value = *line;
    (void)slice_cut(value, ':', name);
    *value = value->p ? slice_trim(*value) : S("");
    return line->n > 0;
}

/* 0: it says something that is none. */
static uint64_t status_of(struct slice head)
{
    struct slice rest = head, line, name, value;
    uint64_t status = 0;
    bool location = false;
    while (next_line(&rest, &line, &name, &value)) {
        if (slice_eq_case(name, S("status"))) {
            if (value.n < 3 || !slice_u64(slice_upto(value, 3), STATUS_MAX, &status) ||
                status < STATUS_MIN || (value.n > 3 && value.p[3] != ' ')) {
                return 0;
            }
        }
        location = location || slice_eq_case(name, S("location"));
    }
    return status ? status : location ? 302 : 200;
}

/* The lines are checked by HTTP's own parser, behind this. */
static bool write_head(struct fcgi_read *r, struct dstr *out)
{
    struct slice rest = dstr_slice(&r->head), line, name, value;
    uint64_t status = status_of(rest);
    if (status == 0) {
        return malformed(r, "the script's Status is none");
    }
    dstr_printf(out, "HTTP/1.1 %d %.*s\r\n", (int)status, SLICE_ARG(http_reason((int)status)));
    while (next_line(&rest, &line, &name, &value)) {
        if (!dropped(name)) {
            dstr_append(out, line);
            dstr_append(out, S("\r\n"));
        }
    }
    dstr_append(out, S("Connection: close\r\n\r\n"));
    r->head_done = true;
    dstr_fini(&r->head);
    return true;
}

/* Takes the head's part of the bytes; the rest is the body's. */
static bool feed_head(struct fcgi_read *r, struct slice *bytes, struct dstr *out)
{
    size_t n = 0;
    bool complete = false;
    while (n < bytes->n && !complete) {
        char c = bytes->p[n++];
        complete = c == '\n' && r->line_bytes == 0;
        r->line_bytes = c == '\n' ? 0 : r->line_bytes + (c != '\r');
    }
    dstr_append(&r->head, slice_upto(*bytes, n));
    *bytes = slice_from(*bytes, n);
    if (r->head.failed) {
        return malformed(r, "the script's head is too large");
    }
    return !complete || write_head(r, out);
}

/* ---- records --------------------------------------------------------------------------------- */

static bool begin_record(struct fcgi_read *r)
{
    const unsigned char *h = r->header;
    r->type = h[1];
    r->content_left = (size_t)h[4] << 8 | h[5];
    r->padding_left = h[6];
    if (h[0] != 1) {
        return malformed(r, "this is not FastCGI (version 1)");
    }
    if (((unsigned)h[2] << 8 | h[3]) != FCGI_REQUEST_ID) {
        return malformed(r, "a record of another request");
    }
    if (r->type != FCGI_STDOUT && r->type != FCGI_STDERR && r->type != FCGI_END_REQUEST) {
        return malformed(r, "a record of a type that no responder sends");
    }
    if (r->type == FCGI_END_REQUEST && r->content_left != sizeof(r->end)) {
        return malformed(r, "an END_REQUEST of a wrong length");
    }
    return true;
}

static bool end_request(struct fcgi_read *r)
{
    switch (r->end[4]) { /* protocolStatus */
    case 0:
        break;
    case 2:
        return malformed(r, "the responder is overloaded");
    default:
        return malformed(r, "the responder refused the request");
    }
    if (!r->head_done) {
        return malformed(r, "the script ended without a head");
    }
    r->ended = true;
    return true;
}

static bool feed_content(struct fcgi_read *r, struct slice bytes, struct dstr *out)
{
    switch (r->type) {
    case FCGI_STDOUT:
        if (!r->head_done && !feed_head(r, &bytes, out)) {
            return false;
        }
        dstr_append(out, bytes);
        return !out->failed || malformed(r, "out of memory");
    case FCGI_STDERR: {
        size_t room = FCGI_ERRORS_MAX_BYTES - r->errors.n;
        dstr_append(&r->errors, slice_upto(bytes, bytes.n < room ? bytes.n : room));
        return true;
    }
    default:
        memcpy(r->end + r->end_bytes, bytes.p, bytes.n);
        r->end_bytes += bytes.n;
        return r->end_bytes < sizeof(r->end) || end_request(r);
    }
}

static bool feed_some(struct fcgi_read *r, struct slice *bytes, struct dstr *out)
{
    if (r->header_bytes < FCGI_HEADER_BYTES) {
        r->header[r->header_bytes++] = (unsigned char)bytes->p[0];
        *bytes = slice_from(*bytes, 1);
        return r->header_bytes < FCGI_HEADER_BYTES || begin_record(r);
    }
    bool content = r->content_left > 0;
    size_t *left = content ? &r->content_left : &r->padding_left;
    size_t n = bytes->n < *left ? bytes->n : *left;
    struct slice part = slice_upto(*bytes, n);
    *bytes = slice_from(*bytes, n);
    *left -= n;
    return !content || feed_content(r, part, out);
}

bool fcgi_read_feed(struct fcgi_read *r, struct slice bytes, struct dstr *out)
{
    while (!r->bad && !r->ended && bytes.n) {
        if (!feed_some(r, &bytes, out)) {
            return false;
        }
        if (r->header_bytes == FCGI_HEADER_BYTES && r->content_left + r->padding_left == 0) {
            r->header_bytes = 0; /* the next record */
        }
    }
    return !r->bad;
}
