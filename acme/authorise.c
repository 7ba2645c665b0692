/* In: an order's authorisation URLs. Out: all valid, or why one is not. Answers are taken away
 * when their authorisation is decided; they stay when the program stops meanwhile, so that another
 * instance can answer. */
#include "acme/authorise.h"

#include "acme/challenge_dns.h"
#include "acme/challenge_persist.h"
#include "acme/challenge_worked.h"
#include "acme/schedule.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"

#define VALIDATION_MAX_MS (5 * SCHEDULE_MINUTE_MS)

/* In order of preference. */
static const struct challenge_type *const types[] = {&challenge_http01, &challenge_tls_alpn01,
                                                    &challenge_dns01, &challenge_dns_persist01};

/* How often a CA that does not take a challenge is told about it. */
#define TELLS_MAX 4

struct choice {
    const struct challenge_type *type;
    struct challenge_message challenge;
    bool told; /* the CA took the challenge, or is at it already */
};

/* The ways that may be tried, as indices of types, in their order. */
struct plan {
    size_t ways[ARRAY_LEN(types)];
    size_t count;
};

bool acme_can_prove(const struct acme_solvers *solvers, struct slice name)
{
    return authorise_possible(solvers, name);
}

bool authorise_possible(const struct acme_solvers *solvers, struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (types[i]->usable(solvers, name)) {
            return true;
        }
    }
    return false;
}

/* The way that worked last comes first; after failed attempts they take turns. */
static void make_plan(const struct order_run *run, struct plan *p)
{
    struct plan usable = {.count = 0};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (types[i]->usable(&run->issuer->solvers, run->name)) {
            usable.ways[usable.count++] = i;
        }
    }
    size_t first = 0;
    char worked[WORKED_TYPE_MAX];
    struct slice before = {NULL, 0};
    if (usable.count > 1) {
        before = worked_load(run->store, run->name, worked);
    }
    for (size_t i = 0; i < usable.count; i++) {
        first = slice_eq(types[usable.ways[i]]->type, before) ? i : first;
    }
    first += (size_t)(run->failures > 0 ? run->failures : 0);
    p->count = usable.count;
    for (size_t i = 0; i < usable.count; i++) {
        p->ways[i] = usable.ways[(first + i) % usable.count];
    }
}

static struct challenge_context context_of(const struct order_run *run)
{
    return (struct challenge_context){.table = run->challenges,
                                      .store = run->store,
                                      .stop = run->session->stop,
                                      .solvers = &run->issuer->solvers,
                                      .ca = run->ca,
                                      .name = run->name,
                                      .account = dstr_slice(&run->session->kid),
                                      .say = run->say,
                                      .say_ctx = run->say_ctx};
}

bool authorise_prepare(struct order_run *run, struct failure *f)
{
    struct err err;
    struct challenge_context context = context_of(run);
    challenge_dns_tidy(run->store, context.solvers, context.stop, run->name);
    if (!challenge_persist_used(context.solvers, run->name) ||
        challenge_persist_ready(&context, run->session->directory.caa_identities[0], &err)) {
        return true;
    }
    return stop_requested(context.stop) ? failure_set(f, FAILURE_STOPPED, "stopping")
                                        : failure_set(f, FAILURE_OWNER, "%s", err.text);
}

/* Unknown types and challenges without what their type needs are passed over. */
static bool choose(struct order_run *run, const struct authz_message *authz, struct choice *out)
{
    struct plan plan;
    make_plan(run, &plan);
    for (size_t i = 0; i < plan.count; i++) {
        const struct challenge_type *type = types[plan.ways[i]];
        unsigned bit = 1U << plan.ways[i];
        for (size_t k = 0; !(run->tried & bit) && k < authz->challenge_count; k++) {
            const struct challenge_message *c = &authz->challenges[k];
            if (slice_eq(c->type, type->type) &&
                (!type->needs_token || challenge_token_valid(c->token))) {
                *out = (struct choice){.type = type, .challenge = *c};
                run->trying = bit;
                return true;
            }
        }
    }
    return false;
}

/* Failures that any other way would meet as well. */
static bool of_the_name(const struct problem *p)
{
    return problem_is(p, "caa") || problem_is(p, "rejectedIdentifier") ||
           problem_is(p, "rateLimited") || problem_is(p, "userActionRequired");
}

bool authorise_other_way(struct order_run *run, struct failure *f)
{
    bool before = run->tried_errors.text[0] != '\0';
    if (f->kind != FAILURE_ORDER || run->trying == 0) {
        return before && err_prefix(&f->err, "%s; then: ", run->tried_errors.text);
    }
    struct plan plan;
    unsigned left = 0;
    make_plan(run, &plan);
    run->tried |= run->trying;
    for (size_t i = 0; i < plan.count; i++) {
        left |= (1U << plan.ways[i]) & ~run->tried;
    }
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (run->trying == 1U << i) {
            (void)err_prefix(&f->err, "by %.*s: ", SLICE_ARG(types[i]->type));
        }
    }
    run->trying = 0;
    if (before) {
        (void)err_prefix(&f->err, "%s; then: ", run->tried_errors.text);
    }
    if (left == 0 || run->failures > 0 || of_the_name(&f->problem)) {
        return false;
    }
    run->tried_errors = f->err;
    log_event(LOG_WARN, "acme", "the name could not be proven; trying another way",
              LOG_S("name", run->name), LOG_S("ca", run->ca), LOG_Z("error", f->err.text));
    return true;
}

static bool failed(const struct order_run *run, const struct authz_message *authz,
                   struct failure *f)
{
    const struct problem *why = NULL;
    for (size_t i = 0; !why && i < authz->challenge_count; i++) {
        if (authz->challenges[i].error.text[0]) {
            why = &authz->challenges[i].error;
        }
    }
    (void)failure_set(f, FAILURE_ORDER, "the CA could not validate %.*s: %s",
                      SLICE_ARG(run->name), why ? why->text : "it gives no reason");
    if (why) {
        f->problem = *why;
    }
    return false;
}

static bool read_authz(struct order_run *run, struct slice url, struct authz_message *authz,
                       struct failure *f)
{
    struct err err;
    if (!order_fetch(run, url, f)) {
        return false;
    }
    return message_authz(&run->arena, dstr_slice(&run->reply.body), authz, &err) ||
           failure_set(f, FAILURE_CA, "%s", err.text);
}

/* Tells the CA that the answer is there (RFC 8555 section 7.5.1). Refusals are not final here: the
 * challenge may have been under way already; the authorisation's state decides. False: there is no
 * use in going on. */
static bool tell_ca(struct order_run *run, struct choice *c, struct failure *f)
{
    c->told = c->challenge.status != STATUS_PENDING && c->challenge.status != STATUS_UNKNOWN;
    if (c->told) {
        return true;
    }
    struct session_request request = {.url = c->challenge.url, .payload = S("{}")};
    if (session_post(run->session, &request, &run->reply, f)) {
        /* What is no challenge may not come from the CA at all. */
        struct err err;
        c->told = message_is_challenge(dstr_slice(&run->reply.body), &err);
        if (c->told) {
            return true;
        }
        (void)failure_set(f, FAILURE_CA, "%s", err.text);
    } else if (f->kind == FAILURE_STOPPED || problem_is(&f->problem, "accountDoesNotExist")) {
        return false;
    }
    log_event(LOG_WARN, "acme", "the CA did not take the challenge; looking at its state",
              LOG_S("name", run->name), LOG_Z("error", f->err.text));
    return true;
}

/* The challenge as the CA now shows it: it may have heard us although we did not hear it. */
static void look_at_challenge(struct choice *c, const struct authz_message *authz)
{
    for (size_t i = 0; i < authz->challenge_count; i++) {
        if (slice_eq(authz->challenges[i].url, c->challenge.url)) {
            c->challenge.status = authz->challenges[i].status;
        }
    }
}

static bool await_decision(struct order_run *run, struct slice url, struct authz_message *authz,
                           struct choice *c, struct failure *f)
{
    int64_t interval_ms = SCHEDULE_SECOND_MS;
    struct failure untold = *f;
    for (int tells = 1;;) {
        if (!order_pause(run, &interval_ms, "validate the name", f) ||
            !read_authz(run, url, authz, f)) {
            return false;
        }
        if (authz->status == STATUS_VALID) {
            return true;
        }
        if (authz->status != STATUS_PENDING && authz->status != STATUS_PROCESSING) {
            return failed(run, authz, f);
        }
        if (!c->told) {
            look_at_challenge(c, authz);
            if (tells++ >= TELLS_MAX) {
                *f = untold;
                return false;
            }
            if (!tell_ca(run, c, f)) {
                return false;
            }
            untold = *f;
        }
    }
}

/* The answer is there: the CA is told, and decides. */
static bool have_it_checked(struct order_run *run, struct slice url, struct authz_message *authz,
                            struct choice *c, struct failure *f)
{
    log_event(LOG_INFO, "acme", "challenge presented", LOG_S("name", run->name),
              LOG_S("type", c->type->type), LOG_S("ca", run->ca));
    order_say(run, "waiting for %.*s to validate the name (%.*s)", SLICE_ARG(run->ca),
              SLICE_ARG(c->type->type));
    run->deadline_mono_ms = clock_mono_ms() + VALIDATION_MAX_MS;
    if (!tell_ca(run, c, f) || !await_decision(run, url, authz, c, f)) {
        return false;
    }
    run->trying = 0;
    if (!run->rehearsal) { /* what was rehearsed is to be done in the same way */
        worked_save(run->store, run->name, c->type->type);
    }
    return true;
}

static bool prove(struct order_run *run, struct slice url, struct authz_message *authz,
                  struct failure *f)
{
    struct choice c;
    struct err err = {.text = ""};
    if (!choose(run, authz, &c)) {
        return failure_set(f, FAILURE_ORDER,
                           "the CA offers no way to validate %.*s that is possible here",
                           SLICE_ARG(run->name));
    }
    struct challenge_context context = context_of(run);
    struct dstr answer;
    dstr_init(&answer, CHALLENGE_ANSWER_MAX);
    jws_key_authorization(&run->session->key, c.challenge.token, &answer);
    bool ok = !answer.failed &&
              c.type->present(&context, c.challenge.token, dstr_slice(&answer), &err);
    if (!ok) {
        enum failure_kind kind =
            stop_requested(run->session->stop) ? FAILURE_STOPPED : FAILURE_ORDER;
        (void)failure_set(f, kind, "the challenge's answer cannot be presented: %s", err.text);
    } else {
        ok = have_it_checked(run, url, authz, &c, f);
        if (ok || f->kind != FAILURE_STOPPED) {
            c.type->remove(&context, c.challenge.token, dstr_slice(&answer));
        }
    }
    dstr_fini(&answer);
    return ok;
}

bool authorise_order(struct order_run *run, const struct order_message *order, struct failure *f)
{
    for (size_t i = 0; i < order->authorization_count; i++) {
        struct authz_message authz;
        if (!read_authz(run, order->authorizations[i], &authz, f)) {
            return false;
        }
        bool open = authz.status == STATUS_PENDING || authz.status == STATUS_PROCESSING;
        if (authz.status == STATUS_VALID) {
            log_event(LOG_DEBUG, "acme", "already authorised", LOG_S("name", run->name));
        } else if (!open) {
            return failed(run, &authz, f);
        } else if (!prove(run, order->authorizations[i], &authz, f)) {
            return false;
        }
    }
    return true;
}
