/* HTTP/1 heads, serialised: see h1_write.h. Two passes: one that checks and adds up, one that
 * copies into a chunk of exactly enough bytes.
 *
 * In: requests and responses whose bytes may come from anywhere. Out: a chunk the caller owns. */
#include "proxy/h1/h1_write.h"

#include "proxy/http/chars.h"

#define HEAD_BYTES_MAX ((size_t)512 * 1024)
#define FRAMING_BYTES_MAX ((size_t)128) /* the fields written here, without upgrade and date */

/* What we write ourselves and therefore skip in the given fields. */
static bool is_ours(enum field_id id)
{
    return id == FIELD_CONNECTION || id == FIELD_KEEP_ALIVE || id == FIELD_PROXY_CONNECTION ||
           id == FIELD_TRANSFER_ENCODING || id == FIELD_CONTENT_LENGTH || id == FIELD_UPGRADE;
}

/* Fields in the order they are written in: lines as they were received, as many as stand one behind
 * the other in one piece, and fields that are put together. */
struct pieces {
    size_t bytes;
    bool has_date;
    unsigned count;
    struct {
        const char *lines; /* NULL: the field with the index n */
        size_t n;
    } items[FIELDS_MAX];
};

/* Does the field still say what the line it was received in says? The line's bytes were checked
 * when it was split; here only that nobody has changed the field since. */
static bool as_received(const struct field *f)
{
    return f->line_bytes && f->name.n + f->value.n + 4 == f->line_bytes &&
           f->value.p == f->name.p + f->name.n + 2 && f->value.p[-2] == ':' &&
           f->value.p[-1] == ' ' && f->value.p[f->value.n] == '\r';
}

static void add_line(struct pieces *p, const struct field *f)
{
    size_t n = f->line_bytes;
    size_t last = p->count ? p->count - 1 : 0;
    p->bytes += n;
    if (p->count && p->items[last].lines &&
        p->items[last].lines + p->items[last].n == f->name.p) {
        p->items[last].n += n;
        return;
    }
    p->items[p->count].lines = f->name.p;
    p->items[p->count].n = n;
    p->count++;
}

/* False: one of them must not be written. */
static bool add_fields(struct pieces *p, const struct fields *fields)
{
    p->bytes = 0;
    p->has_date = false;
    p->count = 0;
    must(fields->count <= FIELDS_MAX);
    for (unsigned i = 0; i < fields->count; i++) {
        const struct field *f = &fields->items[i];
        if (f->id != FIELD_OTHER && is_ours(f->id)) {
            continue;
        }
        p->has_date |= f->id == FIELD_DATE;
        if (as_received(f)) {
            add_line(p, f);
            continue;
        }
        if (!field_name_valid(f->name) || !field_value_valid(f->value) ||
            f->name.n > HEAD_BYTES_MAX || f->value.n > HEAD_BYTES_MAX) {
            return false;
        }
        p->bytes += f->name.n + f->value.n + 4;
        p->items[p->count].lines = NULL;
        p->items[p->count].n = i;
        p->count++;
    }
    return true;
}

static char *put(char *at, struct slice s)
{
    if (s.n) {
        memcpy(at, s.p, s.n);
    }
    return at + s.n;
}

static char *put_field(char *at, struct slice name, struct slice value)
{
    at = put(at, name);
    *at++ = ':';
    *at++ = ' ';
    at = put(at, value);
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

static char *put_fields(char *at, const struct pieces *p, const struct fields *fields)
{
    for (unsigned i = 0; i < p->count; i++) {
        if (p->items[i].lines) {
            at = put(at, slice_of(p->items[i].lines, p->items[i].n));
        } else {
            const struct field *f = &fields->items[p->items[i].n];
            at = put_field(at, f->name, f->value);
        }
    }
    return at;
}

static char *put_number(char *at, uint64_t value)
{
    char digits[20];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (n) {
        *at++ = digits[--n];
    }
    return at;
}

static char *put_length(char *at, int64_t length)
{
    at = put(at, S("Content-Length: "));
    at = put_number(at, (uint64_t)length);
    return put(at, S("\r\n"));
}

static char *put_connection(char *at, enum h1_persist persist, struct slice upgrade)
{
    if (upgrade.n) {
        at = put(at, S("Connection: Upgrade\r\nUpgrade: "));
        at = put(at, upgrade);
        return put(at, S("\r\n"));
    }
    switch (persist) {
    case H1_CLOSE: return put(at, S("Connection: close\r\n"));
    case H1_KEEP_AND_SAY_SO: return put(at, S("Connection: keep-alive\r\n"));
    case H1_KEEP:
    default: return at;
    }
}

/* A chunk for so many bytes; *at is where to write. NULL: too many, or no memory. */
static struct chunk *head_chunk(size_t line, size_t fields, size_t extra, char **at)
{
    if (line > HEAD_BYTES_MAX || extra > HEAD_BYTES_MAX || fields > HEAD_BYTES_MAX ||
        line + fields + extra > HEAD_BYTES_MAX) {
        return NULL;
    }
    struct chunk *c = chunk_new(line + fields + extra + FRAMING_BYTES_MAX);
    if (c) {
        *at = c->data;
    }
    return c;
}

static struct chunk *finish_head(struct chunk *c, char *at)
{
    at = put(at, S("\r\n"));
    must((size_t)(at - c->data) <= c->cap);
    c->fill = (uint32_t)(at - c->data);
    return c;
}

/* ---- requests -------- */

static bool target_valid(struct slice target)
{
    for (size_t i = 0; i < target.n; i++) {
        if (!http_is_target(target.p[i])) {
            return false;
        }
    }
    return target.n > 0;
}

/* These say something even without content: servers expect a length (RFC 9110 section 8.6). */
static bool method_has_content(enum http_method m)
{
    return m == METHOD_POST || m == METHOD_PUT || m == METHOD_PATCH;
}

struct chunk *h1_write_request(const struct request *req, enum h1_framing framing, bool keep_alive,
                               struct slice upgrade)
{
    struct pieces pieces; /* not initialised as a whole: 4 KiB */
    if (!field_name_valid(req->method_text) || !target_valid(req->target) ||
        !field_value_valid(upgrade) || !add_fields(&pieces, &req->fields)) {
        return NULL;
    }
    char *at;
    struct chunk *c = head_chunk(req->method_text.n + req->target.n + 16, pieces.bytes, upgrade.n,
                                 &at);
    if (!c) {
        return NULL;
    }
    at = put(at, req->method_text);
    *at++ = ' ';
    at = put(at, req->target);
    at = put(at, S(" HTTP/1.1\r\n"));
    at = put_fields(at, &pieces, &req->fields);
    if (framing == H1_CHUNKED) {
        at = put(at, S("Transfer-Encoding: chunked\r\n"));
    } else if (framing == H1_LENGTH && req->content_length >= 0) {
        at = put_length(at, req->content_length);
    } else if (framing == H1_NO_BODY && method_has_content(req->method)) {
        at = put_length(at, 0);
    }
    at = put_connection(at, keep_alive ? H1_KEEP : H1_CLOSE, upgrade);
    return finish_head(c, at);
}

/* ---- responses -------- */

static char *put_status_line(char *at, const struct response *res)
{
    at = put(at, S("HTTP/1.1 "));
    at = put_number(at, (uint64_t)res->status);
    *at++ = ' '; /* even before an empty reason (RFC 9112 section 4) */
    at = put(at, res->reason);
    return put(at, S("\r\n"));
}

/* Content-Length also where no content follows but its length is known: HEAD, 304, an empty 200.
 * Never in 1xx and 204 (RFC 9110 section 8.6). */
static char *put_framing(char *at, const struct response *res, enum h1_framing framing)
{
    if (framing == H1_CHUNKED) {
        return put(at, S("Transfer-Encoding: chunked\r\n"));
    }
    bool may_have_length = res->status >= 200 && res->status != 204;
    if ((framing == H1_LENGTH || framing == H1_NO_BODY) && may_have_length &&
        res->content_length >= 0) {
        return put_length(at, res->content_length);
    }
    return at;
}

struct chunk *h1_write_response(const struct response *res, enum h1_framing framing,
                                enum h1_persist persist, struct slice upgrade, struct slice date)
{
    struct pieces pieces; /* as above */
    if (res->status < 100 || res->status > 999 || !field_value_valid(res->reason) ||
        !field_value_valid(upgrade) || !field_value_valid(date) ||
        !add_fields(&pieces, &res->fields)) {
        return NULL;
    }
    char *at;
    struct chunk *c = head_chunk(res->reason.n + 16, pieces.bytes, upgrade.n + date.n, &at);
    if (!c) {
        return NULL;
    }
    at = put_status_line(at, res);
    at = put_fields(at, &pieces, &res->fields);
    if (!pieces.has_date && date.n) {
        at = put_field(at, S("Date"), date);
    }
    at = put_framing(at, res, framing);
    if (res->status >= 200 || res->status == 101) {
        at = put_connection(at, persist, upgrade);
    }
    return finish_head(c, at);
}

/* ---- chunks -------- */

size_t h1_write_chunk_line(char out[H1_CHUNK_LINE_BYTES], uint64_t size)
{
    char digits[16];
    size_t n = 0;
    do {
        digits[n++] = "0123456789abcdef"[size & 15];
        size >>= 4;
    } while (size);
    char *at = out;
    while (n) {
        *at++ = digits[--n];
    }
    *at++ = '\r';
    *at++ = '\n';
    return (size_t)(at - out);
}

void h1_write_last_chunk(struct dstr *out, const struct fields *trailers)
{
    dstr_append(out, S("0\r\n"));
    for (unsigned i = 0; trailers && i < trailers->count; i++) {
        const struct field *f = &trailers->items[i];
        if (field_flags(f->id) & (FIELD_HOP | FIELD_NO_TRAILER)) {
            continue;
        }
        if (!field_name_valid(f->name) || !field_value_valid(f->value)) {
            out->failed = true;
            return;
        }
        dstr_append(out, f->name);
        dstr_append(out, S(": "));
        dstr_append(out, f->value);
        dstr_append(out, S("\r\n"));
    }
    dstr_append(out, S("\r\n"));
}
