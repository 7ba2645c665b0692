/* What goes on, for people and tools, and what they may ask of the running manager. In: a name.
 * Out: reports. Short work under the manager's mutex; callable from any thread. */
#include "acme/manager.h"

#include "proxy/base/clock.h"

static struct slice issuer_words(const struct managed_ca *ca)
{
    return ca->issuer.kind == ACME_ISSUER_LOCAL ? S("local") : ca->issuer.directory_url;
}

static struct acme_report report_of(const struct managed *m, int64_t mono, int64_t wall)
{
    struct acme_report r = {.name = slice_str(m->name),
                            .ready = m->ready,
                            .busy = m->busy || m->by_hand || !m->loaded,
                            .asked = issuer_words(m->from->ca),
                            .last_error = slice_str(m->last_error)};
    if (!m->last_error[0] && m->from->ca->failures > 0) {
        r.last_error = slice_str(m->from->ca->last_error);
    }
    if (m->has_cert && m->cert_ca) {
        r.issuer = issuer_words(m->cert_ca);
        r.ca = m->cert_ca->store_name;
        r.not_before_ms = m->facts.not_before_ms;
        r.not_after_ms = m->facts.not_after_ms;
        r.suggested = m->renew_at_ms > 0 && m->ari.end_ms > 0 &&
                      strcmp(m->ari.cert_id, m->facts.id) == 0;
        r.explanation = r.suggested ? slice_str(m->ari.explanation) : r.explanation;
    }
    if (m->loaded) {
        r.next_ms = wall + managed_attempt_due_ms(m, mono, wall);
    }
    return r;
}

void acme_list(struct acme *a, void (*each)(void *ctx, const struct acme_report *r), void *ctx)
{
    int64_t mono = clock_mono_ms(), wall = clock_wall_ms();
    pthread_mutex_lock(&a->mutex);
    LIST_EACH (node, &a->names) {
        struct acme_report r = report_of(LIST_ENTRY(node, struct managed, node), mono, wall);
        each(ctx, &r);
    }
    pthread_mutex_unlock(&a->mutex);
}

bool acme_renew(struct acme *a, struct slice name)
{
    bool found = false;
    pthread_mutex_lock(&a->mutex);
    LIST_EACH (node, &a->names) {
        struct managed *m = LIST_ENTRY(node, struct managed, node);
        if (slice_eq_case(slice_str(m->name), name)) {
            m->by_hand = true;
            m->hold_until_mono_ms = 0;
            for (size_t i = 0; i < m->source_count; i++) {
                m->sources[i].hold_until_mono_ms = 0;
            }
            found = true;
        }
    }
    a->wake = true;
    pthread_cond_signal(&a->main_cond);
    pthread_mutex_unlock(&a->mutex);
    return found;
}

void acme_accounts_changed(struct acme *a)
{
    struct session *old[MANAGER_PER_CA_MAX * MANAGER_CAS_MAX];
    size_t count = 0;
    pthread_mutex_lock(&a->mutex);
    LIST_EACH (node, &a->cas) {
        struct managed_ca *ca = LIST_ENTRY(node, struct managed_ca, node);
        while (ca->idle_count && count < ARRAY_LEN(old)) {
            old[count++] = ca->idle[--ca->idle_count];
        }
    }
    pthread_mutex_unlock(&a->mutex);
    for (size_t i = 0; i < count; i++) {
        session_free(old[i]);
    }
}
