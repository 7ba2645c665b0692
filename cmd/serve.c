/* The server process: start, orders, reload, end; see serve.h. struct serving owns everything that
 * start() makes, and tear_down() releases it, also after a start that failed half-way. */
#include "cmd/serve.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/certificates.h"
#include "cmd/certs_control.h"
#include "cmd/control.h"
#include "cmd/link.h"
#include "cmd/load.h"
#include "cmd/machine.h"
#include "cmd/notify.h"
#include "cmd/on_demand.h"
#include "cmd/own_log.h"
#include "cmd/paths.h"
#include "cmd/store_begin.h"
#include "cmd/trust_keeper.h"
#include "cmd/watch_files.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "proxy/handler/metrics.h"
#include "proxy/loop/jobs.h"
#include "proxy/loop/log_writer.h"
#include "proxy/server/server.h"
#include "proxy/server/storage.h"
#include "proxy/tls/ticket_keeper.h"

#define JOB_THREADS 4
#define JOB_QUEUE_MAX 1024
#define SLOW_JOB_THREADS 2
#define SLOW_JOB_QUEUE_MAX 64
#define ACME_STOP_MS 2000
#define LOG_FLUSH_MS 2000
#define DIAG_TEXT_MAX ((size_t)1 << 20)

struct serving {
    const struct serve_setup *setup;
    struct arena arena;
    struct loop *loop;
    struct watch link_watch;
    struct watch signal_watch;
    int signal_fd;
    struct log_sink *stderr_sink;
    struct control *control;
    struct addr control_addr;
    char *config_path;
    struct store *store;
    struct challenge_table *challenges;
    struct certs *certs;
    struct cert_sink sink;
    struct jobs *jobs;
    struct ticket_keeper tickets;
    struct jobs *slow_jobs; /* password hashes */
    struct resolver *resolver;
    struct server *server;
    struct acme *acme;
    struct config *config;
    struct cert_plan plan;
    struct on_demand *on_demand;
    struct trust_keeper *trust;
    struct watch_files *watched; /* --watch, or NULL */
    bool stop_ordered; /* these came while an answer was awaited */
    bool reload_ordered;
    struct task order_task;
    bool stopping;
};

/* ---- the parent ---- */

static void tell_parent(struct serving *s, enum link_type type)
{
    if (s->setup->link >= 0) {
        struct link_packet p = {.type = type};
        (void)link_send(s->setup->link, &p, -1);
    } else if (type == LINK_READY) {
        notify_send("READY=1");
    } else if (type == LINK_RELOADING) {
        notify_reloading();
    } else if (type == LINK_STOPPING) {
        notify_send("STOPPING=1");
    }
}

static void parent_gone(void)
{
    _exit(1); /* nobody would bind, restart or stop us */
}

/* Waits for the answer to a request; orders that come first wait for the loop. */
static bool await_answer(struct serving *s, struct link_packet *answer, int *fd)
{
    for (;;) {
        if (!link_receive(s->setup->link, answer, fd)) {
            parent_gone();
        }
        if (answer->type == LINK_ANSWER) {
            return answer->error == 0;
        }
        s->stop_ordered = s->stop_ordered || answer->type == LINK_STOP;
        s->reload_ordered = s->reload_ordered || answer->type == LINK_RELOAD;
        loop_post(s->loop, &s->order_task);
    }
}

static int listen_for(void *ctx, const struct addr *a, unsigned mode, unsigned worker,
                      struct err *err)
{
    struct serving *s = ctx;
    if (s->setup->link < 0) {
        return binder_listen(s->setup->binder, a, mode, worker, err);
    }
    struct link_packet p = {.type = LINK_LISTEN, .addr = *a, .worker = worker, .mode = mode};
    int fd = -1;
    if (!link_send(s->setup->link, &p, -1)) {
        parent_gone();
    }
    if (!await_answer(s, &p, &fd)) {
        err_set(err, "%s", p.text);
        errno = p.error;
        return -1;
    }
    return fd;
}

static void unlisten(void *ctx, const struct addr *a)
{
    struct serving *s = ctx;
    if (s->setup->link < 0) {
        binder_unlisten(s->setup->binder, a);
        return;
    }
    struct link_packet p = {.type = LINK_UNLISTEN, .addr = *a};
    (void)link_send(s->setup->link, &p, -1);
}

/* ---- configurations ---- */

/* What the configuration says of the store, or the default. In a. */
static const struct store_settings *settings_of(const struct serving *s, struct arena *a,
                                                const struct config *c)
{
    const char *folder = s->setup->store_path ? s->setup->store_path : paths_store(a);
    return c->options->storage ? c->options->storage : storage_of_folder(a, slice_str(folder));
}

/* The store may not move while the process runs. */
static void check_store(const struct serving *s, const struct config *c, struct cf_diags *diags)
{
    struct arena a;
    arena_init(&a, ARENA_NO_MAX);
    const struct store_settings *now = settings_of(s, &a, s->config);
    if (!store_settings_equal(now, settings_of(s, &a, c))) {
        cf_error(diags, NULL, "the storage cannot change on a reload (now %s); restart caddis",
                 store_path(s->store));
    }
    arena_fini(&a);
}

/* Takes config over as the one that runs. False: errors in diags, nothing has changed. */
static bool apply(struct serving *s, struct config *config, struct cf_diags *diags)
{
    struct cert_plan plan;
    size_t more_count;
    const struct managed_name *more = on_demand_names(s->on_demand, config, &more_count);
    cert_plan_init(&plan, config, more, more_count, diags);
    bool ok = diags->errors == 0;
    if (ok) {
        trust_keeper_configure(s->trust, config);
        cert_plan_configure(&plan, s->config ? &s->plan : NULL, config, s->certs);
        cert_plan_preload(&plan, s->acme, s->certs);
        ok = server_apply(s->server, config, diags);
    }
    if (!ok) {
        if (s->config) {
            trust_keeper_configure(s->trust, s->config);
            cert_plan_configure(&s->plan, NULL, s->config, s->certs);
            acme_preload(s->acme, &s->plan.acme); /* where the refused one had brought its own */
        }
        cert_plan_fini(&plan);
        return false;
    }
    cert_plan_configure(&plan, NULL, config, s->certs);
    acme_configure(s->acme, &plan.acme);
    cert_plan_fini(&s->plan);
    config_unref(s->config);
    s->plan = plan;
    s->config = config_ref(config);
    on_demand_configure(s->on_demand, config);
    own_log_apply(config, s->stderr_sink);
    metrics_note_config(true);
    watch_files_set(s->watched, config->document);
    hook_program(s->sink.hook, config->options->on_certificate);
    return true;
}

/* A handshake wants a name that is new: the store may have its certificate, else acme gets it. */
static void add_demanded(void *ctx)
{
    struct serving *s = ctx;
    struct cf_diags diags;
    struct cert_plan plan;
    size_t more_count;
    if (!s->config || s->stopping) {
        return;
    }
    cf_diags_init(&diags);
    const struct managed_name *more = on_demand_names(s->on_demand, s->config, &more_count);
    cert_plan_init(&plan, s->config, more, more_count, &diags); /* what it says was said before */
    cert_plan_configure(&plan, NULL, s->config, s->certs);
    cert_plan_preload(&plan, s->acme, s->certs);
    acme_configure(s->acme, &plan.acme);
    cert_plan_fini(&s->plan);
    s->plan = plan;
    cf_diags_fini(&diags);
}

/* An editor or a full disk may leave an empty file: that is no wish to serve nothing. */
static void check_sites(const struct serving *s, const struct config *c, const char *path,
                        struct cf_diags *diags)
{
    if (c->binding_count == 0 && s->config->binding_count > 0) {
        cf_error(diags, NULL, "%s has no site; caddis stop ends what runs", path);
    }
}

/* Standard input and pipes are at their end after the start; a pipe would even be waited for. */
static bool can_be_read_again(const char *path, struct cf_diags *diags)
{
    struct stat st;
    if (slice_eq(slice_str(path), S("-")) || (stat(path, &st) == 0 && !S_ISREG(st.st_mode))) {
        cf_error(diags, NULL, "%s is no regular file, so that it cannot be read again; name a file "
                 "with caddis reload --config FILE", path);
        return false;
    }
    return true;
}

/* The next server process, should this one die, begins with what runs now. */
static void remember_config(struct serving *s, const char *path)
{
    struct link_packet p = {.type = LINK_CONFIG};
    size_t n = strlen(path);
    if (path == s->config_path) {
        return;
    }
    free(s->config_path);
    s->config_path = mem_dup(slice_str(path));
    if (s->setup->link >= 0 && n < sizeof(p.text)) {
        memcpy(p.text, path, n + 1);
        (void)link_send(s->setup->link, &p, -1);
    }
}

/* Reads path and runs it. What there is to say goes to text. */
static bool reload(struct serving *s, const char *path, struct dstr *text)
{
    struct cf_diags diags;
    cf_diags_init(&diags);
    tell_parent(s, LINK_RELOADING);
    struct config *config = can_be_read_again(path, &diags) ? load_config(path, &diags) : NULL;
    bool ok = config != NULL;
    if (ok) {
        check_sites(s, config, path, &diags);
        check_store(s, config, &diags);
        ok = diags.errors == 0 && apply(s, config, &diags);
    }
    config_unref(config);
    log_sinks_reopen();
    cf_diags_print(&diags, text);
    cf_diags_fini(&diags);
    if (ok) {
        remember_config(s, path);
    }
    metrics_note_config(ok);
    tell_parent(s, LINK_READY);
    log_event(ok ? LOG_INFO : LOG_ERROR, "caddis",
              ok ? "configuration reloaded" : "reload refused; the running configuration goes on",
              LOG_Z("file", path));
    return ok;
}

static void reload_from_file(struct serving *s)
{
    struct dstr text;
    dstr_init(&text, DIAG_TEXT_MAX);
    char *path = mem_dup(slice_str(s->config_path));
    (void)reload(s, path, &text);
    log_sink_write(s->stderr_sink, dstr_slice(&text)); /* write(2) would wait for a reader */
    free(path);
    dstr_fini(&text);
}

static void files_changed(void *ctx)
{
    reload_from_file(ctx);
}

/* ---- orders ---- */

static void begin_stop(struct serving *s)
{
    if (s->stopping) {
        _exit(2); /* told twice (--single; otherwise the parent ends us) */
    }
    s->stopping = true;
    loop_stop(s->loop);
}

static void obey(struct serving *s, enum link_type order)
{
    if (order == LINK_STOP) {
        begin_stop(s);
    } else if (order == LINK_RELOAD && !s->stopping) {
        reload_from_file(s);
    }
}

static void run_orders(struct task *t)
{
    struct serving *s = container_of(t, struct serving, order_task);
    if (s->stop_ordered) {
        s->stop_ordered = false;
        obey(s, LINK_STOP);
    }
    if (s->reload_ordered) {
        s->reload_ordered = false;
        obey(s, LINK_RELOAD);
    }
}

static void on_link(struct watch *w, unsigned events)
{
    (void)events;
    struct serving *s = container_of(w, struct serving, link_watch);
    struct link_packet p;
    int fd;
    if (!link_receive(s->setup->link, &p, &fd)) {
        parent_gone();
    }
    if (fd >= 0) {
        close(fd);
    }
    obey(s, p.type);
}

static void on_signal(struct watch *w, unsigned events)
{
    (void)events;
    struct serving *s = container_of(w, struct serving, signal_watch);
    struct signalfd_siginfo info;
    if (read(s->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info)) {
        return;
    }
    if (info.ssi_signo == SIGHUP || info.ssi_signo == SIGUSR1) {
        reload_from_file(s);
    } else {
        begin_stop(s);
    }
}

static bool handle_control(void *ctx, struct slice line, struct dstr *answer)
{
    struct serving *s = ctx;
    struct slice word;
    struct slice rest = line;
    (void)slice_cut(&rest, ' ', &word);
    if (slice_eq(word, S("stop"))) {
        dstr_append(answer, S("stopping\n"));
        s->stopping = true;
        return true;
    }
    if (slice_eq(word, S("reload")) && rest.n) {
        char *path = mem_dup(rest);
        bool ok = reload(s, path, answer);
        free(path);
        return ok;
    }
    bool ok;
    if (certs_control(s->acme, s->store, word, rest, answer, &ok)) {
        return ok;
    }
    if (slice_eq(word, S("ping"))) {
        dstr_printf(answer, "caddis %s, process %d\n", CADDIS_VERSION, (int)getpid());
        return true;
    }
    dstr_printf(answer, "unknown request \"%.*s\"\n", SLICE_ARG(word));
    return false;
}

static bool after_control(void *ctx)
{
    struct serving *s = ctx;
    if (s->stopping) {
        loop_stop(s->loop);
    }
    return s->stopping;
}

static const char *control_path(struct serving *s)
{
    const struct store_settings *settings = settings_of(s, &s->arena, s->config);
    const char *folder = paths_socket_folder(&s->arena, settings);
    const char *path = paths_control(&s->arena, folder);
    if (settings->kind != &store_kind_file_system &&
        slice_starts(slice_str(path), slice_str(folder))) {
        struct err ignored; /* the socket then says so */
        store_close(store_open_fs(folder, &ignored)); /* makes the folder, for its owner only */
    }
    return path;
}

static void open_control(struct serving *s)
{
    const struct options *o = s->config->options;
    const char *path = o->admin_path.n          ? o->admin_path.p
                       : s->setup->control_path ? s->setup->control_path
                                                : control_path(s);
    struct err err;
    if (o->admin_off) {
        return;
    }
    int fd = -1;
    if (!addr_unix(slice_str(path), &s->control_addr)) {
        err_set(&err, "the path %s is too long for a Unix socket", path);
    } else {
        fd = listen_for(s, &s->control_addr, 0600, 0, &err);
    }
    if (fd < 0) {
        log_event(LOG_WARN, "caddis",
                  "no control socket: caddis reload and stop will not reach this"
                  " process (set `admin unix//path` to give it one of its own)",
                  LOG_Z("reason", err.text));
        s->control_addr.len = 0;
        return;
    }
    struct control_events events = {handle_control, after_control, s};
    s->control = control_new(s->loop, fd, &events);
}

/* ---- start and end ---- */

static bool open_store(struct serving *s, const struct config *c)
{
    struct err err;
    s->store = store_begin(settings_of(s, &s->arena, c), &err);
    if (!s->store) {
        (void)fprintf(stderr, "caddis: the store cannot be opened: %s\n", err.text);
    }
    return s->store != NULL;
}

/* From here on there are threads: a sandbox would be entered just before. */
static bool start_parts(struct serving *s, struct err *err)
{
    if (!log_writer_start(err)) {
        return false;
    }
    s->stderr_sink = log_sink_open("stderr", err);
    if (!s->stderr_sink) {
        return false;
    }
    log_set_sink(log_sink_write, s->stderr_sink);
    s->challenges = challenge_table_new(s->store);
    s->certs = certs_new();
    s->jobs = jobs_new(JOB_THREADS, JOB_QUEUE_MAX, err);
    s->slow_jobs = s->jobs ? jobs_new(SLOW_JOB_THREADS, SLOW_JOB_QUEUE_MAX, err) : NULL;
    if (!s->slow_jobs) {
        return false;
    }
    ticket_keeper_start(&s->tickets, s->loop, s->jobs, s->store);
    certs_set_challenges(s->certs, s->challenges, s->jobs);
    s->resolver = resolver_new(err);
    if (!s->resolver) {
        return false;
    }
    s->on_demand = on_demand_new(s->loop, s->certs, add_demanded, s, err);
    if (!s->on_demand) {
        return false;
    }
    s->trust = trust_keeper_new(s->loop, s->jobs, s->store);
    s->sink = (struct cert_sink){s->certs, hook_start(err), s->store, s->on_demand};
    if (!s->sink.hook) {
        return false;
    }
    struct acme_callbacks callbacks = cert_callbacks(&s->sink);
    s->acme = acme_start(s->store, s->challenges, &callbacks, err);
    struct server_setup setup = {
        .workers = s->setup->workers ? s->setup->workers : machine_cores(),
        .certs = s->certs,
        .challenges = s->challenges,
        .jobs = s->jobs,
        .slow_jobs = s->slow_jobs,
        .resolver = s->resolver,
        .listen = listen_for,
        .unlisten = unlisten,
        .ctx = s,
    };
    s->server = s->acme ? server_new(&setup, err) : NULL;
    return s->server != NULL;
}

static bool start(struct serving *s)
{
    struct cf_diags diags;
    struct err err = {""};
    cf_diags_init(&diags);
    struct config *config = load_config(s->config_path, &diags);
    bool ok = config != NULL;
    if (ok) {
        own_log_level(config);
        ok = open_store(s, config);
    }
    if (ok && !start_parts(s, &err)) {
        (void)fprintf(stderr, "caddis: %s\n", err.text);
        ok = false;
    }
    ok = ok && apply(s, config, &diags);
    config_unref(config);
    print_diags(&diags, ok ? s->stderr_sink : NULL);
    cf_diags_fini(&diags);
    return ok;
}

static void watch_orders(struct serving *s)
{
    sigset_t set;
    sigemptyset(&set);
    if (s->setup->link >= 0) {
        watch_init(&s->link_watch, s->loop, s->setup->link, on_link);
        watch_set(&s->link_watch, WATCH_READ);
        return;
    }
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGQUIT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    must(s->signal_fd >= 0);
    watch_init(&s->signal_watch, s->loop, s->signal_fd, on_signal);
    watch_set(&s->signal_watch, WATCH_READ);
}

static void end_at_once(int signal)
{
    (void)signal;
    _exit(2);
}

/* --single: nobody reads signals any more while connections are drained. */
static void mind_second_signal(void)
{
    sigset_t set;
    struct sigaction action = {.sa_handler = end_at_once};
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGQUIT);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGQUIT, &action, NULL);
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void stop(struct serving *s)
{
    int64_t grace_ms = s->config->options->grace_period_ms;
    tell_parent(s, LINK_STOPPING);
    if (s->setup->link < 0) {
        mind_second_signal();
    }
    log_event(LOG_INFO, "caddis", "stopping", LOG_I("grace_period_ms", grace_ms),
              LOG_I("connections", server_connections(s->server)));
    if (s->control_addr.len) {
        unlisten(s, &s->control_addr);
    }
    for (size_t i = 0; i < s->config->binding_count; i++) {
        unlisten(s,
                 &s->config->bindings[i].addr); /* or clients would wait in the parent's copies */
    }
    server_stop(s->server, grace_ms);
    log_event(LOG_INFO, "caddis", "stopped");
}

/* Releases whatever start() has made, also when it did not get to the end. */
static void tear_down(struct serving *s)
{
    bool acme_ended = !s->acme || acme_stop(s->acme, ACME_STOP_MS);
    if (acme_ended) {
        hook_stop(s->sink.hook);
    }
    own_log_end();
    log_writer_stop(LOG_FLUSH_MS);
    if (!acme_ended) {
        _exit(s->stopping ? 0 : 1); /* it hangs in a look-up; it must not see memory go away */
    }
    log_sink_unref(s->stderr_sink);
    watch_files_free(s->watched);
    control_free(s->control); /* whoever asked for the end sees it now */
    resolver_free(s->resolver);
    ticket_keeper_stop(&s->tickets);
    on_demand_stop(s->on_demand);
    trust_keeper_stop(s->trust);
    jobs_free(s->jobs);
    jobs_free(s->slow_jobs);
    server_free(s->server);
    certs_free(s->certs);
    challenge_table_free(s->challenges);
    store_close(s->store);
    cert_plan_fini(&s->plan);
    config_unref(s->config);
    loop_free(s->loop); /* delivers what has come */
    on_demand_free(s->on_demand);
    trust_keeper_free(s->trust);
    free(s->config_path);
    arena_fini(&s->arena);
}

static void log_serving(const struct serving *s)
{
    struct dstr sites;
    dstr_init(&sites, 8192);
    config_describe(s->config, &sites);
    log_event(LOG_INFO, "caddis", "serving", LOG_S("sites", dstr_slice(&sites)),
              LOG_Z("config", s->config_path), LOG_Z("store", store_path(s->store)),
              LOG_Z("version", CADDIS_VERSION));
    dstr_fini(&sites);
}

int serve_main(const struct serve_setup *setup)
{
    struct serving s = {.setup = setup, .signal_fd = -1};
    struct err err;
    sigset_t all;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGABRT);
    sigprocmask(SIG_BLOCK, &all, NULL); /* inherited by every thread */
    (void)signal(SIGPIPE, SIG_IGN);
    machine_raise_descriptors();
    arena_init(&s.arena, ARENA_NO_MAX);
    s.config_path = mem_dup(slice_str(setup->config_path));
    task_init(&s.order_task, run_orders);
    s.loop = loop_new(&err);
    if (!s.loop) {
        (void)fprintf(stderr, "caddis: %s\n", err.text);
        return 1;
    }
    if (!start(&s)) {
        tear_down(&s);
        return 1;
    }
    open_control(&s);
    watch_orders(&s);
    s.watched = setup->watch ? watch_files_new(s.loop, files_changed, &s) : NULL;
    watch_files_set(s.watched, s.config->document);
    tell_parent(&s, LINK_READY);
    log_serving(&s);
    if (!s.stopping) {
        loop_run(s.loop);
    }
    stop(&s);
    tear_down(&s);
    return 0;
}
