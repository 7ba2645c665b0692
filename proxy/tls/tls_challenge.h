/* TLS-ALPN-01 (RFC 8737): which hellos are a CA's, and what they are answered with. The answer
 * comes from the challenge table: from memory at once, else from the store by a job, during which
 * the handshake waits. A handshake's state belongs to its loop's thread. */
#ifndef TLS_TLS_CHALLENGE_H
#define TLS_TLS_CHALLENGE_H

#include <openssl/ssl.h>

#include "proxy/loop/jobs.h"
#include "proxy/tls/cert.h"
#include "proxy/tls/certs.h"

#define TLS_CHALLENGE_PROTOCOL "acme-tls/1"

/* A look into the store under way for one handshake. */
struct tls_challenge;

enum tls_challenge_answer {
    TLS_CHALLENGE_KNOWN,   /* *cert is the answer, for the caller to cert_unref() */
    TLS_CHALLENGE_WAIT,    /* *look is under way; wake is posted when it has ended: ask again */
    TLS_CHALLENGE_UNKNOWN, /* nobody waits for a challenge of that name */
};

/* In the client-hello callback: does the client offer acme-tls/1 and nothing else? */
bool tls_challenge_hello(SSL *ssl);
/* What to answer server_name (lower-case) with. look: the handshake's, NULL at first. */
enum tls_challenge_answer tls_challenge_find(struct certs *certs, struct slice server_name,
                                             struct loop *l, struct task *wake,
                                             struct tls_challenge **look, struct cert **cert);
/* The handshake has ended, or goes away: wake is not posted any more. NULL is allowed. */
void tls_challenge_forget(struct tls_challenge *look);

#endif
