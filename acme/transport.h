/* HTTPS to a CA: the only file that knows libcurl. One transport per thread at a time; it keeps
 * its connection. With a CA never anything but https, also behind redirects; answers are bounded;
 * every wait minds the struct stop. */
#ifndef ACME_TRANSPORT_H
#define ACME_TRANSPORT_H

#include "acme/stop.h"
#include "proxy/base/dstr.h"
#include "proxy/base/err.h"

#define TRANSPORT_JSON_MAX ((size_t)1 << 20)
#define TRANSPORT_PEM_MAX ((size_t)256 * 1024)

struct transport;

enum transport_result {
    TRANSPORT_OK,      /* the CA answered, whatever the status */
    TRANSPORT_STOPPED, /* stop was requested */
    TRANSPORT_FAILED   /* no whole answer; err says why */
};

/* The answer. Fields that were not there are empty. */
struct reply {
    long status;
    bool sent; /* the request left: without an answer it may have been obeyed all the same */
    struct dstr body;
    struct dstr nonce;        /* Replay-Nonce */
    struct dstr location;     /* Location */
    struct dstr retry_after;  /* Retry-After */
    struct dstr content_type; /* Content-Type */
    struct dstr links;        /* every Link field, one a line */
    int64_t date_ms;          /* Date, since 1970; 0: none */
};

void reply_init(struct reply *r);
void reply_fini(struct reply *r);
/* Now by the CA's own clock, where it told it: what its other dates are to be measured by, since
 * this machine's clock may be wrong. */
int64_t reply_now_ms(const struct reply *r);

enum transport_method {
    TRANSPORT_GET,
    TRANSPORT_HEAD,
    TRANSPORT_POST,
    TRANSPORT_POST_FORM, /* body: application/x-www-form-urlencoded */
    TRANSPORT_API        /* as `verb` says, with `fields`; redirects are not followed */
};

#define TRANSPORT_FIELDS_MAX 8

struct transport_request {
    enum transport_method method;
    struct slice url;    /* sent byte for byte */
    struct slice body;   /* POST: application/jose+json */
    struct slice accept; /* Accept field, or empty */
    size_t body_max;     /* of the answer */
    /* ---- TRANSPORT_API */
    const char *verb;                          /* "PUT" */
    struct slice fields[TRANSPORT_FIELDS_MAX]; /* "Name: value"; never logged */
    size_t field_count;
};

struct transport_options {
    const struct slice *root_files; /* PEM files of roots to trust besides the system's */
    size_t root_file_count;
    int64_t timeout_ms; /* of one request; 0: a minute */
    bool plain_too;     /* http:// is fine, and redirects are not followed: no CA is meant */
    bool direct;        /* past any proxy that the environment names */
};

/* NULL and err on failure. Copies what it needs of the options. */
struct transport *transport_new(const struct transport_options *options, struct stop *stop,
                                struct err *err);
void transport_free(struct transport *t);
/* Sends and waits, at most the options' time. reply is emptied first. */
NODISCARD enum transport_result transport_send(struct transport *t,
                                               const struct transport_request *request,
                                               struct reply *reply, struct err *err);

#endif
