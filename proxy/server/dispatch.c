/* What happens to a request: challenge, waiting page, redirect, routing; and to its response:
 * hooks, log, letting go of the configuration. */
#include <stdlib.h>

#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/handler/access_log.h"
#include "proxy/handler/chain.h"
#include "proxy/handler/metrics.h"
#include "proxy/loop/jobs.h"
#include "proxy/server/site_paths.h"
#include "proxy/server/worker.h"

#define STATUS_TEXT_MAX ((size_t)4096)

/* An exchange's hold on the configuration; in its arena. */
struct pin {
    struct list node; /* in worker_config->exchanges */
    struct worker_config *config;
    struct exchange *ex;
    const struct site *site;
    struct metrics_host *counted; /* by the metrics; or NULL */
    int64_t responded_us;
    struct access_logs logs; /* chosen when it lets go, or at the end */
};

static struct pin *pin_of(struct exchange *ex)
{
    struct chain *c = chain_of(ex);
    return c ? c->pin : NULL;
}

static const struct slot *slot_of(const struct exchange *ex)
{
    return ex->client.listener;
}

/* What `servers` says of its listener; of one that is gone, what it says of all. */
static const struct server_options *server_of(const struct exchange *ex)
{
    const struct slot *slot = slot_of(ex);
    return slot->server ? slot->server : &slot->worker->current->config->options->servers;
}

/* ---- pinning --------------------------------------------------------------------------------- */

void worker_config_unpin(struct worker_config *wc)
{
    must(wc->pins > 0);
    if (--wc->pins == 0) {
        config_unref(wc->config);
        free(wc);
    }
}

/* What a request is counted by: its host if a site has it or a certificate was shown for it; others
 * could be anything. */
static struct slice counted_host(const struct exchange *ex)
{
    const struct slot *slot = slot_of(ex);
    const struct options *o = slot->worker->current->config->options;
    if (!o->metrics_per_host) {
        return S("");
    }
    bool known = ex->client.tls || o->metrics_every_host ||
                 (slot->table && map_get(&slot->table->exact, ex->req.host));
    return known && ex->req.host.n ? ex->req.host : S("_other");
}

static bool pin_config(struct exchange *ex)
{
    struct worker *w = slot_of(ex)->worker;
    struct pin *p = chain_new(ex, w->upstream, w->server->setup.jobs)
                        ? ARENA_NEW(&ex->arena, struct pin)
                        : NULL;
    if (!p) {
        ex->chain = NULL;
        return false;
    }
    p->config = w->current;
    p->ex = ex;
    w->current->pins++;
    list_push_back(&w->current->exchanges, &p->node);
    chain_of(ex)->pin = p;
    if (w->current->config->options->metrics) {
        p->counted = metrics_begin(counted_host(ex));
    }
    chain_of(ex)->log.credentials = server_of(ex)->log_credentials;
    chain_of(ex)->slow_jobs = w->server->setup.slow_jobs;
    return true;
}

static void let_go(struct pin *p)
{
    if (p->config) {
        struct worker_config *wc = p->config;
        p->config = NULL;
        list_remove(&p->node);
        worker_config_unpin(wc);
    }
}

static void choose_logs(struct pin *p)
{
    if (!p->logs.chosen) {
        access_logs_choose(&p->logs, p->site ? p->site->settings.logs : NULL,
                           &chain_of(p->ex)->log, p->ex);
    }
}

/* Lets go of the configuration before the exchange ends: nothing of it is needed any more but the
 * logs and what they show. Without memory to keep that the pin stays. */
static void detach(struct pin *p)
{
    choose_logs(p);
    if (access_logs_hold(&p->logs, &chain_of(p->ex)->log, p->ex)) {
        p->site = NULL;
        let_go(p);
    }
}

/* Before routing that comes later than the beginning: the tables are those of the current
 * configuration, so that is the one to hold. */
static void hold_current(struct exchange *ex)
{
    struct pin *p = pin_of(ex);
    struct worker_config *current = slot_of(ex)->worker->current;
    if (p->config == current) {
        return;
    }
    let_go(p);
    p->config = current;
    current->pins++;
    list_push_back(&current->exchanges, &p->node);
}

void dispatch_release_begun(struct worker_config *wc)
{
    LIST_EACH_SAFE(node, &wc->exchanges) {
        struct pin *p = LIST_ENTRY(node, struct pin, node);
        if (p->ex->response_started) {
            detach(p);
        }
    }
}

/* ---- answers of our own ---------------------------------------------------------------------- */

static void fail(struct exchange *ex)
{
    exchange_error_page(ex, 503, S("out of memory"));
}

static void redirect(struct exchange *ex, uint16_t port)
{
    const struct options *o = slot_of(ex)->worker->current->config->options;
    struct slice host = ex->req.host;
    bool v6 = slice_find(host, ':') != SLICE_NPOS;
    bool usual = port == 80 || port == 443 || port == o->http_port || port == o->https_port;
    struct slice to =
        arena_printf(&ex->arena, v6 ? "https://[%.*s]" : "https://%.*s", SLICE_ARG(host));
    if (!usual) {
        to = arena_printf(&ex->arena, "%.*s:%u", SLICE_ARG(to), port);
    }
    struct slice path = slice_eq(ex->req.target, S("*")) ? S("/") : ex->req.target;
    to = arena_printf(&ex->arena, "%.*s%.*s", SLICE_ARG(to), SLICE_ARG(path));
    if (!to.p || !exchange_simple(ex, 308, S(""), S("")) ||
        !fields_add(&ex->res.fields, &ex->arena, S("Location"), to) ||
        !fields_add(&ex->res.fields, &ex->arena, S("Connection"), S("close"))) {
        fail(ex);
        return;
    }
    exchange_respond(ex);
}

/* The page while there is no certificate yet. */
static void waiting_page(struct exchange *ex, struct slice why)
{
    struct slice text = arena_printf(
        &ex->arena,
        "503 Service Unavailable\n\n%.*s has no certificate yet, so HTTPS is not ready.\n\n%.*s\n\n"
        "caddis goes on trying, and this page goes away when the certificate is there. A public\n"
        "certificate needs: the name's DNS record leads to this machine, port 80 is reachable "
        "from\n"
        "the Internet, and this machine reaches the CA.\n",
        SLICE_ARG(ex->req.host), SLICE_ARG(why));
    if (!text.p || !exchange_simple(ex, 503, S("text/plain; charset=utf-8"), text) ||
        !fields_add(&ex->res.fields, &ex->arena, S("Retry-After"), S("10")) ||
        /* The certificate that comes is for new connections. */
        (ex->client.tls &&
         !fields_add(&ex->res.fields, &ex->arena, S("Connection"), S("close"))) ||
        !fields_add(&ex->res.fields, &ex->arena, S("Cache-Control"), S("no-store"))) {
        fail(ex);
        return;
    }
    exchange_respond(ex);
}

/* True: the host waits for its certificate and has been told so. */
static bool answer_waiting(struct exchange *ex)
{
    struct dstr why;
    dstr_init(&why, STATUS_TEXT_MAX);
    struct certs *certs = slot_of(ex)->worker->server->setup.certs;
    bool waiting = certs_state(certs, ex->req.host, &why) == CERTS_WAITING;
    if (waiting) {
        waiting_page(ex, dstr_slice(&why));
    }
    dstr_fini(&why);
    return waiting;
}

/* ---- challenges ------------------------------------------------------------------------------ */

static void answer_challenge(struct exchange *ex, struct slice answer)
{
    if (!exchange_simple(ex, 200, S("text/plain"), answer)) {
        fail(ex);
        return;
    }
    exchange_respond(ex);
}

static void route_request(struct exchange *ex);

/* A look into the store for an answer that another instance gave. Outlives the exchange's wish. */
struct challenge_job {
    struct job job;
    struct exchange *ex; /* held */
    struct challenge_table *table;
    struct slice host;
    struct slice token;
    char answer[CHALLENGE_ANSWER_MAX];
    size_t answer_bytes;
};

static void challenge_work(struct job *j)
{
    struct challenge_job *c = container_of(j, struct challenge_job, job);
    c->answer_bytes = challenge_find_stored(c->table, c->host, c->token, c->answer);
}

static void challenge_done(struct job *j)
{
    struct challenge_job *c = container_of(j, struct challenge_job, job);
    struct exchange *ex = c->ex;
    if (!ex->gone && c->answer_bytes) {
        answer_challenge(ex, slice_of(c->answer, c->answer_bytes));
    } else if (!ex->gone) {
        hold_current(ex); /* there may have been a reload meanwhile */
        route_request(ex);
    }
    free(c);
    exchange_release(ex);
}

/* The jobs end before this one was begun: the workers have ended already. */
static void challenge_dropped(struct job *j)
{
    struct challenge_job *c = container_of(j, struct challenge_job, job);
    exchange_release(c->ex);
    free(c);
}

static bool ask_store(struct exchange *ex, struct slice token)
{
    struct server *s = slot_of(ex)->worker->server;
    struct challenge_job *c = calloc(1, sizeof(*c));
    if (!c) {
        return false;
    }
    c->job.work = challenge_work;
    c->job.done = challenge_done;
    c->job.dropped = challenge_dropped;
    c->ex = ex;
    c->table = s->setup.challenges;
    c->host = ex->req.host;
    c->token = token;
    exchange_hold(ex);
    if (!job_submit(s->setup.jobs, ex->loop, &c->job)) {
        exchange_release(ex); /* never the last hold here */
        free(c);
        return false;
    }
    return true;
}

/* True: answered, or being looked for. */
static bool handle_challenge(struct exchange *ex)
{
    struct slice token = slice_from(ex->req.path, strlen(CHALLENGE_PREFIX));
    if (!slice_starts(ex->req.path, S(CHALLENGE_PREFIX)) || !challenge_token_valid(token) ||
        (ex->req.method != METHOD_GET && ex->req.method != METHOD_HEAD)) {
        return false;
    }
    char answer[CHALLENGE_ANSWER_MAX];
    struct server *s = slot_of(ex)->worker->server;
    size_t n = challenge_find_local(s->setup.challenges, token, answer);
    if (n) {
        answer_challenge(ex, slice_of(answer, n));
        return true;
    }
    return ask_store(ex, token);
}

/* ---- routing --------------------------------------------------------------------------------- */

static void run_site(struct exchange *ex, const struct site *site)
{
    pin_of(ex)->site = site;
    chain_of(ex)->errors = site->settings.errors;
    chain_run(ex, &site->route);
}

static void nothing_here(struct exchange *ex)
{
    static const struct route empty = {.count = 0};
    chain_run(ex, &empty);
}

/* On a plain port with automatic redirects; true: answered. */
static bool handle_redirect(struct exchange *ex, const struct port_table *table)
{
    uint16_t port = port_table_redirect(table, ex->req.host);
    if (!port) {
        return false;
    }
    if (!answer_waiting(ex)) {
        redirect(ex, port);
    }
    return true;
}

static bool is_strict(const struct exchange *ex, const struct port_table *table)
{
    enum strict_sni strict = server_of(ex)->strict_sni;
    return strict == STRICT_SNI_ON || (strict == STRICT_SNI_WHERE_NEEDED && table->asks_clients);
}

/* Was the connection made for another site than the one asked for? Then what that one wants of
 * clients has not been looked at (RFC 9110 section 15.5.20). A handshake without a name is as good
 * as one that asked the same of the client. */
static bool is_misdirected(const struct exchange *ex, const struct port_table *table)
{
    const struct stream_tls *tls = ex->client.tls;
    const struct site *site = port_table_find(table, ex->req.host, true);
    uint64_t wanted = site ? tls_policy_client_id(site->policy) : 0;
    return (tls->server_name.n && !slice_eq(tls->server_name, ex->req.host)) ||
           (wanted && wanted != tls->client_policy);
}

static void answer_misdirected(struct exchange *ex)
{
    if (!exchange_simple(ex, 421, S("text/plain; charset=utf-8"),
                         S("421 Misdirected Request\n\nThis connection was made for another name; "
                           "this one needs a connection of its own.\n")) ||
        !fields_add(&ex->res.fields, &ex->arena, S("Connection"), S("close"))) {
        fail(ex);
        return;
    }
    exchange_respond(ex);
}

static void route_request(struct exchange *ex)
{
    const struct port_table *table = slot_of(ex)->table;
    if (!table) {
        exchange_error_page(ex, 503, S("this address is not served any more"));
        return;
    }
    if (table->tls != (ex->client.tls != NULL)) {
        /* A reload switched the address between plain and TLS: what is for TLS is not told here. */
        exchange_error_page(ex, 503, S("this address has changed between HTTP and HTTPS"));
        return;
    }
    if (ex->client.tls && ex->client.tls->stand_in) {
        if (!answer_waiting(ex)) { /* it is there now: on a new connection */
            exchange_error_page(ex, 503, S("the certificate has just arrived; try again"));
        }
        return;
    }
    if (ex->client.tls && is_strict(ex, table) && is_misdirected(ex, table)) {
        answer_misdirected(ex);
        return;
    }
    const struct site *site = port_table_find(table, ex->req.host, false);
    if (!site && table->redirects && handle_redirect(ex, table)) {
        return;
    }
    site = site ? site : table->any;
    if (site && site->forks) {
        site = site_paths_find(table, ex);
    }
    if (site) {
        run_site(ex, site);
    } else if (table->redirects && ex->req.host.n) {
        redirect(ex, slot_of(ex)->worker->current->config->options->https_port);
    } else {
        nothing_here(ex);
    }
}

/* Who the client is: the peer, or whom a trusted peer speaks for. False: memory. */
static bool find_client(struct exchange *ex)
{
    const struct client_ip_policy *p = &server_of(ex)->client_ip;
    struct addr found;
    ex->peer_trusted = client_ip_trusts(p, ex->client.peer);
    if (!ex->peer_trusted || !client_ip_find(p, &ex->req.fields, &found)) {
        return true;
    }
    struct addr *copy = ARENA_NEW(&ex->arena, struct addr);
    if (copy) {
        *copy = found;
        ex->client_addr = copy;
    }
    return copy != NULL;
}

/* By its announced length, or by what has come already; from here on the body itself minds it. */
static bool body_too_large(struct exchange *ex)
{
    uint64_t max = server_of(ex)->max_request_body;
    if (!max) {
        return false;
    }
    if ((ex->req.content_length > 0 && (uint64_t)ex->req.content_length > max) ||
        ex->req_body.pushed_bytes > max) {
        return true;
    }
    ex->req_body.total_max_bytes = ex->req.upgrade ? 0 : max;
    return false;
}

static void set_deadlines(struct exchange *ex)
{
    const struct server_options *s = server_of(ex);
    int64_t now_ms = loop_now_ms(ex->loop);
    ex->body_deadline_ms = s->read_body_ms ? now_ms + s->read_body_ms : 0;
    ex->write_deadline_ms = s->write_ms ? now_ms + s->write_ms : 0;
}

static void begin(struct exchange *ex)
{
    if (!pin_config(ex) || !find_client(ex)) {
        fail(ex);
        return;
    }
    set_deadlines(ex);
    if (ex->req.method == METHOD_CONNECT) {
        exchange_error_page(ex, 405, S("CONNECT is not served here"));
        return;
    }
    if (body_too_large(ex)) {
        exchange_error_page(ex, 413, S("the request body is larger than this server allows"));
        return;
    }
    const struct port_table *table = slot_of(ex)->table;
    if (table && table->challenges && handle_challenge(ex)) {
        return;
    }
    route_request(ex);
}

/* ---- the response ---------------------------------------------------------------------------- */

static void respond(struct exchange *ex)
{
    struct pin *p = pin_of(ex);
    if (chain_intercepts(ex)) {
        return;
    }
    if (ex->chain) {
        chain_run_hooks(ex);
    }
    if (ex->res.tunnel && p) {
        detach(p); /* a tunnel may live for days */
    }
    if (!exchange_start_response(ex)) {
        return;
    }
    if (p && p->counted) {
        p->responded_us = clock_mono_us();
    }
    if (p && p->config && p->config != slot_of(ex)->worker->current) {
        detach(p); /* the configuration was replaced meanwhile */
    }
}

/* The codec is done; the chain lets go of the configuration and of the exchange. */
static void end(struct exchange *ex)
{
    struct pin *p = pin_of(ex);
    if (p) {
        int64_t now_us = clock_mono_us();
        choose_logs(p);
        access_logs_write(&p->logs, &chain_of(ex)->log, ex, now_us);
        if (p->counted) {
            metrics_end(p->counted, ex, chain_of(ex)->failed, p->responded_us, now_us);
        }
        let_go(p);
    }
    exchange_release(ex);
}

const struct http_service dispatch_service = {begin, respond, end};
