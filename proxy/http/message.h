/* A request and a response, whatever the HTTP version (RFC 9110). Slices point into received
 * chunks that the exchange pins, or into the exchange's arena. */
#ifndef HTTP_MESSAGE_H
#define HTTP_MESSAGE_H

#include "proxy/http/field.h"

enum http_method { METHOD_OTHER, METHOD_GET, METHOD_HEAD, METHOD_POST, METHOD_PUT, METHOD_DELETE,
                   METHOD_PATCH, METHOD_OPTIONS, METHOD_CONNECT, METHOD_TRACE };

enum http_version { HTTP_1_0, HTTP_1_1, HTTP_2 };

#define LENGTH_UNKNOWN ((int64_t)-1) /* chunked, or until close, or h2 without content-length */

struct request {
    enum http_method method;
    enum http_version version;
    struct slice method_text;
    struct slice scheme;    /* "http" or "https": how it came to us */
    struct slice authority; /* from Host, the absolute target or :authority, as sent */
    struct slice host;      /* authority without port and brackets, lower-case */
    struct slice port;      /* digits or empty */
    struct slice target;    /* origin-form "/path?query", or "*" */
    struct slice path;      /* the part of target before '?', escapes as sent */
    struct slice query;     /* behind '?', or empty (p == NULL: no '?') */
    struct fields fields;   /* Host included; framing fields as received */
    int64_t content_length; /* >= 0, or LENGTH_UNKNOWN; 0 when there is no body */
    bool expect_continue;
    bool upgrade; /* asks for an upgrade (Connection: upgrade and Upgrade: x, 1.1, no body) */
};

struct response {
    int status; /* 0: none yet */
    enum http_version version;
    struct slice reason;
    struct fields fields;   /* framing fields as received; the codec writes its own */
    int64_t content_length; /* of the body that follows the head, or of the body HEAD asks about;
                               LENGTH_UNKNOWN if not known beforehand */
    bool tunnel; /* 101: what follows are raw bytes both ways */
};

enum http_method http_method_of(struct slice text);
/* Safe to send again when it is not known whether it was acted upon (RFC 9110 section 9.2.2). */
bool http_method_idempotent(enum http_method m);
/* "Not Found"; "" if the status is unknown. */
struct slice http_reason(int status);
/* May a response of this status, to this method, have a body (RFC 9110 section 6.4.1)? */
bool http_status_has_body(enum http_method method, int status);
/* "HTTP/1.1" */
struct slice http_version_text(enum http_version v);

/* Splits "host[:port]", "[v6]:port" into a lower-case host (arena; without a final dot, IPv6 in its
 * canonical spelling) and a port; validates both (RFC 3986 section 3.2.2, no userinfo, no empty
 * host). */
NODISCARD bool http_split_authority(struct arena *a, struct slice authority, struct slice *host,
                                    struct slice *port);

#endif
