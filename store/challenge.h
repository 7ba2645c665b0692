/* Answers to ACME challenges, where acme writes them and the proxy reads them: texts for HTTP-01
 * (RFC 8555 section 8.3), certificates for TLS-ALPN-01 (RFC 8737). In memory for this process, and
 * in the store so that any instance that shares it can answer. The JSON in the store is
 * CertMagic's ({"type","token","keyAuthorization","identifier":{"type","value"}}), for TLS-ALPN-01
 * with the certificate and its key in a member of our own, "certificate". */
#ifndef STORE_CHALLENGE_H
#define STORE_CHALLENGE_H

#include "proxy/base/dstr.h"
#include "store/store.h"

struct challenge_table; /* thread-safe */

/* In front of the token, in the path of HTTP-01 (RFC 8555 section 8.3). */
#define CHALLENGE_PREFIX "/.well-known/acme-challenge/"
#define CHALLENGE_TOKEN_MAX  ((size_t)256)
#define CHALLENGE_ANSWER_MAX ((size_t)512)
#define CHALLENGE_PEM_MAX    ((size_t)8192)

/* Keeps a pointer to the store (NULL: memory only). */
struct challenge_table *challenge_table_new(struct store *s);
void challenge_table_free(struct challenge_table *t);

/* True for 1 to CHALLENGE_TOKEN_MAX base64url characters. */
bool challenge_token_valid(struct slice token);
/* Makes the answer visible in this process at once and then in the store. A failure of the store
 * is reported but the answer stays visible in memory. */
NODISCARD bool challenge_put(struct challenge_table *t, struct slice ca, struct slice name,
                             struct slice token, struct slice key_authorization, struct err *err);
/* The same for TLS-ALPN-01; name is a DNS name or an address. pem: the certificate and then its
 * key, copied. */
NODISCARD bool challenge_put_tls(struct challenge_table *t, struct slice ca, struct slice name,
                                 struct slice token, struct slice key_authorization,
                                 struct slice pem, struct err *err);
/* Takes an answer of either kind away. */
void challenge_remove(struct challenge_table *t, struct slice ca, struct slice name,
                      struct slice token);
/* In memory only; never blocks on disk; safe on an event loop. Copies the answer (no NUL) into
 * out and returns its length, 0 if the token is not known here. */
size_t challenge_find_local(struct challenge_table *t, struct slice token,
                            char out[CHALLENGE_ANSWER_MAX]);
/* The same in the store's acme/<any ca>/challenge_tokens/<host>.json (host lower-case, no port):
 * blocks; call from a job. Only an entry whose token is equal (constant time) counts. */
size_t challenge_find_stored(struct challenge_table *t, struct slice host, struct slice token,
                             char out[CHALLENGE_ANSWER_MAX]);

/* The certificate and key that answer a TLS-ALPN-01 handshake for server_name (lower-case; the
 * reverse name of an address, RFC 8738 section 6), appended to pem. In memory only; never blocks
 * on disk; safe on an event loop. False: none is known here. */
NODISCARD bool challenge_find_tls_local(struct challenge_table *t, struct slice server_name,
                                        struct dstr *pem);
/* The same in the store: blocks; call from a job. */
NODISCARD bool challenge_find_tls_stored(struct challenge_table *t, struct slice server_name,
                                         struct dstr *pem);

#endif
