/* A conversation with one CA as one account: its directory, a few nonces, signed requests. Used by
 * one thread at a time; kept between attempts. RFC 8555 sections 6 and 7.1.1. */
#ifndef ACME_SESSION_H
#define ACME_SESSION_H

#include "acme/failure.h"
#include "acme/jws.h"
#include "acme/message.h"
#include "acme/transport.h"

#define SESSION_NONCES 8
#define SESSION_NONCE_MAX 256

struct session {
    struct transport *transport;
    struct stop *stop;         /* borrowed */
    struct slice directory_url; /* borrowed */
    struct arena arena;        /* the directory's strings */
    struct directory directory;
    bool has_directory;
    int64_t directory_mono_ms; /* when it was read */
    char nonces[SESSION_NONCES][SESSION_NONCE_MAX + 1];
    size_t nonce_count;
    struct jws_key key;  /* of the account; pkey NULL until account_ready */
    struct dstr kid;     /* the account's URL; empty until account_ready */
};

/* NULL and err when the extra roots cannot be read. directory_url must outlive the session. */
struct session *session_new(struct slice directory_url, const struct transport_options *options,
                            struct stop *stop, struct err *err);
void session_free(struct session *s);

/* Reads the directory unless it was read within the last hour. */
NODISCARD bool session_directory(struct session *s, struct failure *f);

struct session_request {
    struct slice url;
    struct slice payload; /* p == NULL: POST-as-GET */
    struct slice accept;  /* or empty */
    bool with_jwk;        /* sign with the key itself instead of the account's URL */
    bool once;            /* not sent again when the answer is lost */
    size_t body_max;      /* 0: TRANSPORT_JSON_MAX */
};

/* An unsigned GET of an https URL. True: the CA answered 200, reply has it. */
NODISCARD bool session_get(struct session *s, struct slice url, struct reply *reply,
                           struct failure *f);
/* A signed POST. True: the CA answered 2xx, reply has it. A badNonce is tried again with a fresh
 * nonce (RFC 8555 section 6.5), a lost answer once more, each time signed anew. */
NODISCARD bool session_post(struct session *s, const struct session_request *request,
                            struct reply *reply, struct failure *f);

/* Fills f; returns false. */
bool failure_set(struct failure *f, enum failure_kind kind, const char *fmt, ...) PRINTF(3, 4);

#endif
