/* In: an issuer as the configuration says it. Out: copies and comparisons. Owns nothing. */
#include "acme/issuer.h"

#include "acme/key.h"
#include "acme/local_ca.h"
#include "store/names.h"

static void copy_all(struct arena *a, struct slice *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        list[i] = arena_copy(a, list[i]);
    }
}

static bool same_all(const struct slice *x, size_t x_count, const struct slice *y, size_t y_count)
{
    bool same = x_count == y_count;
    for (size_t i = 0; same && i < x_count; i++) {
        same = slice_eq(x[i], y[i]);
    }
    return same;
}

static const struct acme_dns *copy_dns(struct arena *a, const struct acme_dns *from)
{
    struct acme_dns *to = from ? ARENA_NEW(a, struct acme_dns) : NULL;
    if (!to) {
        return NULL;
    }
    *to = *from;
    to->provider = arena_copy(a, from->provider);
    to->override_name = arena_copy(a, from->override_name);
    to->resolvers = arena_copy(a, from->resolvers);
    for (size_t i = 0; i < to->option_count; i++) {
        to->options[i].name = arena_copy(a, from->options[i].name);
        to->options[i].value = arena_copy(a, from->options[i].value);
    }
    return to;
}

static struct acme_solvers copy_solvers(struct arena *a, const struct acme_solvers *from)
{
    struct acme_solvers to = *from;
    to.dns = copy_dns(a, from->dns);
    return to;
}

static bool same_dns(const struct acme_dns *x, const struct acme_dns *y)
{
    if (!x || !y) {
        return x == y;
    }
    bool same = slice_eq(x->provider, y->provider) && x->option_count == y->option_count &&
                x->ttl_s == y->ttl_s && x->propagation_timeout_ms == y->propagation_timeout_ms &&
                x->propagation_delay_ms == y->propagation_delay_ms &&
                slice_eq(x->override_name, y->override_name) &&
                slice_eq(x->resolvers, y->resolvers);
    for (size_t i = 0; same && i < x->option_count; i++) {
        same = slice_eq(x->options[i].name, y->options[i].name) &&
               slice_eq(x->options[i].value, y->options[i].value);
    }
    return same;
}

static bool same_solvers(const struct acme_solvers *x, const struct acme_solvers *y)
{
    return x->no_http == y->no_http && x->no_tls_alpn == y->no_tls_alpn &&
           same_dns(x->dns, y->dns);
}

struct acme_issuer issuer_copy(struct arena *a, const struct acme_issuer *from)
{
    struct acme_issuer to = *from;
    to.directory_url = arena_copy(a, from->directory_url);
    to.test_url = arena_copy(a, from->test_url);
    to.email = arena_copy(a, from->email);
    to.eab_key_id = arena_copy(a, from->eab_key_id);
    to.eab_mac_key = arena_copy(a, from->eab_mac_key);
    to.zerossl_key = arena_copy(a, from->zerossl_key);
    to.profile = arena_copy(a, from->profile);
    copy_all(a, to.root_files, to.root_file_count);
    copy_all(a, to.chains.roots, to.chains.root_count);
    copy_all(a, to.chains.any_names, to.chains.any_count);
    to.solvers = copy_solvers(a, &from->solvers);
    return to;
}

static bool same_chains(const struct acme_chains *x, const struct acme_chains *y)
{
    return x->smallest == y->smallest &&
           same_all(x->roots, x->root_count, y->roots, y->root_count) &&
           same_all(x->any_names, x->any_count, y->any_names, y->any_count);
}

bool issuer_same(const struct acme_issuer *x, const struct acme_issuer *y)
{
    if (x->kind != y->kind) {
        return false;
    }
    if (x->kind == ACME_ISSUER_LOCAL) {
        return x->leaf_lifetime_ms == y->leaf_lifetime_ms &&
               x->sign_with_root == y->sign_with_root;
    }
    return slice_eq(x->directory_url, y->directory_url) && slice_eq(x->test_url, y->test_url) &&
           same_all(x->root_files, x->root_file_count, y->root_files, y->root_file_count) &&
           slice_eq(x->email, y->email) && slice_eq(x->eab_key_id, y->eab_key_id) &&
           slice_eq(x->eab_mac_key, y->eab_mac_key) && x->eab_of_zerossl == y->eab_of_zerossl &&
           slice_eq(x->zerossl_key, y->zerossl_key) && slice_eq(x->profile, y->profile) &&
           x->lifetime_ms == y->lifetime_ms && x->timeout_ms == y->timeout_ms &&
           same_chains(&x->chains, &y->chains) && same_solvers(&x->solvers, &y->solvers);
}

void issuer_wipe(struct acme_issuer *issuer)
{
    key_wipe(issuer->eab_mac_key);
    key_wipe(issuer->zerossl_key);
    for (size_t i = 0; issuer->solvers.dns && i < issuer->solvers.dns->option_count; i++) {
        key_wipe(issuer->solvers.dns->options[i].value);
    }
}

void acme_name_wipe(const struct acme_name *name)
{
    for (size_t i = 0; i < name->issuer_count; i++) {
        const struct acme_dns *dns = name->issuers[i].solvers.dns;
        for (size_t k = 0; dns && k < dns->option_count; k++) {
            key_wipe(dns->options[k].value);
        }
    }
}

struct slice issuer_store_name(struct arena *a, const struct acme_issuer *issuer)
{
    return issuer->kind == ACME_ISSUER_LOCAL ? LOCAL_CA_NAME
                                             : store_ca_name(a, issuer->directory_url);
}

struct slice issuer_test_url(const struct acme_issuer *issuer)
{
    bool lets_encrypt = slice_eq(issuer->directory_url, S(ACME_LETS_ENCRYPT)) ||
                        slice_eq(issuer->directory_url, S(ACME_LETS_ENCRYPT_STAGING));
    return issuer->test_url.n ? issuer->test_url
           : lets_encrypt     ? S(ACME_LETS_ENCRYPT_STAGING)
                              : S("");
}
