/* Passive checks: counting; see health.h. Times go round in a ring of max_fails places, so the
 * place that would be written next holds the oldest of the last max_fails failures: is that one
 * recent, then all are. */
#include "proxy/upstream/health.h"

#include "proxy/base/mem.h"

void health_init(struct health *h, const struct health_policy *policy)
{
    h->policy = *policy;
    h->fails = NULL;
    if (policy->fail_duration_ms > 0) {
        h->policy.max_fails = policy->max_fails ? policy->max_fails : 1;
        h->fails = mem_zalloc(h->policy.max_fails * sizeof(*h->fails));
    }
    atomic_init(&h->fail_count, 0);
    atomic_init(&h->down, false);
}

void health_fini(struct health *h)
{
    free(h->fails);
}

static bool failed_lately(const struct health *h, int64_t now_ms)
{
    if (!h->fails) {
        return false;
    }
    unsigned n = atomic_load_explicit(&h->fail_count, memory_order_relaxed) % h->policy.max_fails;
    int64_t oldest = atomic_load_explicit(&h->fails[n], memory_order_relaxed);
    return oldest != 0 && now_ms - oldest < h->policy.fail_duration_ms;
}

bool health_usable(const struct health *h, unsigned active, int64_t now_ms)
{
    unsigned max = h->policy.request_count_max;
    return !atomic_load_explicit(&h->down, memory_order_relaxed) && (!max || active < max) &&
           !failed_lately(h, now_ms);
}

unsigned health_failures(const struct health *h, int64_t now_ms)
{
    unsigned n = 0;
    for (unsigned i = 0; h->fails && i < h->policy.max_fails; i++) {
        int64_t at = atomic_load_explicit(&h->fails[i], memory_order_relaxed);
        n += at != 0 && now_ms - at < h->policy.fail_duration_ms;
    }
    return n;
}

void health_count_failure(struct health *h, int64_t now_ms)
{
    if (!h->fails) {
        return;
    }
    unsigned n = atomic_fetch_add_explicit(&h->fail_count, 1, memory_order_relaxed);
    atomic_store_explicit(&h->fails[n % h->policy.max_fails], now_ms ? now_ms : 1,
                          memory_order_relaxed);
}
