/* In: a store, CAs, a name. Out: a pair that looks good. See glance.h. */
#include "acme/glance.h"

#include "acme/cert_check.h"
#include "acme/csr.h"
#include "acme/stored.h"
#include "proxy/base/x509.h"

struct looks {
    int64_t not_before_ms; /* of the leaf */
    int64_t not_after_ms;  /* the earliest in the chain */
    bool named;
};

static bool has_name(struct slice alt_names, struct slice want)
{
    unsigned char ip[16];
    size_t ip_bytes = csr_ip_bytes(want, ip);
    struct x509_name name;
    while (x509_next_name(&alt_names, &name)) {
        bool same = name.is_ip ? ip_bytes && slice_eq(name.value, slice_of((char *)ip, ip_bytes))
                               : !ip_bytes && slice_eq_case(name.value, want);
        if (same) {
            return true;
        }
    }
    return false;
}

/* False: something in it is no certificate. */
static bool look(struct slice chain_pem, struct slice name, struct looks *out)
{
    struct dstr der;
    struct slice label;
    struct x509_facts facts;
    bool broken = false;
    size_t count = 0;
    dstr_init(&der, CERT_PEM_MAX);
    while (pem_next(&chain_pem, &label, &der, &broken)) {
        if (!slice_eq(label, S("CERTIFICATE")) || !x509_read(dstr_slice(&der), &facts)) {
            broken = true;
            break;
        }
        if (count++ == 0) {
            out->not_before_ms = facts.not_before_ms;
            out->not_after_ms = facts.not_after_ms;
            out->named = has_name(facts.alt_names, name);
        }
        if (facts.not_after_ms < out->not_after_ms) {
            out->not_after_ms = facts.not_after_ms;
        }
        dstr_reset(&der);
    }
    dstr_fini(&der);
    return count > 0 && count <= CERT_CHAIN_MAX && !broken;
}

static bool first_block(struct slice pem, struct slice ending, struct dstr *der)
{
    struct slice label;
    bool broken = false;
    return pem_next(&pem, &label, der, &broken) && slice_ends(label, ending);
}

/* Whatever does not fit at first sight is looked at closely: the store sets aside what does not
 * match. */
static bool matches(void *unused, struct slice chain_pem, struct slice key_pem)
{
    struct dstr crt;
    struct dstr key;
    struct x509_facts facts;
    dstr_init(&crt, CERT_PEM_MAX);
    dstr_init(&key, CERT_PEM_MAX);
    bool fits = first_block(chain_pem, S("CERTIFICATE"), &crt) &&
                first_block(key_pem, S("PRIVATE KEY"), &key) &&
                x509_read(dstr_slice(&crt), &facts) &&
                x509_fits(&facts, dstr_slice(&key)) == X509_PAIR_FITS;
    if (key.p) {
        explicit_bzero(key.p, key.cap);
    }
    dstr_fini(&crt);
    dstr_fini(&key);
    return fits || cert_pair_matches(unused, chain_pem, key_pem);
}

bool glance(struct store *s, const struct slice *cas, size_t ca_count, struct slice name,
            int64_t now_ms, struct store_pair *out)
{
    int64_t best_ms = 0;
    size_t best = 0;
    bool found = false;
    for (size_t i = 0; i < ca_count; i++) {
        struct store_pair pair;
        struct looks looks = {.named = false};
        struct err err;
        store_pair_init(&pair);
        if (store_pair_get(s, cas[i], name, matches, NULL, &pair, NULL, &err) == STORE_OK &&
            look(dstr_slice(&pair.chain_pem), name, &looks) && looks.named &&
            looks.not_after_ms > now_ms &&
            (!found || stored_better(cas, i, looks.not_before_ms, best, best_ms))) {
            store_pair_fini(out);
            *out = pair; /* moved */
            store_pair_init(&pair);
            best_ms = looks.not_before_ms;
            best = i;
            found = true;
        }
        store_pair_fini(&pair);
    }
    return found;
}
