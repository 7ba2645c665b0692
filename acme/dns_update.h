/* Dynamic updates (RFC 2136) signed with TSIG (RFC 8945), as messages. No I/O. */
#ifndef ACME_DNS_UPDATE_H
#define ACME_DNS_UPDATE_H

#include <openssl/evp.h>

#include "acme/dns_parse.h"
#include "proxy/base/err.h"

#define TSIG_MAC_MAX 64
#define TSIG_SECRET_MAX 512

struct tsig_key {
    struct slice name;
    const char *algorithm; /* as in messages: "hmac-sha256" */
    const EVP_MD *hash;
    unsigned char secret[TSIG_SECRET_MAX];
    size_t secret_n;
};

/* What was sent, for checking the answer. */
struct tsig_mac {
    unsigned char bytes[TSIG_MAC_MAX];
    size_t n;
};

/* name and algorithm as in a configuration ("hmac-sha256", with or without a dot at the end),
 * secret in base64. name is borrowed. */
NODISCARD bool tsig_key_init(struct tsig_key *k, struct slice name, struct slice algorithm,
                             struct slice secret, struct err *err);
void tsig_key_fini(struct tsig_key *k);
/* An update that adds the TXT record, or takes that one value away (ttl is then ignored). */
NODISCARD bool dns_put_update(struct dstr *out, unsigned id, struct slice zone, struct slice name,
                              struct slice value, bool add, uint32_t ttl);
/* Signs the message that msg is (RFC 8945 section 4). */
NODISCARD bool tsig_sign(const struct tsig_key *k, struct dstr *msg, int64_t now_s,
                         struct tsig_mac *mac);
/* Is the answer one to that request, signed with the key, and does it say that all went well? err
 * has the server's reason in words if not. */
NODISCARD bool tsig_answer_ok(const struct tsig_key *k, struct slice answer, unsigned id,
                              const struct tsig_mac *request, int64_t now_s, struct err *err);

#endif
