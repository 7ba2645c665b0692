/* In: what the site and the global options say. Out: issuers in order. Caddy's rules: what the site
 * says, else cert_issuer, else the local CA for names that no public one signs, else acme_ca or
 * Let's Encrypt, with ZeroSSL behind it where an e-mail address is given. */
#include "cmd/issuers.h"

#include "cmd/solvers.h"
#include "proxy/net/addr.h"

static bool is_ip(struct slice name)
{
    struct addr unused;
    return addr_parse_ip(name, 1, &unused);
}

static struct acme_chains chains_of(const struct chain_choice *from)
{
    struct acme_chains to = {.smallest = from->smallest,
                             .root_count = from->root_count,
                             .any_count = from->any_count};
    memcpy(to.roots, from->roots, sizeof(to.roots));
    memcpy(to.any_names, from->any_names, sizeof(to.any_names));
    return to;
}

static bool chains_said(const struct chain_choice *c)
{
    return c->smallest || c->root_count || c->any_count;
}

/* A public CA with what the global options and the shortcuts of tls say of all of them. */
static struct acme_issuer plain_acme(const struct managed_name *m, const struct options *o)
{
    const struct issuance *site = m->issuance;
    bool own_ca = site && site->ca.n;
    struct slice root = site && site->ca_root.n ? site->ca_root : o->acme_ca_root;
    struct acme_issuer to = {
        .kind = ACME_ISSUER_ACME,
        .directory_url = own_ca      ? site->ca
                         : o->acme_ca.n ? o->acme_ca
                                        : S(ACME_LETS_ENCRYPT),
        .test_url = own_ca ? S("") : o->acme_test_ca,
        .email = m->email.n ? m->email : o->email,
        .eab_key_id = own_ca ? S("") : o->eab_key_id,
        .eab_mac_key = own_ca ? S("") : o->eab_mac_key,
        .lifetime_ms = o->issuance.lifetime_ms,
        .chains = chains_of(&o->issuance.chains),
    };
    if (site && site->eab_key_id.n) {
        to.eab_key_id = site->eab_key_id;
        to.eab_mac_key = site->eab_mac_key;
    }
    if (root.n) {
        to.root_files[to.root_file_count++] = root;
    }
    return to;
}

/* ZeroSSL gives the binding that it wants to whoever names an e-mail address or an API key. */
static void bind_zerossl(struct acme_issuer *to)
{
    to->eab_of_zerossl = !to->eab_key_id.n && (to->email.n || to->zerossl_key.n) &&
                         slice_starts(to->directory_url, S("https://acme.zerossl.com/"));
}

static struct acme_issuer zerossl(const struct managed_name *m, const struct options *o)
{
    struct acme_issuer to = plain_acme(m, o);
    to.directory_url = S(ACME_ZEROSSL);
    to.test_url = S("");
    to.eab_key_id = S("");
    to.eab_mac_key = S("");
    return to;
}

static struct acme_issuer acme_of(const struct issuer_choice *c, const struct managed_name *m,
                                  const struct options *o)
{
    struct acme_issuer to = c->kind == ISSUER_ZEROSSL ? zerossl(m, o) : plain_acme(m, o);
    if (c->directory_url.n && !slice_eq(c->directory_url, to.directory_url)) {
        to.directory_url = c->directory_url;
        to.test_url = S("");
        to.eab_key_id = S("");
        to.eab_mac_key = S("");
    }
    to.test_url = c->test_url.n ? c->test_url : to.test_url;
    to.email = c->email.n ? c->email : to.email;
    to.zerossl_key = c->zerossl_key;
    to.profile = c->profile;
    to.timeout_ms = c->timeout_ms;
    to.lifetime_ms = c->lifetime_ms ? c->lifetime_ms : to.lifetime_ms;
    if (c->eab_key_id.n) {
        to.eab_key_id = c->eab_key_id;
        to.eab_mac_key = c->eab_mac_key;
    }
    if (c->root_file_count) {
        memcpy(to.root_files, c->root_files, sizeof(to.root_files));
        to.root_file_count = c->root_file_count;
    }
    if (chains_said(&c->chains)) {
        to.chains = chains_of(&c->chains);
    }
    return to;
}

static bool convert(struct arena *a, const struct issuer_choice *c, const struct managed_name *m,
                    const struct config *config, struct cf_diags *diags, struct acme_issuer *to)
{
    if (c->kind == ISSUER_INTERNAL) {
        *to = (struct acme_issuer){.kind = ACME_ISSUER_LOCAL,
                                   .leaf_lifetime_ms = c->lifetime_ms,
                                   .sign_with_root = c->sign_with_root};
        return true;
    }
    *to = acme_of(c, m, config->options);
    bind_zerossl(to);
    if (!solvers_for(a, &c->challenges, m->challenges, config, diags, &to->solvers)) {
        return false;
    }
    if (c->kind == ISSUER_ZEROSSL && !to->eab_of_zerossl) {
        cf_error(diags, c->at, "ZeroSSL needs an API key (issuer zerossl KEY) or an e-mail address"
                 " (the global option email)");
        return false;
    }
    return true;
}

/* Nobody said who: the public CA, and where it is Let's Encrypt by default, ZeroSSL behind it. A
 * CA that signs for no IP addresses leaves them to the local CA. */
static size_t default_issuers(const struct managed_name *m, const struct options *o,
                              const struct acme_solvers *solvers, struct acme_issuer *to)
{
    const struct issuance *site = m->issuance;
    bool custom = o->acme_ca.n || o->eab_key_id.n || (site && (site->ca.n || site->eab_key_id.n));
    size_t count = 0;
    to[count] = plain_acme(m, o);
    to[count].solvers = *solvers;
    bind_zerossl(&to[count++]);
    if (is_ip(m->name)) {
        to[count++] = (struct acme_issuer){.kind = ACME_ISSUER_LOCAL};
    } else if (!custom && to[0].email.n) {
        to[count] = zerossl(m, o);
        to[count].solvers = *solvers;
        bind_zerossl(&to[count++]);
    }
    return count;
}

static enum acme_key_type key_type_of(const struct issuance *site, const struct issuance *global)
{
    enum key_choice said = site && site->key_type != KEY_UNSAID ? site->key_type
                                                                : global->key_type;
    switch (said) {
    case KEY_UNSAID:
    case KEY_P256:
        break;
    case KEY_P384:
        return ACME_KEY_P384;
    case KEY_RSA2048:
        return ACME_KEY_RSA2048;
    case KEY_RSA4096:
        return ACME_KEY_RSA4096;
    case KEY_ED25519:
        return ACME_KEY_ED25519;
    }
    return ACME_KEY_P256;
}

bool issuers_for(struct arena *a, const struct managed_name *m, const struct config *c,
                 struct cf_diags *diags, struct acme_name *out)
{
    static const struct challenge_settings none = {.dns = NULL};
    const struct options *o = c->options;
    const struct issuance *site = m->issuance;
    struct acme_issuer *issuers = ARENA_ARRAY(a, struct acme_issuer, ACME_ISSUERS_MAX);
    must(issuers);
    bool said = site && (site->issuer_count || site->ca.n);
    const struct issuance *from = site && site->issuer_count ? site : &o->issuance;
    bool local = !said && (m->internal || acme_name_is_local(m->name));
    size_t count = 0;
    bool ok = true;
    if (local) {
        issuers[count++] = (struct acme_issuer){.kind = ACME_ISSUER_LOCAL};
    } else if (from->issuer_count && !(site && site->ca.n && from != site)) {
        for (size_t i = 0; i < from->issuer_count; i++) {
            ok = convert(a, from->issuers[i], m, c, diags, &issuers[count++]) && ok;
        }
    } else {
        struct acme_solvers solvers;
        ok = solvers_for(a, &none, m->challenges, c, diags, &solvers);
        count = default_issuers(m, o, &solvers, issuers);
    }
    unsigned ratio = site && site->ratio_ppm ? site->ratio_ppm : o->issuance.ratio_ppm;
    *out = (struct acme_name){.name = m->name,
                              .issuers = issuers,
                              .issuer_count = count,
                              .key_type = key_type_of(site, &o->issuance),
                              .reuse_key = site && site->reuse_keys,
                              .ratio_ppm = ratio};
    return ok;
}

enum issuers_class issuers_class(struct slice name)
{
    return acme_name_is_local(name) ? ISSUERS_LOCAL_NAME
           : is_ip(name)            ? ISSUERS_ADDRESS
                                    : ISSUERS_PUBLIC_NAME;
}
