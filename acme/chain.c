/* In: a chain in PEM, wishes. Out: a rank. Owns nothing. */
#include "acme/chain.h"

#include "acme/cert_check.h"

static bool issuer_is(X509 *cert, struct slice common_name)
{
    char have[256];
    int n = X509_NAME_get_text_by_NID(X509_get_issuer_name(cert), NID_commonName, have,
                                      sizeof(have));
    return n > 0 && slice_eq(slice_of(have, (size_t)n), common_name);
}

static unsigned rank_of(const struct cert_chain *chain, const struct acme_chains *wanted)
{
    for (size_t i = 0; i < wanted->root_count; i++) {
        if (issuer_is(chain->certs[chain->count - 1], wanted->roots[i])) {
            return (unsigned)i;
        }
    }
    for (size_t i = 0; i < wanted->any_count; i++) {
        for (size_t k = 0; k < chain->count; k++) {
            if (issuer_is(chain->certs[k], wanted->any_names[i])) {
                return (unsigned)i;
            }
        }
    }
    return CHAIN_UNWANTED;
}

unsigned chain_rank(struct slice chain_pem, const struct acme_chains *wanted)
{
    struct cert_chain chain;
    if (wanted->root_count == 0 && wanted->any_count == 0) {
        return 0;
    }
    if (!cert_chain_parse(chain_pem, &chain, NULL)) {
        return CHAIN_UNWANTED;
    }
    unsigned rank = rank_of(&chain, wanted);
    cert_chain_free(&chain);
    return rank;
}
