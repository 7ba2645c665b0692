/* Facts about methods, status codes and authorities (RFC 9110, RFC 3986). Pure. */
#include "proxy/http/message.h"

#include <arpa/inet.h>

#include "proxy/http/chars.h"

enum http_method http_method_of(struct slice text)
{
    static const struct {
        struct slice text;
        enum http_method method;
    } methods[] = {
        {S_INIT("GET"), METHOD_GET},         {S_INIT("POST"), METHOD_POST},
        {S_INIT("HEAD"), METHOD_HEAD},       {S_INIT("PUT"), METHOD_PUT},
        {S_INIT("DELETE"), METHOD_DELETE},   {S_INIT("PATCH"), METHOD_PATCH},
        {S_INIT("OPTIONS"), METHOD_OPTIONS}, {S_INIT("CONNECT"), METHOD_CONNECT},
        {S_INIT("TRACE"), METHOD_TRACE},
    };
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (slice_eq(text, methods[i].text)) {
            return methods[i].method;
        }
    }
    return METHOD_OTHER;
}

bool http_method_idempotent(enum http_method m)
{
    return m == METHOD_GET || m == METHOD_HEAD || m == METHOD_PUT || m == METHOD_DELETE ||
           m == METHOD_OPTIONS || m == METHOD_TRACE;
}

struct slice http_reason(int status)
{
    switch (status) {
    case 100: return S("Continue");
    case 101: return S("Switching Protocols");
    case 102: return S("Processing");
    case 103: return S("Early Hints");
    case 200: return S("OK");
    case 201: return S("Created");
    case 202: return S("Accepted");
    case 203: return S("Non-Authoritative Information");
    case 204: return S("No Content");
    case 205: return S("Reset Content");
    case 206: return S("Partial Content");
    case 207: return S("Multi-Status");
    case 208: return S("Already Reported");
    case 226: return S("IM Used");
    case 300: return S("Multiple Choices");
    case 301: return S("Moved Permanently");
    case 302: return S("Found");
    case 303: return S("See Other");
    case 304: return S("Not Modified");
    case 305: return S("Use Proxy");
    case 307: return S("Temporary Redirect");
    case 308: return S("Permanent Redirect");
    case 400: return S("Bad Request");
    case 401: return S("Unauthorized");
    case 402: return S("Payment Required");
    case 403: return S("Forbidden");
    case 404: return S("Not Found");
    case 405: return S("Method Not Allowed");
    case 406: return S("Not Acceptable");
    case 407: return S("Proxy Authentication Required");
    case 408: return S("Request Timeout");
    case 409: return S("Conflict");
    case 410: return S("Gone");
    case 411: return S("Length Required");
    case 412: return S("Precondition Failed");
    case 413: return S("Content Too Large");
    case 414: return S("URI Too Long");
    case 415: return S("Unsupported Media Type");
    case 416: return S("Range Not Satisfiable");
    case 417: return S("Expectation Failed");
    case 418: return S("I'm a teapot");
    case 421: return S("Misdirected Request");
    case 422: return S("Unprocessable Content");
    case 423: return S("Locked");
    case 424: return S("Failed Dependency");
    case 425: return S("Too Early");
    case 426: return S("Upgrade Required");
    case 428: return S("Precondition Required");
    case 429: return S("Too Many Requests");
    case 431: return S("Request Header Fields Too Large");
    case 451: return S("Unavailable For Legal Reasons");
    case 500: return S("Internal Server Error");
    case 501: return S("Not Implemented");
    case 502: return S("Bad Gateway");
    case 503: return S("Service Unavailable");
    case 504: return S("Gateway Timeout");
    case 505: return S("HTTP Version Not Supported");
    case 506: return S("Variant Also Negotiates");
    case 507: return S("Insufficient Storage");
    case 508: return S("Loop Detected");
    case 510: return S("Not Extended");
    case 511: return S("Network Authentication Required");
    default: return (struct slice){"", 0};
    }
}

bool http_status_has_body(enum http_method method, int status)
{
    if (method == METHOD_HEAD || status < 200 || status == 204 || status == 304) {
        return false;
    }
    return method != METHOD_CONNECT || status >= 300;
}

struct slice http_version_text(enum http_version v)
{
    switch (v) {
    case HTTP_1_0: return S("HTTP/1.0");
    case HTTP_2: return S("HTTP/2.0");
    case HTTP_1_1:
    default: return S("HTTP/1.1");
    }
}

/* ---- authority -------- */

#define HOST_BYTES_MAX 255 /* the longest name of the DNS, a final dot included */
#define PORT_MAX 65535u

static bool port_valid(struct slice port)
{
    uint64_t value;
    return port.n == 0 || (port.n <= 5 && slice_u64(port, PORT_MAX, &value));
}

/* The address between the brackets; zones are refused (RFC 9110 section 4.2.3 has none). */
static bool v6_valid(struct slice text)
{
    char buf[INET6_ADDRSTRLEN];
    struct in6_addr addr;
    if (text.n == 0 || text.n >= sizeof(buf)) {
        return false;
    }
    memcpy(buf, text.p, text.n);
    buf[text.n] = '\0';
    return memchr(buf, '\0', text.n) == NULL && inet_pton(AF_INET6, buf, &addr) == 1;
}

/* A valid address in its one canonical spelling (RFC 5952), as sites are listed. */
static bool v6_canonical(struct arena *a, struct slice text, struct slice *out)
{
    char buf[INET6_ADDRSTRLEN];
    struct in6_addr addr;
    memcpy(buf, text.p, text.n);
    buf[text.n] = '\0';
    if (inet_pton(AF_INET6, buf, &addr) != 1 || !inet_ntop(AF_INET6, &addr, buf, sizeof(buf))) {
        return false;
    }
    *out = slice_eq(slice_str(buf), text) ? text : arena_copy(a, slice_str(buf));
    return out->p != NULL;
}

static bool name_valid(struct slice name)
{
    if (name.n == 0 || name.n > HOST_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < name.n; i++) {
        if (LIKELY(http_is_host(name.p[i]))) {
            continue;
        }
        if (name.p[i] != '%' || name.n - i < 3 || ascii_hex_value(name.p[i + 1]) < 0 ||
            ascii_hex_value(name.p[i + 2]) < 0) {
            return false;
        }
        i += 2;
    }
    return true;
}

/* Text itself where it is lower-case already: most are. */
static bool lower(struct arena *a, struct slice text, struct slice *out)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] >= 'A' && text.p[i] <= 'Z') {
            *out = arena_lower(a, text);
            return out->p != NULL;
        }
    }
    *out = text;
    return true;
}

bool http_split_authority(struct arena *a, struct slice authority, struct slice *host,
                          struct slice *port)
{
    struct slice name;
    struct slice rest;
    bool v6 = authority.n && authority.p[0] == '[';
    if (v6) {
        size_t close = slice_find(authority, ']');
        if (close == SLICE_NPOS) {
            return false;
        }
        name = slice_of(authority.p + 1, close - 1);
        rest = slice_from(authority, close + 1);
        if (!v6_valid(name)) {
            return false;
        }
    } else {
        size_t colon = slice_find(authority, ':');
        name = slice_upto(authority, colon);
        rest = slice_from(authority, colon);
        if (!name_valid(name)) {
            return false;
        }
    }
    if (rest.n && rest.p[0] != ':') {
        return false;
    }
    *port = slice_from(rest, 1);
    if (!port_valid(*port)) {
        return false;
    }
    if (v6) {
        return v6_canonical(a, name, host);
    }
    if (name.n > 1 && name.p[name.n - 1] == '.') {
        name.n--; /* "example.com." is the same name, written in full */
    }
    return lower(a, name, host);
}
