/* In: a session, a name. Out: a checked chain and its key, or a failure. order_run owns what it
 * gathers; the order's record in the store is removed by the caller once the result is safe. */
#include "acme/order.h"

#include <stdarg.h>
#include <stdio.h>

#include "acme/authorise.h"
#include "acme/chain.h"
#include "acme/cert_check.h"
#include "acme/challenge_dns.h"
#include "acme/csr.h"
#include "acme/key.h"
#include "acme/schedule.h"
#include "proxy/base/clock.h"
#include "proxy/base/enc.h"
#include "proxy/base/log.h"

#define STEP_MAX_MS (5 * SCHEDULE_MINUTE_MS)
#define FETCH_TRIES_MAX 4
#define FINALIZE_TRIES_MAX 5
#define NAMELESS_LOOKS_MAX 3
#define POLL_MAX_MS (10 * SCHEDULE_SECOND_MS)

void order_run_init(struct order_run *run)
{
    arena_init(&run->arena, (size_t)4 << 20);
    reply_init(&run->reply);
    order_saved_init(&run->saved);
    dstr_init(&run->chain_pem, TRANSPORT_PEM_MAX);
    run->certificate_url = (struct slice){NULL, 0};
    run->order_dead = false;
    run->perhaps_made = false;
    run->tried = 0;
    run->trying = 0;
    run->tried_errors.text[0] = '\0';
    run->validation_failed = false;
    run->deadline_mono_ms = clock_mono_ms() + STEP_MAX_MS;
}

void order_run_fini(struct order_run *run)
{
    EVP_PKEY_free(run->old_key);
    run->old_key = NULL;
    dstr_fini(&run->chain_pem);
    order_saved_fini(&run->saved);
    reply_fini(&run->reply);
    arena_fini(&run->arena);
}

void order_say(struct order_run *run, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (run->say) {
        run->say(run->say_ctx, text);
    }
}

static void next_step(struct order_run *run)
{
    run->deadline_mono_ms = clock_mono_ms() + STEP_MAX_MS;
}

bool order_fetch(struct order_run *run, struct slice url, struct failure *f)
{
    struct session_request request = {.url = url};
    int64_t wait = 2 * SCHEDULE_SECOND_MS;
    for (int tries = 1;; tries++) {
        if (session_post(run->session, &request, &run->reply, f)) {
            return true;
        }
        bool passing = f->kind == FAILURE_UNREACHABLE || f->kind == FAILURE_CA;
        int64_t pause = f->retry_after_ms > wait ? f->retry_after_ms : wait;
        int64_t left = run->deadline_mono_ms - clock_mono_ms();
        if (!passing || tries >= FETCH_TRIES_MAX || pause > left) {
            return false;
        }
        order_say(run, "waiting %lld s to ask the CA again: %s", (long long)(pause / 1000),
                  f->err.text);
        if (stop_wait(run->session->stop, pause)) {
            return failure_set(f, FAILURE_STOPPED, "stopping");
        }
        wait *= 2;
    }
}

bool order_pause(struct order_run *run, int64_t *interval_ms, const char *what, struct failure *f)
{
    int64_t told = schedule_parse_retry_after(dstr_slice(&run->reply.retry_after),
                                              reply_now_ms(&run->reply));
    int64_t wait = told > *interval_ms ? told : *interval_ms;
    *interval_ms = *interval_ms + *interval_ms / 2;
    if (*interval_ms > POLL_MAX_MS) {
        *interval_ms = POLL_MAX_MS;
    }
    int64_t left = run->deadline_mono_ms - clock_mono_ms();
    if (left <= 0 || wait > left) {
        (void)failure_set(f, FAILURE_SLOW, "the CA takes too long to %s", what);
        f->retry_after_ms = told;
        return false;
    }
    return !stop_wait(run->session->stop, wait) || failure_set(f, FAILURE_STOPPED, "stopping");
}

static bool read_order(struct order_run *run, struct order_message *order, struct failure *f)
{
    struct err err;
    return message_order(&run->arena, dstr_slice(&run->reply.body), order, &err) ||
           failure_set(f, FAILURE_CA, "%s", err.text);
}

static bool fetch_order(struct order_run *run, struct order_message *order, struct failure *f)
{
    return order_fetch(run, dstr_slice(&run->saved.url), f) && read_order(run, order, f);
}

/* RFC 8555 section 7.4. The answer 403 orderNotReady and a lost answer both mean: look at the
 * order, it may well be on its way. */
static bool finalize(struct order_run *run, struct order_message *order, struct failure *f)
{
    struct err err;
    struct dstr der, payload;
    dstr_init(&der, 16384);
    dstr_init(&payload, 32768);
    bool ok = csr_make(run->saved.key, &run->name, 1, &der, &err) ||
              failure_set(f, FAILURE_ORDER, "%s", err.text);
    if (ok) {
        dstr_append(&payload, S("{\"csr\":\""));
        enc_base64url(&payload, dstr_slice(&der));
        dstr_append(&payload, S("\"}"));
        struct session_request request = {
            .url = order->finalize, .payload = dstr_slice(&payload), .once = true};
        ok = session_post(run->session, &request, &run->reply, f);
    }
    dstr_fini(&payload);
    dstr_fini(&der);
    if (ok) {
        return read_order(run, order, f);
    }
    bool look = f->kind == FAILURE_UNREACHABLE || f->kind == FAILURE_CA ||
                problem_is(&f->problem, "orderNotReady");
    if (!look) {
        f->kind = f->kind == FAILURE_REFUSED ? FAILURE_ORDER : f->kind;
        return false;
    }
    log_event(LOG_WARN, "acme", "finalizing was not answered well; looking at the order",
              LOG_S("name", run->name), LOG_Z("error", f->err.text));
    int64_t pause = f->retry_after_ms > 0 ? f->retry_after_ms : SCHEDULE_SECOND_MS;
    if (pause > run->deadline_mono_ms - clock_mono_ms()) {
        return false;
    }
    if (stop_wait(run->session->stop, pause)) {
        return failure_set(f, FAILURE_STOPPED, "stopping");
    }
    return fetch_order(run, order, f);
}

/* Is it good now? A clock of ours that is far behind makes it begin in the future: it is good for
 * whoever has the right time, as the CA has. One that is far ahead makes it end in the past: it
 * would be renewed again and again. */
static bool dates_ok(const struct reply *reply, const struct cert_facts *facts, struct err *err)
{
    int64_t ours_ms = clock_wall_ms(), cas_ms = reply_now_ms(reply);
    if (cert_dates_ok(facts, ours_ms, err)) {
        return true;
    }
    if (!cert_dates_ok(facts, cas_ms, NULL)) {
        return false;
    }
    if (ours_ms < cas_ms) {
        log_event(LOG_WARN, "acme", "this machine's clock is far behind the CA's: set it"
                  " (timedatectl set-ntp true)",
                  LOG_I("behind_s", (cas_ms - ours_ms) / 1000));
        return true;
    }
    return err_set(err, "it is over by this machine's clock, which is %lld days ahead of the CA's:"
                   " set it (timedatectl set-ntp true)",
                   (long long)((ours_ms - cas_ms) / SCHEDULE_DAY_MS));
}

/* A chain into run->reply, checked. */
static bool fetch_chain(struct order_run *run, struct slice url, struct failure *f)
{
    static const struct slice pem_type = S_INIT("application/pem-certificate-chain");
    struct session_request request = {
        .url = url, .accept = pem_type, .body_max = TRANSPORT_PEM_MAX};
    int64_t wait = SCHEDULE_SECOND_MS;
    for (int tries = 1; !session_post(run->session, &request, &run->reply, f); tries++) {
        bool passing = f->kind == FAILURE_UNREACHABLE || f->kind == FAILURE_CA;
        wait = f->retry_after_ms > wait ? f->retry_after_ms : wait;
        if (!passing || tries >= FETCH_TRIES_MAX ||
            wait > run->deadline_mono_ms - clock_mono_ms()) {
            return false;
        }
        if (stop_wait(run->session->stop, wait)) {
            return failure_set(f, FAILURE_STOPPED, "stopping");
        }
        wait *= 2;
    }
    struct err err;
    struct cert_facts facts;
    struct slice type = slice_upto(dstr_slice(&run->reply.content_type), pem_type.n);
    if (!slice_eq_case(type, pem_type)) {
        return failure_set(f, FAILURE_ORDER, "the CA sent '%.*s' where a certificate was expected",
                           SLICE_ARG(slice_upto(dstr_slice(&run->reply.content_type), 100)));
    }
    bool good = cert_check(dstr_slice(&run->reply.body), run->saved.key, &run->name, 1,
                           CERT_NAMES_EXACT, &facts, &err) &&
                dates_ok(&run->reply, &facts, &err);
    return good || failure_set(f, FAILURE_ORDER, "the CA sent a certificate that is not used: %s",
                               err.text);
}

static void take_chain(struct order_run *run)
{
    dstr_reset(&run->chain_pem);
    dstr_append(&run->chain_pem, dstr_slice(&run->reply.body));
}

/* Looks through the CA's other chains for one that is preferred (RFC 8555 section 7.4.2). One that
 * cannot be had is passed over: there is a good chain already. False only when stopped. */
static bool prefer_chain(struct order_run *run, struct failure *f)
{
    struct slice urls[MESSAGE_ALTERNATES_MAX];
    const struct acme_chains *wanted = &run->issuer->chains;
    unsigned best = chain_rank(dstr_slice(&run->chain_pem), wanted);
    size_t count = wanted->smallest || best > 0
                       ? message_alternates(&run->arena, dstr_slice(&run->reply.links), urls)
                       : 0;
    for (size_t i = 0; i < count; i++) {
        if (!fetch_chain(run, urls[i], f)) {
            if (f->kind == FAILURE_STOPPED) {
                return false;
            }
            log_event(LOG_WARN, "acme", "one of the CA's chains is passed over",
                      LOG_S("url", urls[i]), LOG_Z("error", f->err.text));
            continue;
        }
        struct slice chain = dstr_slice(&run->reply.body);
        unsigned rank = chain_rank(chain, wanted);
        if (rank < best || (wanted->smallest && chain.n < run->chain_pem.n)) {
            best = rank;
            take_chain(run);
        }
    }
    if (best == CHAIN_UNWANTED) {
        log_event(LOG_WARN, "acme", "the CA has none of the preferred chains; its first is used",
                  LOG_S("name", run->name));
    }
    return true;
}

static bool download(struct order_run *run, const struct order_message *order, struct failure *f)
{
    order_say(run, "downloading the certificate");
    if (!fetch_chain(run, order->certificate, f)) {
        return false;
    }
    take_chain(run);
    run->certificate_url = order->certificate;
    return prefer_chain(run, f);
}

/* A no to something of this order says nothing about the CA as a whole, unless it is about the
 * account. */
static bool about_the_account(const struct problem *p)
{
    return problem_is(p, "accountDoesNotExist") || problem_is(p, "userActionRequired");
}

/* From whatever state the order is in to the certificate. */
static bool take_steps(struct order_run *run, struct order_message *order, struct failure *f)
{
    int64_t interval_ms = SCHEDULE_SECOND_MS;
    int finalized = 0, nameless = 0;
    bool authorised = false;
    for (;;) {
        switch (order->status) {
        case STATUS_PENDING:
            if (!authorised && !authorise_order(run, order, f)) {
                run->validation_failed = f->kind == FAILURE_ORDER;
                return false;
            }
            if (authorised && !order_pause(run, &interval_ms, "make the order ready", f)) {
                return false;
            }
            if (!authorised) {
                next_step(run);
            }
            authorised = true;
            if (!fetch_order(run, order, f)) {
                return false;
            }
            break;
        case STATUS_READY:
            if (finalized++ >= FINALIZE_TRIES_MAX) {
                return failure_set(f, FAILURE_SLOW, "the CA does not finalize the order");
            }
            log_event(LOG_INFO, "acme", "finalizing the order", LOG_S("name", run->name),
                      LOG_S("ca", run->ca));
            order_say(run, "asking for the certificate");
            if (!finalize(run, order, f)) {
                return false;
            }
            break;
        case STATUS_PROCESSING:
            if (!order_pause(run, &interval_ms, "make the certificate", f) ||
                !fetch_order(run, order, f)) {
                return false;
            }
            break;
        case STATUS_VALID:
            if (order->certificate.n) {
                return download(run, order, f);
            }
            /* Perhaps it only is not there yet; if it never comes, the order is of no use. */
            if (nameless++ >= NAMELESS_LOOKS_MAX) {
                return failure_set(f, FAILURE_ORDER,
                                   "the CA's order is valid but names no certificate");
            }
            if (!order_pause(run, &interval_ms, "name the certificate", f) ||
                !fetch_order(run, order, f)) {
                return false;
            }
            break;
        default:
            (void)failure_set(f, FAILURE_ORDER, "the CA's order failed: %s",
                              order->error.text[0] ? order->error.text : "it gives no reason");
            f->problem = order->error;
            return false;
        }
    }
}

static bool carry_on(struct order_run *run, struct order_message *order, struct failure *f)
{
    bool ok = take_steps(run, order, f);
    if (!ok && f->kind == FAILURE_REFUSED && !about_the_account(&f->problem)) {
        f->kind = FAILURE_ORDER;
    }
    return ok;
}

bool order_resume(struct order_run *run, struct failure *f)
{
    struct order_message order;
    order_say(run, "resuming the order");
    log_event(LOG_INFO, "acme", "resuming an order", LOG_S("name", run->name),
              LOG_S("ca", run->ca), LOG_S("order", dstr_slice(&run->saved.url)));
    next_step(run);
    if (!fetch_order(run, &order, f)) {
        run->order_dead = f->kind == FAILURE_REFUSED;
        return false;
    }
    if (order.status == STATUS_INVALID || order.status == STATUS_GONE) {
        run->order_dead = true;
        run->validation_failed = order.status == STATUS_INVALID; /* the CA has counted it */
        return failure_set(f, FAILURE_ORDER, "the CA's order failed meanwhile: %s",
                           order.error.text[0] ? order.error.text : "it gives no reason");
    }
    bool ok = carry_on(run, &order, f);
    if (ok || f->kind != FAILURE_STOPPED) {
        challenge_dns_tidy(run->store, &run->issuer->solvers, run->session->stop, run->name);
    }
    return ok;
}

/* The profile to ask for: the one that is configured, or for an IP address the short-lived one
 * that public CAs want for it (RFC 8738; https://letsencrypt.org/docs/profiles); only if the CA
 * offers it, because others know no such field. */
static struct slice order_profile(const struct order_run *run)
{
    unsigned char ip[16];
    const struct directory *d = &run->session->directory;
    struct slice wanted = run->issuer->profile;
    if (!wanted.n && csr_ip_bytes(run->name, ip)) {
        wanted = S("shortlived");
    }
    if (!wanted.n || directory_has_profile(d, wanted)) {
        return wanted;
    }
    if (run->issuer->profile.n) {
        log_event(LOG_WARN, "acme", "the CA does not offer the profile; ordering without it",
                  LOG_S("name", run->name), LOG_S("ca", run->ca), LOG_S("profile", wanted));
    }
    return (struct slice){NULL, 0};
}

static void order_payload(const struct order_run *run, struct dstr *out)
{
    unsigned char ip[16];
    dstr_printf(out, "{\"identifiers\":[{\"type\":\"%s\",\"value\":",
                csr_ip_bytes(run->name, ip) ? "ip" : "dns");
    dstr_json(out, run->name);
    dstr_append(out, S("}]"));
    struct slice profile = order_profile(run);
    if (profile.n) {
        dstr_append(out, S(",\"profile\":"));
        dstr_json(out, profile);
    }
    if (run->replaces.n) {
        dstr_append(out, S(",\"replaces\":"));
        dstr_json(out, run->replaces);
    }
    if (run->issuer->lifetime_ms > 0) {
        char end[CLOCK_RFC3339_BYTES];
        clock_rfc3339(clock_wall_ms() + run->issuer->lifetime_ms, end);
        dstr_printf(out, ",\"notAfter\":\"%s\"", end);
    }
    dstr_byte(out, '}');
}

static bool send_order(struct order_run *run, struct failure *f)
{
    struct dstr payload;
    dstr_init(&payload, 4096);
    order_payload(run, &payload);
    struct session_request request = {.url = run->session->directory.new_order,
                                      .payload = dstr_slice(&payload),
                                      .once = true};
    bool ok = session_post(run->session, &request, &run->reply, f);
    dstr_fini(&payload);
    return ok;
}

/* May it be `replaces` that the CA refuses (RFC 9773 section 5)? It says alreadyReplaced, but also
 * malformed, notFound, unauthorized or a 500 when it does not know that certificate of ours. */
static bool refuses_replaces(const struct failure *f)
{
    static const char *const types[] = {"alreadyReplaced", "malformed", "notFound", "unauthorized",
                                        "serverInternal"};
    bool refused = f->status == 404 || f->status == 409 || f->status == 500;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        refused = refused || problem_is(&f->problem, types[i]);
    }
    return f->status != 0 && refused;
}

static bool post_order(struct order_run *run, struct order_message *order, struct failure *f)
{
    bool ok = send_order(run, f);
    if (!ok && run->replaces.n && refuses_replaces(f)) {
        log_event(LOG_WARN, "acme", "the CA does not take the order as a replacement; ordering"
                  " without that", LOG_S("name", run->name), LOG_Z("error", f->err.text));
        run->replaces = (struct slice){NULL, 0};
        ok = send_order(run, f);
    }
    if (!ok) {
        run->perhaps_made = f->kind == FAILURE_UNREACHABLE && run->reply.sent;
        bool limited = problem_is(&f->problem, "rateLimited");
        bool account = problem_is(&f->problem, "accountDoesNotExist") ||
                       problem_is(&f->problem, "unauthorized") ||
                       problem_is(&f->problem, "userActionRequired");
        if (limited || (f->kind == FAILURE_REFUSED && !account)) {
            f->kind = FAILURE_ORDER; /* about this name, not about the CA */
        }
        return false;
    }
    if (!message_url_ok(dstr_slice(&run->reply.location))) {
        return failure_set(f, FAILURE_CA, "the CA's new order has no https Location");
    }
    dstr_reset(&run->saved.url);
    dstr_append(&run->saved.url, dstr_slice(&run->reply.location));
    return read_order(run, order, f);
}

bool order_new(struct order_run *run, struct failure *f)
{
    struct err err;
    struct order_message order;
    if (!authorise_possible(&run->issuer->solvers, run->name)) {
        return failure_set(f, FAILURE_ORDER, "there is no way to prove %.*s: %s",
                           SLICE_ARG(run->name),
                           slice_starts(run->name, S("*."))
                               ? "a wildcard needs a DNS challenge, which is not configured"
                               : "every challenge is disabled");
    }
    if (!authorise_prepare(run, f)) {
        return false;
    }
    order_say(run, "ordering at %.*s", SLICE_ARG(run->ca));
    log_event(LOG_INFO, "acme", "ordering a certificate", LOG_S("name", run->name),
              LOG_S("ca", run->ca));
    next_step(run);
    run->validation_failed = false;
    EVP_PKEY_free(run->saved.key);
    run->saved.key = run->old_key ? run->old_key : key_new(run->key_type, &err);
    run->old_key = NULL;
    if (!run->saved.key) {
        return failure_set(f, FAILURE_STORE, "%s", err.text);
    }
    if (!post_order(run, &order, f)) {
        return false;
    }
    if (!run->rehearsal &&
        order_saved_put(run->store, run->ca, run->name, &run->saved, &err) != STORE_OK) {
        return failure_set(f, FAILURE_STORE, "saving the order: %s", err.text);
    }
    return carry_on(run, &order, f);
}
