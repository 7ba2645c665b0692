/* When to renew: asking the CA that signed what is served (ari.h), and what its answer means. In: a
 * managed name. Out: its renew_at_ms. See manager.h for locking. */
#include "acme/manager.h"

#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/base/rand.h"

void managed_adopt(struct managed *m, struct managed_ca *ca, const struct cert_facts *facts,
                   const struct ari *ari)
{
    m->has_cert = true;
    m->cert_ca = ca;
    m->facts = *facts;
    m->ready = true;
    m->ari = *ari;
    m->renew_at_ms = ari_renew_at_ms(ari, facts, m->ratio_ppm);
    bool known = facts->id[0] && strcmp(ari->cert_id, facts->id) == 0;
    int64_t wait = known ? ari->ask_at_ms - clock_wall_ms() : 0;
    m->ask_mono_ms = clock_mono_ms() + (wait > 0 ? wait : 0);
}

struct transport_options managed_transport(const struct acme_issuer *issuer)
{
    return (struct transport_options){.root_files = issuer->root_files,
                                      .root_file_count = issuer->root_file_count,
                                      .timeout_ms = issuer->timeout_ms};
}

static void tell(const struct managed *m, const struct ari *ari, int64_t at_ms)
{
    char when[CLOCK_RFC3339_BYTES];
    clock_rfc3339(at_ms, when);
    if (ari->explanation[0]) {
        log_event(LOG_WARN, "acme", "the CA explains why the certificate is to be renewed",
                  LOG_Z("name", m->name), LOG_Z("url", ari->explanation));
    }
    log_event(LOG_INFO, "acme", "the CA suggests when to renew", LOG_Z("name", m->name),
              LOG_S("ca", m->cert_ca->store_name), LOG_Z("renewal", when),
              LOG_I("asked_again_in_s", (ari->ask_at_ms - clock_wall_ms()) / 1000));
}

/* What another instance learned meanwhile is as good as an answer. */
static bool ask(struct acme *a, struct managed *m, struct session **session, struct ari *ari)
{
    struct err err;
    const struct managed_ca *ca = m->cert_ca;
    int64_t now = clock_wall_ms();
    ari_load(a->store, ca->store_name, slice_str(m->name), now, ari);
    if (strcmp(ari->cert_id, m->facts.id) == 0 && ari->ask_at_ms > now) {
        return true;
    }
    if (!*session) {
        struct transport_options options = managed_transport(&ca->issuer);
        *session = session_new(ca->issuer.directory_url, &options, &a->stop, &err);
    }
    if (!*session) { /* an attempt will say why */
        ari->ask_at_ms = now + SCHEDULE_DAY_MS;
        return true;
    }
    if (!ari_ask(*session, m->facts.id, now, rand_below(UINT64_MAX), ari)) {
        return false;
    }
    ari_save(a->store, ca->store_name, slice_str(m->name), ari);
    return true;
}

void managed_ask(struct acme *a, struct managed *m, struct session **session)
{
    struct ari ari;
    if (!ask(a, m, session, &ari)) {
        return;
    }
    pthread_mutex_lock(&a->mutex);
    int64_t now = clock_wall_ms(), before = m->renew_at_ms;
    int64_t wait = ari.ask_at_ms - now;
    m->ari = ari;
    m->ask_mono_ms = clock_mono_ms() + (wait > SCHEDULE_SECOND_MS ? wait : SCHEDULE_SECOND_MS);
    /* 0: it is to be replaced at once for a reason of ours. */
    if (m->renew_at_ms > 0) {
        m->renew_at_ms = ari_renew_at_ms(&ari, &m->facts, m->ratio_ppm);
    }
    int64_t at = m->renew_at_ms;
    pthread_mutex_unlock(&a->mutex);
    if (at != before) {
        tell(m, &ari, at);
        managed_report(a, m, NULL);
    }
}
