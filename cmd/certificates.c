/* Who signs which name, and where finished certificates go; see certificates.h. */
#include "cmd/certificates.h"

#include "cmd/issuers.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/tls/demand.h"
#include "store/names.h"

/* A public certificate is wanted and every way to get it is shut. */
static void unprovable(const struct managed_name *m, struct cf_diags *diags)
{
    bool wildcard = slice_find(m->name, '*') != SLICE_NPOS;
    struct cf_diag *d = cf_error(diags, m->at, wildcard
                                     ? "a public certificate for the wildcard \"%.*s\" needs a DNS"
                                       " challenge"
                                     : "a public certificate for \"%.*s\" needs a challenge, and"
                                       " all of them are disabled",
                                 SLICE_ARG(m->name));
    if (d && wildcard) {
        d->hint = S("choose one: tls { dns PROVIDER ... }, or the global option acme_dns PROVIDER"
                    " ...; tls { dns exec PROGRAM } for a DNS with a script of your own; tls { dns"
                    " persist } for one record put by hand once; the hosts one by one instead of"
                    " the wildcard; tls internal; tls CERT KEY");
    }
}

/* Adds the errors of a name that nobody can sign. */
static bool possible(const struct managed_name *m, const struct acme_name *name,
                     struct cf_diags *diags)
{
    if (!acme_name_qualifies(m->name)) {
        cf_error(diags, m->at,
                 "\"%.*s\" cannot be on a certificate; for plain HTTP write http://%.*s",
                 SLICE_ARG(m->name), SLICE_ARG(m->name));
        return false;
    }
    struct slice wanting = {NULL, 0};
    for (size_t k = 0; k < name->issuer_count; k++) {
        const struct acme_issuer *issuer = &name->issuers[k];
        if (issuer->kind == ACME_ISSUER_ACME && !acme_can_prove(&issuer->solvers, m->name)) {
            wanting = issuer->directory_url;
        }
    }
    if (wanting.n) {
        unprovable(m, diags);
        return false;
    }
    return true;
}

/* Names of one site share their issuers: ten thousand need no ten thousand copies. */
static bool plan_name(struct cert_plan *p, const struct config *c, const struct managed_name *m,
                      const struct managed_name *before, struct acme_name *out,
                      struct cf_diags *diags)
{
    bool same = before && p->acme.name_count && before->issuance == m->issuance &&
                before->challenges == m->challenges &&
                before->internal == m->internal && slice_eq(before->email, m->email) &&
                slice_eq(out[-1].name, before->name) &&
                issuers_class(before->name) == issuers_class(m->name);
    if (same) {
        *out = out[-1];
        out->name = m->name;
    } else if (!issuers_for(&p->arena, m, c, diags, out)) {
        return false;
    }
    out->ask_first = m->on_demand;
    return possible(m, out, diags);
}

/* The configured names, then the others. */
static const struct managed_name *managed_at(const struct config *c,
                                             const struct managed_name *more, size_t i)
{
    return i < c->managed_count ? &c->managed[i] : &more[i - c->managed_count];
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
    const struct managed_name *before = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct managed_name *m = managed_at(c, more, i);
        if (m->brought) {
            p->served[p->served_count++] = m->name;
        } else if (plan_name(p, c, m, before, &names[p->acme.name_count], diags)) {
            before = m;
            p->acme.name_count++;
            p->served[p->served_count++] = m->name;
        }
    }
    for (size_t i = 0; i < c->demanded_count; i++) {
        struct acme_name sample;
        (void)(issuers_for(&p->arena, &c->demanded[i], c, diags, &sample) &&
               possible(&c->demanded[i], &sample, diags));
        acme_name_wipe(&sample);
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
    for (size_t i = 0; i < p->acme.name_count; i++) {
        acme_name_wipe(&p->acme.names[i]);
    }
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
    const struct cert_sink *sink = ctx;
    struct err err;
    if (!certs_install(sink->certs, name, chain_pem, key_pem, &err)) {
        log_event(LOG_ERROR, "tls", "a new certificate cannot be used", LOG_S("name", name),
                  LOG_Z("reason", err.text));
    }
    demanded(sink->certs, name, true);
}

static void on_status(void *ctx, struct slice name, const struct acme_status *status)
{
    const struct cert_sink *sink = ctx;
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
    certs_set_status(sink->certs, name, dstr_slice(&text));
    if (waits && !status->ready && status->last_error.n) {
        demanded(sink->certs, name, false);
    }
    dstr_fini(&text);
}

/* A storage that is no folder has no paths to give. */
static void on_change(void *ctx, struct slice name, struct slice ca)
{
    const struct cert_sink *sink = ctx;
    struct arena a;
    if (!sink->hook) {
        return;
    }
    arena_init(&a, 65536);
    struct slice folder = slice_str(store_path(sink->store));
    struct slice certificate = S(""), key = S("");
    if (slice_starts(folder, S("/"))) {
        certificate = arena_printf(&a, "%.*s/%.*s", SLICE_ARG(folder),
                                   SLICE_ARG(store_cert_key(&a, ca, name, ".crt")));
        key = arena_printf(&a, "%.*s/%.*s", SLICE_ARG(folder),
                           SLICE_ARG(store_cert_key(&a, ca, name, ".key")));
    }
    hook_run(sink->hook, name, certificate, key);
    arena_fini(&a);
}

static bool served(void *ctx, struct slice name, struct dstr *chain_pem, struct dstr *key_pem)
{
    const struct cert_sink *sink = ctx;
    return certs_installed(sink->certs, name, chain_pem, key_pem);
}

static enum acme_permission may_renew(void *ctx, struct slice name)
{
    const struct cert_sink *sink = ctx;
    return on_demand_may_renew(sink->on_demand, name);
}

struct acme_callbacks cert_callbacks(struct cert_sink *sink)
{
    return (struct acme_callbacks){.on_certificate = on_certificate,
                                   .on_status = on_status,
                                   .on_change = on_change,
                                   .may_renew = may_renew,
                                   .served = served,
                                   .ctx = sink};
}
