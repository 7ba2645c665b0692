/* Who signs which name, and where finished certificates go; see certificates.h. */
#include "cmd/certificates.h"

#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/net/addr.h"
#include "proxy/tls/demand.h"

static bool is_ip(struct slice name)
{
    struct addr unused;
    return addr_parse_ip(name, 1, &unused);
}

/* Local CA or public one? Adds the errors of a name that neither can sign. */
static bool decide(const struct managed_name *m, struct cf_diags *diags, bool *local)
{
    *local = m->internal || acme_name_is_local(m->name);
    if (!acme_name_qualifies(m->name)) {
        cf_error(diags, m->at,
                 "\"%.*s\" cannot be on a certificate; for plain HTTP write http://%.*s",
                 SLICE_ARG(m->name), SLICE_ARG(m->name));
        return false;
    }
    if (!*local && slice_find(m->name, '*') != SLICE_NPOS) {
        cf_error(diags, m->at,
                 "a public certificate for the wildcard \"%.*s\" needs a DNS challenge,"
                 " which caddis has not yet; name the hosts one by one, or use tls internal or"
                 " tls CERT KEY",
                 SLICE_ARG(m->name));
        return false;
    }
    if (*local && !m->internal && is_ip(m->name) && slice_find(m->name, ':') == SLICE_NPOS) {
        struct slice n = m->name;
        bool private_ip = slice_starts(n, S("127.")) || slice_starts(n, S("10.")) ||
                          slice_starts(n, S("192.168.")) || slice_starts(n, S("172.")) ||
                          slice_starts(n, S("169.254."));
        if (!private_ip) {
            cf_warning(diags, m->at, "public IP addresses get a certificate of the local CA so far,"
                       " which browsers trust only after `caddis trust`");
        }
    }
    return true;
}

static struct acme_issuer issuer_for(const struct managed_name *m, const struct options *o,
                                     bool local)
{
    if (local) {
        return (struct acme_issuer){.kind = ACME_ISSUER_LOCAL};
    }
    return (struct acme_issuer){
        .kind = ACME_ISSUER_ACME,
        .directory_url = o->acme_ca.n ? o->acme_ca : S(ACME_LETS_ENCRYPT),
        .root_files = {o->acme_ca_root},
        .root_file_count = o->acme_ca_root.n ? 1 : 0,
        .email = m->email.n ? m->email : o->email,
        .eab_key_id = o->eab_key_id,
        .eab_mac_key = o->eab_mac_key,
    };
}

void cert_plan_init(struct cert_plan *p, const struct config *c, const struct managed_name *more,
                    size_t more_count, struct cf_diags *diags)
{
    size_t count = c->managed_count + more_count;
    *p = (struct cert_plan){0};
    arena_init(&p->arena, ARENA_NO_MAX);
    struct acme_name *names = ARENA_ARRAY(&p->arena, struct acme_name, count + 1);
    p->served = ARENA_ARRAY(&p->arena, struct slice, count + c->own_count + 1);
    must(names && p->served);
    for (size_t i = 0; i < count; i++) {
        const struct managed_name *m =
            i < c->managed_count ? &c->managed[i] : &more[i - c->managed_count];
        bool local;
        if (decide(m, diags, &local)) {
            struct acme_issuer *issuer = ARENA_NEW(&p->arena, struct acme_issuer);
            must(issuer);
            *issuer = issuer_for(m, c->options, local);
            names[p->acme.name_count++] =
                (struct acme_name){.name = m->name, .issuers = issuer, .issuer_count = 1};
            p->served[p->served_count++] = m->name;
        }
    }
    for (size_t i = 0; i < c->own_count; i++) {
        if (c->own[i].name.n) {
            p->served[p->served_count++] = c->own[i].name;
        }
    }
    p->acme.names = names;
    p->acme.renew_interval_ms = c->options->renew_interval_ms;
}

void cert_plan_fini(struct cert_plan *p)
{
    arena_fini(&p->arena);
    *p = (struct cert_plan){0};
}

void cert_plan_configure(const struct cert_plan *p, const struct cert_plan *also,
                         const struct config *c, struct certs *certs)
{
    size_t more = also ? also->served_count : 0;
    struct slice *names = mem_zalloc((p->served_count + more + 1) * sizeof(*names));
    memcpy(names, p->served, p->served_count * sizeof(*names));
    if (more) {
        memcpy(names + p->served_count, also->served, more * sizeof(*names));
    }
    certs_configure(certs, names, p->served_count + more, c->options->default_sni);
    free(names);
    certs_set_own(certs, c->own, c->own_count);
}

void cert_plan_preload(const struct cert_plan *p, struct acme *acme, struct certs *certs)
{
    struct acme_config fresh = p->acme;
    struct acme_name *names = mem_zalloc((p->acme.name_count + 1) * sizeof(*names));
    fresh.names = names;
    fresh.name_count = 0;
    for (size_t i = 0; i < p->acme.name_count; i++) {
        if (certs_state(certs, p->acme.names[i].name, NULL) != CERTS_READY) {
            names[fresh.name_count++] = p->acme.names[i];
        }
    }
    acme_preload(acme, &fresh);
    free(names);
}

/* Handshakes may be waiting for it. */
static void demanded(struct certs *certs, struct slice name, bool ok)
{
    if (certs_demand(certs)) {
        demand_done(certs_demand(certs), name, ok);
    }
}

static void on_certificate(void *ctx, struct slice name, struct slice chain_pem,
                           struct slice key_pem)
{
    struct err err;
    if (!certs_install(ctx, name, chain_pem, key_pem, &err)) {
        log_event(LOG_ERROR, "tls", "a new certificate cannot be used", LOG_S("name", name),
                  LOG_Z("reason", err.text));
    }
    demanded(ctx, name, true);
}

static void on_status(void *ctx, struct slice name, const struct acme_status *status)
{
    struct dstr text;
    dstr_init(&text, 4096);
    bool waits = slice_starts(status->activity, S("next attempt in"));
    if (waits && status->next_attempt_wall_ms > 0) { /* a time: the page is read later */
        char when[CLOCK_RFC3339_BYTES];
        clock_rfc3339(status->next_attempt_wall_ms, when);
        dstr_printf(&text, "Next: an attempt at %.10s %.8s UTC", when, when + 11);
    } else if (status->activity.n) {
        dstr_printf(&text, "Now:  %.*s", SLICE_ARG(status->activity));
    }
    if (status->last_error.n) {
        dstr_printf(&text, "%sLast: %.*s", text.n ? "\n" : "", SLICE_ARG(status->last_error));
    }
    certs_set_status(ctx, name, dstr_slice(&text));
    if (waits && !status->ready && status->last_error.n) {
        demanded(ctx, name, false);
    }
    dstr_fini(&text);
}

struct acme_callbacks cert_callbacks(struct certs *certs)
{
    return (struct acme_callbacks){on_certificate, on_status, certs};
}
