/* HTTP/1 heads (RFC 9112): strict, incremental, pure. Bytes in, slices out.
 *
 * Incremental means: called again with the same head from its start and more bytes behind; `state`
 * remembers how far was looked at, so that the work stays linear. Nothing is copied except into
 * the given arena (field arrays, lower-cased host). */
#ifndef H1_PARSE_H
#define H1_PARSE_H

#include "proxy/http/message.h"

enum h1_result { H1_DONE, H1_MORE, H1_BAD /* status and why are set */ };

struct h1_scan { /* zeroed before the first call for a head */
    size_t seen; /* bytes already searched for the end of the head */
};

struct h1_bad {
    int status;      /* what to answer: 400, 414, 431, 501, 505 (for responses always 502) */
    const char *why; /* static text for logs and the error page */
};

struct h1_limits {
    size_t head_bytes_max; /* 64 KiB by default */
    unsigned fields_max;   /* FIELDS_FROM_PEER_MAX */
};

/* How the body of a message is delimited (RFC 9112 section 6.3). */
enum h1_framing { H1_NO_BODY, H1_LENGTH, H1_CHUNKED, H1_UNTIL_CLOSE, H1_TUNNEL };

struct h1_head {
    size_t head_bytes; /* consumed, the empty line included */
    enum h1_framing framing;
    bool keep_alive;   /* the sender allows another message on this connection */
};

/* Parses a request head. At most one empty line (CRLF) before the request line is skipped (it
 * counts into head_bytes). req is filled; slices point into in or a. scheme is left to the caller.
 *
 * H1_BAD: bare CR or LF, NUL or control bytes, white space before the colon, obs-fold, a field name
 * that is no token, more or other than two spaces in the request line, HTTP/0.9 or 2.x, a missing
 * or doubled or malformed Host (1.1; 1.0 may lack it), a target that is neither origin-, absolute-
 * nor asterisk-form (asterisk only for OPTIONS, CONNECT is given as METHOD_CONNECT with the
 * authority), a Host that contradicts an absolute target, both Content-Length and
 * Transfer-Encoding, Content-Length repeated, in a list, signed, empty or too large,
 * Transfer-Encoding that is not exactly one "chunked", Transfer-Encoding in HTTP/1.0, too many
 * fields, too many options in Connection, too long a head. Never guesses. */
enum h1_result h1_parse_request(struct slice in, struct h1_scan *scan,
                                const struct h1_limits *limits, struct arena *a,
                                struct request *req, struct h1_head *head, struct h1_bad *bad);

/* Parses a response head to a request of that method. 1xx heads are given as they are (framing
 * H1_NO_BODY; 101 gives H1_TUNNEL). An empty reason and a missing space before it are allowed.
 * Content-Length: 0 gives H1_NO_BODY with content_length 0, in requests too. Bad as above: both
 * lengths, differing or malformed ones, odd transfer codings, control bytes, a status that is not
 * three digits. Identical repeated Content-Length is bad too. */
enum h1_result h1_parse_response(struct slice in, struct h1_scan *scan,
                                 const struct h1_limits *limits, enum http_method method,
                                 struct arena *a, struct response *res, struct h1_head *head,
                                 struct h1_bad *bad);

#endif
