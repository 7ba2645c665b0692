/* In: an attempt. Out: would it work? Its account at the test CA stays in the store. */
#include "acme/rehearse.h"

#include "acme/account.h"
#include "acme/authorise.h"
#include "acme/issuer.h"
#include "acme/order.h"
#include "proxy/base/log.h"

static bool order(const struct attempt *t, const struct acme_issuer *issuer, struct slice ca,
                  struct session *session, struct failure *f)
{
    if (!session_directory(session, f) ||
        !account_ready(session, t->store, issuer, ca, (struct slice){NULL, 0}, f)) {
        return false;
    }
    struct order_run run = {.session = session,
                            .issuer = issuer,
                            .store = t->store,
                            .challenges = t->challenges,
                            .ca = ca,
                            .name = t->name,
                            .key_type = (enum key_type)t->key_type,
                            .failures = t->failures,
                            .rehearsal = true,
                            .say = t->say,
                            .say_ctx = t->say_ctx};
    order_run_init(&run);
    bool ok = order_new(&run, f);
    while (!ok && authorise_other_way(&run, f)) {
        *f = (struct failure){.retry_after_ms = -1};
        ok = order_new(&run, f);
    }
    if (!ok && !run.validation_failed &&
        (f->kind == FAILURE_ORDER || f->kind == FAILURE_SLOW)) {
        f->kind = FAILURE_CA; /* a limit or a queue of the test CA's own says nothing about us */
    }
    order_run_fini(&run);
    return ok;
}

bool rehearse(const struct attempt *t, struct failure *f)
{
    struct err err;
    struct arena a;
    arena_init(&a, 65536);
    struct acme_issuer issuer = *t->issuer;
    issuer.directory_url = issuer_test_url(t->issuer);
    issuer.eab_of_zerossl = false;
    issuer.chains = (struct acme_chains){.smallest = false}; /* the test CA has other roots */
    struct slice ca = store_ca_name(&a, issuer.directory_url);
    struct transport_options options = {.root_files = issuer.root_files,
                                        .root_file_count = issuer.root_file_count,
                                        .timeout_ms = issuer.timeout_ms};
    log_event(LOG_INFO, "acme", "rehearsing at the test CA", LOG_S("name", t->name),
              LOG_S("ca", ca));
    struct session *session = session_new(issuer.directory_url, &options, t->stop, &err);
    bool ok = session ? order(t, &issuer, ca, session, f)
                      : failure_set(f, FAILURE_REFUSED, "the extra roots: %s", err.text);
    if (!ok && f->kind != FAILURE_STOPPED) {
        (void)err_prefix(&f->err, "rehearsed at the test CA: ");
    }
    if (ok) {
        log_event(LOG_INFO, "acme", "the rehearsal went well", LOG_S("name", t->name));
    }
    session_free(session);
    arena_fini(&a);
    return ok;
}
