/* External account bindings that ZeroSSL gives to whoever names an e-mail address or an API access
 * key (https://zerossl.com/documentation/acme/generate-eab-credentials), so that nobody has to copy
 * them. */
#ifndef ACME_ZEROSSL_H
#define ACME_ZEROSSL_H

#include "acme/acme.h"
#include "acme/session.h"

/* The key id and MAC key for issuer (eab_of_zerossl), in a. */
NODISCARD bool zerossl_binding(struct session *s, const struct acme_issuer *issuer,
                               struct arena *a, struct slice *key_id, struct slice *mac_key,
                               struct failure *f);
/* Its answer's JSON, for tests: copies both into a. */
NODISCARD bool zerossl_parse(struct arena *a, struct slice body, struct slice *key_id,
                             struct slice *mac_key, struct err *err);

#endif
