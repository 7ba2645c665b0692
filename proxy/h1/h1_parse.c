/* HTTP/1 heads, parsed: see h1_parse.h.
 *
 * The verdict on some bytes depends on nothing but those bytes: however they arrive, the same head
 * gives the same result at the same place. What is looked at is whole lines only, from the start,
 * in order; the first mistake in them decides. A head that comes in pieces is looked at again only
 * when a line has been completed, and it has at most fields_max + 2 lines, so the work stays
 * linear. Nothing is allocated before the head is complete.
 *
 * In: received bytes. Out: slices into them; the field array (and little else) in the arena. */
#include "proxy/h1/h1_parse.h"

#include "proxy/h1/h1_lines.h"
#include "proxy/h1/h1_target.h"
#include "proxy/http/chars.h"

#define METHOD_BYTES_MAX 32u
/* Each option is compared with each field later; nobody honest sends more than a handful. */
#define CONNECTION_OPTIONS_MAX 64u
/* Room in the field array for what the proxy adds on the way. */
#define FIELDS_SPARE 8u

/* What is known of a head while its lines are read. */
struct lines {
    const char *p;
    const char *end; /* behind an LF */
    struct h1_bad *bad;
    int error_status; /* 400 or, for responses, 502 */
    unsigned count;
    bool has_length;
    bool has_coding;
    bool coding_known; /* not chunked, but one that exists: 501 */
    bool chunked;
    bool close;
    bool keep;
    bool upgrade_option;
    bool upgrade_field;
    bool expect;
    unsigned hosts;
    unsigned options; /* in Connection fields */
    struct slice host;
    uint64_t length;
    struct field fields[FIELDS_MAX];
};

static enum h1_result refuse_as(struct lines *l, int status, const char *why)
{
    *l->bad = (struct h1_bad){l->error_status == 400 ? status : l->error_status, why};
    return H1_BAD;
}

static enum h1_result refuse(struct lines *l, const char *why)
{
    return refuse_as(l, 400, why);
}

/* ---- which bytes to look at -------- */

/* Sets l to the whole lines of in, as far as the limit lets us look. MORE: no line has been
 * completed since the last call. */
static enum h1_result whole_lines(struct slice in, struct h1_scan *scan,
                                  const struct h1_limits *limits, struct lines *l)
{
    struct slice seen = slice_upto(in, limits->head_bytes_max);
    size_t from = scan->seen < seen.n ? scan->seen : seen.n;
    scan->seen = seen.n;
    size_t lf = slice_rfind(slice_from(seen, from), '\n');
    if (lf == SLICE_NPOS) {
        return H1_MORE;
    }
    l->p = seen.p;
    l->end = seen.p + from + lf + 1;
    return H1_DONE;
}

static bool too_long(struct slice in, const struct h1_limits *limits)
{
    return in.n >= limits->head_bytes_max;
}

/* ---- fields -------- */

static enum h1_result note_length(struct lines *l, struct slice value)
{
    if (l->has_length) {
        return refuse(l, "more than one Content-Length");
    }
    l->has_length = true;
    return slice_u64(value, INT64_MAX, &l->length) ? H1_DONE
                                                   : refuse(l, "a malformed Content-Length");
}

/* A coding we know of and do not do, alone or before "chunked". */
static bool is_known_coding(struct slice value)
{
    struct slice first;
    if (!slice_cut(&value, ',', &first)) {
        return false;
    }
    first = slice_trim(first);
    return (slice_eq_case(first, S("gzip")) || slice_eq_case(first, S("x-gzip")) ||
            slice_eq_case(first, S("deflate")) || slice_eq_case(first, S("compress"))) &&
           (!value.p || slice_eq_case(slice_trim(value), S("chunked")));
}

static enum h1_result note_coding(struct lines *l, struct slice value)
{
    if (l->has_coding) {
        return refuse(l, "more than one Transfer-Encoding");
    }
    l->has_coding = true;
    if (slice_eq_case(value, S("chunked"))) {
        l->chunked = true;
        return H1_DONE;
    }
    return is_known_coding(value) ? refuse_as(l, 501, "a transfer coding other than chunked")
                                  : refuse(l, "a malformed Transfer-Encoding");
}

static enum h1_result note_connection(struct lines *l, struct slice list)
{
    struct slice option;
    while (slice_cut(&list, ',', &option)) {
        if (++l->options > CONNECTION_OPTIONS_MAX) {
            return refuse(l, "too many options in Connection");
        }
        option = slice_trim(option);
        switch (option.n) {
        case 5: l->close |= slice_eq_case(option, S("close")); break;
        case 7: l->upgrade_option |= slice_eq_case(option, S("upgrade")); break;
        case 10: l->keep |= slice_eq_case(option, S("keep-alive")); break;
        default: break;
        }
    }
    return H1_DONE;
}

/* What a field means for the framing of the message. */
static enum h1_result note_field(struct lines *l, const struct field *f)
{
    if (f->id == FIELD_OTHER) {
        return H1_DONE;
    }
    if (f->id == FIELD_HOST) {
        l->hosts++;
        l->host = f->value;
    } else if (f->id == FIELD_CONTENT_LENGTH) {
        return note_length(l, f->value);
    } else if (f->id == FIELD_TRANSFER_ENCODING) {
        return note_coding(l, f->value);
    } else if (f->id == FIELD_CONNECTION) {
        return note_connection(l, f->value);
    } else if (f->id == FIELD_UPGRADE) {
        l->upgrade_field |= f->value.n > 0;
    } else if (f->id == FIELD_EXPECT) {
        l->expect |= slice_eq_case(f->value, S("100-continue"));
    }
    return H1_DONE;
}

/* Field lines up to and with the empty line. */
static enum h1_result read_fields(struct lines *l, const struct h1_limits *limits)
{
    unsigned max = limits->fields_max < FIELDS_MAX ? limits->fields_max : FIELDS_MAX;
    while (l->p < l->end) {
        if (l->p[0] == '\r' && l->p[1] == '\n') { /* the last byte is LF: p[1] exists */
            l->p += 2;
            return l->has_length && l->has_coding
                       ? refuse(l, "both Content-Length and Transfer-Encoding")
                       : H1_DONE;
        }
        if (l->count >= max) {
            return refuse_as(l, 431, "too many fields");
        }
        struct field *f = &l->fields[l->count];
        const char *why;
        if (!h1_field_line(&l->p, l->end, f, &why)) {
            return refuse(l, why);
        }
        l->count++;
        enum h1_result r = note_field(l, f);
        if (r != H1_DONE) {
            return r;
        }
    }
    return H1_MORE;
}

static bool keep_fields(const struct lines *l, struct arena *a, struct fields *out)
{
    unsigned cap = l->count + FIELDS_SPARE;
    out->items = arena_alloc(a, cap * sizeof(*out->items));
    if (!out->items) {
        return false;
    }
    memcpy(out->items, l->fields, l->count * sizeof(*out->items));
    out->count = l->count;
    out->cap = cap;
    return true;
}

static bool stays_open(const struct lines *l, enum http_version version)
{
    return !l->close && (version == HTTP_1_1 || l->keep);
}

/* "HTTP/1.1": 1 fine, 0 a version we do not speak, -1 no version at all. A higher minor version is
 * read as 1.1 (RFC 9110 section 2.5). */
static int read_version(const char *p, enum http_version *out)
{
    if (memcmp(p, "HTTP/", 5) != 0 || !ascii_is_digit(p[5]) || p[6] != '.' ||
        !ascii_is_digit(p[7])) {
        return -1;
    }
    *out = p[7] == '0' ? HTTP_1_0 : HTTP_1_1;
    return p[5] == '1';
}

/* ---- requests -------- */

/* The first bytes of a request line, whether or not it is complete: DONE as long as they can be a
 * method, so that a TLS hello or the like is refused at its first byte. */
static enum h1_result check_method(struct lines *l, struct slice s)
{
    size_t n = 0;
    while (n < s.n && n <= METHOD_BYTES_MAX && http_is_token(s.p[n])) {
        n++;
    }
    if (n > METHOD_BYTES_MAX) {
        return refuse_as(l, 501, "the method is too long");
    }
    if (n < s.n && (s.p[n] != ' ' || n == 0)) {
        return refuse(l, "the request line does not begin with a method");
    }
    return H1_DONE;
}

/* An empty line in front (RFC 9112 section 2.2); a lone CR may become one. */
static struct slice skip_empty_line(struct slice in)
{
    if (in.n && in.p[0] == '\r' && (in.n == 1 || in.p[1] == '\n')) {
        return slice_from(in, 2);
    }
    return in;
}

/* No (further) whole line is there. */
static enum h1_result request_incomplete(struct lines *l, struct slice in,
                                         const struct h1_limits *limits)
{
    struct slice line = slice_upto(skip_empty_line(in), limits->head_bytes_max);
    if (check_method(l, line) == H1_BAD) {
        return H1_BAD;
    }
    if (!too_long(in, limits)) {
        return H1_MORE;
    }
    struct slice seen = slice_upto(in, limits->head_bytes_max);
    seen = slice_from(seen, (size_t)(skip_empty_line(in).p - in.p));
    return slice_find(seen, '\n') == SLICE_NPOS ? refuse_as(l, 414, "the request line is too long")
                                                : refuse_as(l, 431, "the header is too long");
}

COLD static enum h1_result bad_target(struct lines *l, char c)
{
    switch (c) {
    case '\r':
    case '\n': return refuse(l, "a request line without a version");
    case '#': return refuse(l, "a fragment in the request target");
    case ' ': return refuse(l, "more than one space in the request line");
    default: return refuse(l, "an invalid byte in the request target");
    }
}

/* Sets req's method and version and the raw target. */
static enum h1_result read_request_line(struct lines *l, struct request *req, struct slice *target)
{
    if (check_method(l, slice_of(l->p, (size_t)(l->end - l->p))) == H1_BAD) {
        return H1_BAD;
    }
    const char *s = memchr(l->p, ' ', (size_t)(l->end - l->p));
    req->method_text = slice_of(l->p, (size_t)(s - l->p));
    req->method = http_method_of(req->method_text);
    const char *start = ++s;
    while (http_is_target(*s)) { /* stops at the LF at the latest */
        s++;
    }
    if (s == start || *s != ' ') {
        return bad_target(l, *s);
    }
    *target = slice_of(start, (size_t)(s - start));
    s++;
    const char *lf = memchr(s, '\n', (size_t)(l->end - s));
    if (lf - s != 9 || s[8] != '\r') {
        return refuse(l, lf == s || lf[-1] != '\r' ? "a line ends with LF instead of CRLF"
                                                   : "a malformed request line");
    }
    int known = read_version(s, &req->version);
    if (known <= 0) {
        return known == 0 ? refuse_as(l, 505, "this HTTP version is not spoken here")
                          : refuse(l, "a malformed request line");
    }
    l->p = lf + 1;
    return H1_DONE;
}

static enum h1_result check_request(struct lines *l, const struct request *req)
{
    if (l->hosts > 1) {
        return refuse(l, "more than one Host");
    }
    if (l->hosts == 0 && req->version == HTTP_1_1) {
        return refuse(l, "no Host");
    }
    if (l->has_coding && req->version == HTTP_1_0) {
        return refuse(l, "Transfer-Encoding in HTTP/1.0");
    }
    return H1_DONE;
}

static void frame_request(const struct lines *l, struct request *req, struct h1_head *head)
{
    bool modern = req->version != HTTP_1_0;
    head->framing = l->chunked ? H1_CHUNKED : l->length > 0 ? H1_LENGTH : H1_NO_BODY;
    head->keep_alive = stays_open(l, req->version);
    req->content_length = l->chunked ? LENGTH_UNKNOWN : (int64_t)l->length;
    req->expect_continue = modern && l->expect && head->framing != H1_NO_BODY;
    req->upgrade = modern && l->upgrade_option && l->upgrade_field && head->framing == H1_NO_BODY;
}

/* Not initialised as a whole: the field array is 10 KiB. */
static void lines_init(struct lines *l, struct h1_bad *bad, int error_status)
{
    memset(l, 0, offsetof(struct lines, fields));
    l->bad = bad;
    l->error_status = error_status;
}

enum h1_result h1_parse_request(struct slice in, struct h1_scan *scan,
                                const struct h1_limits *limits, struct arena *a,
                                struct request *req, struct h1_head *head, struct h1_bad *bad)
{
    struct lines l;
    lines_init(&l, bad, 400);
    if (whole_lines(in, scan, limits, &l) == H1_MORE) {
        return request_incomplete(&l, in, limits);
    }
    l.p = skip_empty_line(slice_of(l.p, (size_t)(l.end - l.p))).p;
    if (l.p == l.end) {
        return request_incomplete(&l, in, limits);
    }
    *req = (struct request){.scheme = req->scheme};
    struct slice target;
    enum h1_result r = read_request_line(&l, req, &target);
    if (r == H1_DONE) {
        r = read_fields(&l, limits);
    }
    if (r == H1_MORE) {
        return request_incomplete(&l, in, limits);
    }
    if (r == H1_BAD || check_request(&l, req) == H1_BAD) {
        return H1_BAD;
    }
    struct slice host = l.hosts ? l.host : (struct slice){NULL, 0};
    if (!h1_target_set(a, req, target, host, bad)) {
        return H1_BAD;
    }
    if (!keep_fields(&l, a, &req->fields)) {
        return refuse_as(&l, 503, "out of memory");
    }
    frame_request(&l, req, head);
    head->head_bytes = (size_t)(l.p - in.p);
    return H1_DONE;
}

/* ---- responses -------- */

static enum h1_result response_incomplete(struct lines *l, struct slice in,
                                          const struct h1_limits *limits)
{
    const struct slice start = S("HTTP/1.");
    size_t n = in.n < start.n ? in.n : start.n;
    if (n && memcmp(in.p, start.p, n) != 0) {
        return refuse(l, "the answer is not HTTP/1");
    }
    return too_long(in, limits) ? refuse(l, "the header is too long") : H1_MORE;
}

/* "HTTP/1.1 200 OK"; the reason may be empty, and the space before it missing. */
static enum h1_result read_status_line(struct lines *l, struct response *res)
{
    const char *lf = memchr(l->p, '\n', (size_t)(l->end - l->p));
    size_t n = (size_t)(lf - l->p);
    if (n < 9 || memcmp(l->p, "HTTP/1.", 7) != 0 || read_version(l->p, &res->version) != 1) {
        return refuse(l, "the answer is not HTTP/1");
    }
    const char *s = l->p + 8;
    if (lf[-1] != '\r') {
        return refuse(l, "a line ends with LF instead of CRLF");
    }
    if (n < 13 || s[0] != ' ' || s[1] < '1' || s[1] > '5' || !ascii_is_digit(s[2]) ||
        !ascii_is_digit(s[3]) || (s[4] != ' ' && s[4] != '\r')) {
        return refuse(l, "a malformed status line");
    }
    res->status = (s[1] - '0') * 100 + (s[2] - '0') * 10 + (s[3] - '0');
    const char *reason = s[4] == ' ' ? s + 5 : s + 4;
    res->reason = slice_of(reason, (size_t)(lf - 1 - reason));
    if (!field_value_valid(res->reason)) {
        return refuse(l, "a control byte in the reason phrase");
    }
    l->p = lf + 1;
    return H1_DONE;
}

/* RFC 9112 section 6.3. */
static void frame_response(const struct lines *l, enum http_method method, struct response *res,
                           struct h1_head *head)
{
    head->keep_alive = stays_open(l, res->version);
    if (res->status == 101 || (method == METHOD_CONNECT && res->status / 100 == 2)) {
        head->framing = H1_TUNNEL;
        res->tunnel = true;
        res->content_length = LENGTH_UNKNOWN;
        return;
    }
    if (!http_status_has_body(method, res->status)) {
        head->framing = H1_NO_BODY;
        bool about = method == METHOD_HEAD || res->status == 304;
        bool none = res->status < 200 || res->status == 204;
        res->content_length = none                     ? 0
                              : about && l->has_length ? (int64_t)l->length
                                                       : LENGTH_UNKNOWN;
        /* Such a head must not announce content; if it does, some follows perhaps. */
        head->keep_alive = head->keep_alive && !(none && (l->has_coding || l->length > 0));
        return;
    }
    if (l->chunked) {
        head->framing = H1_CHUNKED;
        res->content_length = LENGTH_UNKNOWN;
    } else if (l->has_length) {
        head->framing = l->length > 0 ? H1_LENGTH : H1_NO_BODY;
        res->content_length = (int64_t)l->length;
    } else {
        head->framing = H1_UNTIL_CLOSE;
        head->keep_alive = false;
        res->content_length = LENGTH_UNKNOWN;
    }
}

enum h1_result h1_parse_response(struct slice in, struct h1_scan *scan,
                                 const struct h1_limits *limits, enum http_method method,
                                 struct arena *a, struct response *res, struct h1_head *head,
                                 struct h1_bad *bad)
{
    struct lines l;
    lines_init(&l, bad, 502);
    if (whole_lines(in, scan, limits, &l) == H1_MORE) {
        return response_incomplete(&l, in, limits);
    }
    *res = (struct response){0};
    enum h1_result r = read_status_line(&l, res);
    if (r == H1_DONE) {
        r = read_fields(&l, limits);
    }
    if (r == H1_MORE) {
        return response_incomplete(&l, in, limits);
    }
    if (r == H1_DONE && l.has_coding && res->version == HTTP_1_0) {
        r = refuse(&l, "Transfer-Encoding in HTTP/1.0");
    }
    if (r == H1_DONE && !keep_fields(&l, a, &res->fields)) {
        r = refuse(&l, "out of memory");
    }
    if (r != H1_DONE) {
        res->status = 0;
        return r;
    }
    frame_response(&l, method, res, head);
    head->head_bytes = (size_t)(l.p - in.p);
    return H1_DONE;
}
