/* Request targets: see h1_target.h. Four forms (RFC 9112 section 3.2); an absolute target wins
 * over Host, and because guessing between two names is how requests get smuggled, the two must
 * name the same place. */
#include "proxy/h1/h1_target.h"

static bool refuse(struct h1_bad *bad, const char *why)
{
    *bad = (struct h1_bad){400, why};
    return false;
}

static bool no_memory(struct h1_bad *bad)
{
    *bad = (struct h1_bad){503, "out of memory"};
    return false;
}

static void split_query(struct request *req)
{
    size_t mark = slice_find(req->target, '?');
    req->path = slice_upto(req->target, mark);
    req->query = mark == SLICE_NPOS ? (struct slice){NULL, 0} : slice_from(req->target, mark + 1);
}

/* Takes "http://" or "https://" from the front; the scheme's default port, empty if neither. */
static struct slice take_scheme(struct slice *raw)
{
    if (slice_eq_case(slice_upto(*raw, 7), S("http://"))) {
        *raw = slice_from(*raw, 7);
        return S("80");
    }
    if (slice_eq_case(slice_upto(*raw, 8), S("https://"))) {
        *raw = slice_from(*raw, 8);
        return S("443");
    }
    return (struct slice){NULL, 0};
}

/* Host against the authority already in req: the same name, and the same port where a missing one
 * means default_port. */
static bool host_agrees(struct arena *a, const struct request *req, struct slice host,
                        struct slice default_port)
{
    struct slice name;
    struct slice port;
    if (!http_split_authority(a, host, &name, &port)) {
        return false;
    }
    struct slice ours = req->port.n ? req->port : default_port;
    return slice_eq(name, req->host) && slice_eq(port.n ? port : default_port, ours);
}

static bool set_authority(struct arena *a, struct request *req, struct slice authority,
                          struct h1_bad *bad, const char *why)
{
    req->authority = authority;
    if (http_split_authority(a, authority, &req->host, &req->port)) {
        return true;
    }
    return a->failed ? no_memory(bad) : refuse(bad, why);
}

/* The path behind an absolute target's authority: an empty one becomes "/", or "*" for OPTIONS
 * (RFC 9112 section 3.2.4). */
static bool set_absolute_path(struct arena *a, struct request *req, struct slice rest,
                              struct h1_bad *bad)
{
    if (rest.n && rest.p[0] == '/') {
        req->target = rest;
    } else if (rest.n) {
        req->target = arena_printf(a, "/%.*s", SLICE_ARG(rest));
        if (!req->target.p) {
            return no_memory(bad);
        }
    } else {
        req->target = req->method == METHOD_OPTIONS ? S("*") : S("/");
    }
    split_query(req);
    return true;
}

static bool set_absolute(struct arena *a, struct request *req, struct slice raw, struct slice host,
                         struct h1_bad *bad)
{
    struct slice default_port = take_scheme(&raw);
    if (!default_port.n) {
        return refuse(bad, "the request target has none of the known forms");
    }
    size_t n = 0;
    while (n < raw.n && raw.p[n] != '/' && raw.p[n] != '?') {
        n++;
    }
    if (!set_authority(a, req, slice_upto(raw, n), bad, "a malformed host in the request target") ||
        !set_absolute_path(a, req, slice_from(raw, n), bad)) {
        return false;
    }
    if (host.p && !host_agrees(a, req, host, default_port)) {
        return refuse(bad, "Host contradicts the request target");
    }
    return true;
}

static bool set_connect(struct arena *a, struct request *req, struct slice raw, struct slice host,
                        struct h1_bad *bad)
{
    if (host.p && !set_authority(a, req, host, bad, "a malformed Host")) {
        return false;
    }
    if (!set_authority(a, req, raw, bad, "a malformed CONNECT target")) {
        return false;
    }
    if (!req->port.n) {
        return refuse(bad, "a CONNECT target without a port");
    }
    req->target = raw;
    req->path = (struct slice){"", 0};
    req->query = (struct slice){NULL, 0};
    return true;
}

bool h1_target_set(struct arena *a, struct request *req, struct slice raw, struct slice host,
                   struct h1_bad *bad)
{
    if (req->method == METHOD_CONNECT) {
        return set_connect(a, req, raw, host, bad);
    }
    bool asterisk = raw.n == 1 && raw.p[0] == '*';
    if (asterisk && req->method != METHOD_OPTIONS) {
        return refuse(bad, "the target \"*\" is for OPTIONS only");
    }
    if (!asterisk && raw.p[0] != '/') {
        return set_absolute(a, req, raw, host, bad);
    }
    req->target = raw;
    split_query(req);
    if (!host.p) {
        req->authority = req->host = req->port = (struct slice){"", 0};
        return true;
    }
    return set_authority(a, req, host, bad, "a malformed Host");
}
