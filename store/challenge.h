/* Answers to ACME HTTP-01 challenges (RFC 8555 section 8.3), where acme writes them and the proxy
 * reads them: in memory for this process, and in the store so that any instance that shares the
 * folder can answer. The JSON in the store is CertMagic's ({"type","token","keyAuthorization",
 * "identifier":{"type","value"}}). */
#ifndef STORE_CHALLENGE_H
#define STORE_CHALLENGE_H

#include "store/store.h"

struct challenge_table; /* thread-safe */

#define CHALLENGE_TOKEN_MAX  ((size_t)256)
#define CHALLENGE_ANSWER_MAX ((size_t)512)

/* Keeps a pointer to the store (NULL: memory only). */
struct challenge_table *challenge_table_new(struct store *s);
void challenge_table_free(struct challenge_table *t);

/* True for 1 to CHALLENGE_TOKEN_MAX base64url characters. */
bool challenge_token_valid(struct slice token);
/* Makes the answer visible in this process at once and then in the store. A failure of the store
 * is reported but the answer stays visible in memory. */
NODISCARD bool challenge_put(struct challenge_table *t, struct slice ca, struct slice name,
                             struct slice token, struct slice key_authorization, struct err *err);
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

#endif
