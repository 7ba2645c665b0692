/* From decoded fields to a request; see h2_head.h. */
#include "proxy/h2/h2_head.h"

#include "proxy/base/rand.h"
#include "proxy/http/chars.h"

#define STATUS_MAX 599u
#define FIELD_OVERHEAD 32u /* RFC 9113 section 6.5.2 */

struct h2_crumb {
    struct h2_crumb *next;
    struct slice text;
};

static bool count_field(struct h2_head *h, const struct h2_head_limits *l, struct slice name,
                        struct slice value)
{
    h->bytes += name.n + value.n + FIELD_OVERHEAD;
    return h->bytes <= l->bytes_max;
}

static bool keep(struct arena *a, struct slice value, struct slice *out)
{
    *out = arena_copy(a, value);
    return out->p != NULL;
}

/* Crumbs are joined when all are there: one copy, however many they are (section 8.2.3). */
static bool add_crumb(struct h2_head *h, struct arena *a, struct slice value)
{
    struct h2_crumb *c = ARENA_NEW(a, struct h2_crumb);
    if (!c || !keep(a, value, &c->text)) {
        return false;
    }
    if (h->last_crumb) {
        h->last_crumb->next = c;
        h->cookie_bytes += 2;
    } else {
        h->crumbs = c;
        h->count++;
    }
    h->last_crumb = c;
    h->cookie_bytes += value.n;
    return true;
}

static struct slice *pseudo_place(struct h2_head *h, struct slice name)
{
    switch (name.n) {
    case 5: return &h->path;
    case 7: return name.p[1] == 'm' ? &h->method : &h->scheme;
    case 9: return &h->protocol;
    case 10: return &h->authority;
    default: return NULL;
    }
}

/* Appends a field as it is. */
static enum h2_field_result add_field(struct arena *a, struct fields *fields, enum field_id id,
                                      struct slice name, struct slice value)
{
    struct slice n;
    struct slice v;
    return keep(a, name, &n) && keep(a, value, &v) && fields_add_id(fields, a, id, n, v)
               ? H2_FIELD_OK
               : H2_FIELD_NO_MEMORY;
}

enum h2_field_result h2_head_field(struct h2_head *h, const struct h2_head_limits *l,
                                   struct arena *a, struct request *req, struct slice name,
                                   struct slice value)
{
    if (!count_field(h, l, name, value)) {
        return H2_FIELD_TOO_MUCH;
    }
    if (name.n && name.p[0] == ':') {
        struct slice *place = pseudo_place(h, name);
        return !place || keep(a, value, place) ? H2_FIELD_OK : H2_FIELD_NO_MEMORY;
    }
    enum field_id id = field_id(name);
    if (id == FIELD_COOKIE) {
        return add_crumb(h, a, value) ? H2_FIELD_OK : H2_FIELD_NO_MEMORY;
    }
    if (++h->count > l->fields_max) {
        return H2_FIELD_TOO_MUCH;
    }
    if (id == FIELD_HOST) {
        return keep(a, value, &h->host) ? H2_FIELD_OK : H2_FIELD_NO_MEMORY;
    }
    return add_field(a, &req->fields, id, name, value);
}

enum h2_field_result h2_trailer_field(struct h2_head *h, const struct h2_head_limits *l,
                                      struct arena *a, struct fields *trailers, struct slice name,
                                      struct slice value)
{
    if (!count_field(h, l, name, value) || ++h->count > l->fields_max) {
        return H2_FIELD_TOO_MUCH;
    }
    enum field_id id = field_id(name);
    if (field_flags(id) & (FIELD_HOP | FIELD_NO_TRAILER)) {
        return H2_FIELD_OK;
    }
    return add_field(a, trailers, id, name, value);
}

/* ---- the whole -------- */

#define NO_MEMORY 503

static int refuse(const char **why, int status, const char *text)
{
    *why = text;
    return status;
}

/* :authority is the request's; a Host beside it must name the same place (section 8.3.1). Without
 * :authority Host takes its part. */
static int set_authority(const struct h2_head *h, struct arena *a, struct request *req,
                         struct slice default_port, const char **why)
{
    struct slice host = h->host;
    req->authority = h->authority.p ? h->authority : host;
    if (!http_split_authority(a, req->authority, &req->host, &req->port)) {
        return a->failed ? NO_MEMORY : refuse(why, 400, "a malformed :authority or Host");
    }
    if (!h->authority.p || !host.p || slice_eq(host, h->authority)) {
        return 0;
    }
    struct slice name;
    struct slice port;
    if (!http_split_authority(a, host, &name, &port)) {
        return a->failed ? NO_MEMORY : refuse(why, 400, "a malformed Host");
    }
    struct slice ours = req->port.n ? req->port : default_port;
    if (!slice_eq(name, req->host) || !slice_eq(port.n ? port : default_port, ours)) {
        return refuse(why, 400, "Host contradicts :authority");
    }
    return 0;
}

static bool target_valid(const struct request *req, struct slice path)
{
    if (slice_eq(path, S("*"))) {
        return req->method == METHOD_OPTIONS;
    }
    for (size_t i = 0; i < path.n; i++) {
        if (!http_is_target(path.p[i])) {
            return false;
        }
    }
    return path.n > 0 && path.p[0] == '/';
}

static int set_target(const struct h2_head *h, struct request *req, const char **why)
{
    if (!target_valid(req, h->path)) {
        return refuse(why, 400, "a malformed :path");
    }
    req->target = h->path;
    size_t mark = slice_find(h->path, '?');
    req->path = slice_upto(h->path, mark);
    req->query = mark == SLICE_NPOS ? slice_of(NULL, 0) : slice_from(h->path, mark + 1);
    return 0;
}

static int join_cookies(const struct h2_head *h, struct arena *a, struct request *req)
{
    if (!h->crumbs) {
        return 0;
    }
    char *all = arena_alloc(a, h->cookie_bytes + 1);
    if (!all) {
        return NO_MEMORY;
    }
    char *at = all;
    for (const struct h2_crumb *c = h->crumbs; c; c = c->next) {
        if (c != h->crumbs) {
            *at++ = ';';
            *at++ = ' ';
        }
        if (c->text.n) {
            memcpy(at, c->text.p, c->text.n);
        }
        at += c->text.n;
    }
    return fields_add_id(&req->fields, a, FIELD_COOKIE, S("cookie"),
                         slice_of(all, (size_t)(at - all)))
               ? 0
               : NO_MEMORY;
}

static int set_length(struct request *req, bool ended, const char **why)
{
    const struct field *f = fields_find_id(&req->fields, FIELD_CONTENT_LENGTH);
    uint64_t length = 0;
    if (f && !slice_u64(f->value, INT64_MAX, &length)) {
        return refuse(why, 400, "a malformed Content-Length");
    }
    req->content_length = ended ? 0 : f ? (int64_t)length : LENGTH_UNKNOWN;
    const struct field *expect = fields_find_id(&req->fields, FIELD_EXPECT);
    req->expect_continue = expect && !ended && slice_eq_case(expect->value, S("100-continue"));
    return 0;
}

/* ---- extended CONNECT (RFC 8441) -------- */

/* Sixteen random bytes in base64 (RFC 6455 section 4.1): the key means nothing between the client
 * and us, but an HTTP/1.1 origin insists on one. */
static bool make_key(struct arena *a, struct slice *key)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char raw[18] = {0};
    char *out = arena_alloc(a, 24);
    if (!out || !rand_bytes(raw, 16)) {
        return false;
    }
    for (size_t i = 0; i < 6; i++) {
        uint32_t w = (uint32_t)raw[3 * i] << 16 | (uint32_t)raw[3 * i + 1] << 8 | raw[3 * i + 2];
        for (size_t k = 0; k < 4; k++) {
            out[4 * i + k] = digits[(w >> (18 - 6 * k)) & 63];
        }
    }
    out[22] = out[23] = '=';
    *key = slice_of(out, 24);
    return true;
}

static int become_upgrade(const struct h2_head *h, struct arena *a, struct request *req, bool ended,
                          const char **why)
{
    if (!slice_eq_case(h->protocol, S("websocket"))) {
        return refuse(why, 501, "an extended CONNECT for a protocol other than websocket");
    }
    if (ended) {
        return refuse(why, 400, "an extended CONNECT that has ended already");
    }
    struct slice key;
    fields_remove(&req->fields, S("sec-websocket-key"));
    fields_remove_id(&req->fields, FIELD_CONTENT_LENGTH);
    req->method = METHOD_GET;
    req->method_text = S("GET");
    req->upgrade = true;
    req->content_length = 0;
    req->expect_continue = false;
    return make_key(a, &key) &&
                   fields_add_id(&req->fields, a, FIELD_CONNECTION, S("Connection"),
                                 S("Upgrade")) &&
                   fields_add_id(&req->fields, a, FIELD_UPGRADE, S("Upgrade"), S("websocket")) &&
                   fields_add(&req->fields, a, S("Sec-WebSocket-Key"), key)
               ? 0
               : NO_MEMORY;
}

/* Plain CONNECT: what follows is told by the authority alone (section 8.5). */
static int set_connect(const struct h2_head *h, struct request *req, const char **why)
{
    if (!req->port.n) {
        return refuse(why, 400, "a CONNECT without a port");
    }
    req->target = h->authority;
    req->path = S("");
    req->query = slice_of(NULL, 0);
    return 0;
}

static bool token(struct slice s)
{
    return field_name_valid(s);
}

int h2_head_finish(struct h2_head *h, struct arena *a, struct request *req, struct slice scheme,
                   bool ended, const char **why)
{
    *why = "out of memory";
    req->version = HTTP_2;
    req->scheme = scheme;
    req->method_text = h->method;
    req->method = http_method_of(h->method);
    bool connect = req->method == METHOD_CONNECT && !h->protocol.p;
    if (!token(h->method)) {
        return refuse(why, 400, "a malformed :method");
    }
    if (!connect && !slice_eq_case(h->scheme, S("http")) &&
        !slice_eq_case(h->scheme, S("https"))) {
        return refuse(why, 400, "a :scheme other than http and https");
    }
    struct slice default_port = slice_eq_case(h->scheme, S("http")) ? S("80") : S("443");
    int status = set_authority(h, a, req, default_port, why);
    if (!status) {
        status = connect ? set_connect(h, req, why) : set_target(h, req, why);
    }
    if (!status) {
        status = set_length(req, ended, why);
    }
    if (!status && h->protocol.p) {
        status = become_upgrade(h, a, req, ended, why);
    }
    if (!status) {
        status = join_cookies(h, a, req);
    }
    if (!status &&
        !fields_add_id(&req->fields, a, FIELD_HOST, S("Host"), req->authority)) {
        status = NO_MEMORY;
    }
    return status;
}

/* ---- responses -------- */

enum h2_field_result h2_response_field(struct h2_head *h, const struct h2_head_limits *l,
                                       struct arena *a, struct response *res, struct slice name,
                                       struct slice value)
{
    uint64_t status = 0;
    if (!count_field(h, l, name, value)) {
        return H2_FIELD_TOO_MUCH;
    }
    if (slice_eq(name, S(":status"))) {
        res->status = value.n == 3 && slice_u64(value, STATUS_MAX, &status) ? (int)status : 0;
        return H2_FIELD_OK;
    }
    if (++h->count > l->fields_max) {
        return H2_FIELD_TOO_MUCH;
    }
    return add_field(a, &res->fields, field_id(name), name, value);
}

bool h2_response_finish(struct response *res, enum http_method method, bool ended,
                        const char **why)
{
    const struct field *f = fields_find_id(&res->fields, FIELD_CONTENT_LENGTH);
    uint64_t length = 0;
    *why = "a malformed Content-Length";
    if (f && !slice_u64(f->value, INT64_MAX, &length)) {
        return false;
    }
    *why = "a malformed :status";
    if (res->status < 100) {
        return false;
    }
    res->version = HTTP_2;
    res->reason = http_reason(res->status);
    bool about = method == METHOD_HEAD || res->status == 304; /* of content that does not come */
    bool has_body = http_status_has_body(method, res->status);
    res->content_length = about || has_body ? LENGTH_UNKNOWN : 0;
    if (f && (about || has_body)) {
        res->content_length = (int64_t)length;
    } else if (has_body && ended) {
        res->content_length = 0;
    }
    *why = "content that is shorter than its Content-Length";
    return !(ended && has_body && length > 0);
}
