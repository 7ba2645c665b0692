/* Applying configurations to all workers, and stopping them; see server.h. Runs on the control
 * thread only. */
#include "proxy/server/server.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "proxy/server/worker.h"

struct server *server_new(const struct server_setup *setup, struct err *err)
{
    static const struct slice alpn[] = {S_INIT("h2"), S_INIT("http/1.1")};
    struct server *s = mem_zalloc(sizeof(*s));
    s->setup = *setup;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->worker_count = setup->workers;
    atomic_init(&s->connection_max, 1024);
    s->workers = mem_zalloc(s->worker_count * sizeof(*s->workers));
    s->tls = tls_server_new(setup->certs, alpn, ARRAY_LEN(alpn), err);
    bool ok = s->tls != NULL;
    for (unsigned i = 0; ok && i < s->worker_count; i++) {
        ok = worker_init(&s->workers[i], s, i, err);
    }
    return ok ? s : NULL; /* a failure here ends the process: nothing to tidy */
}

/* ---- applying -------------------------------------------------------------------------------- */

static const struct binding *find_binding(const struct config *c, const struct addr *a)
{
    for (size_t i = 0; c && i < c->binding_count; i++) {
        if (!c->bindings[i].absent && addr_eq(&c->bindings[i].addr, a)) {
            return &c->bindings[i];
        }
    }
    return NULL;
}

/* fds[binding * workers + worker]: a new socket, or -1 where the address is listened on already
 * or is absent. */
struct sockets {
    int *fds;
};

static void close_sockets(const struct server *s, const struct config *c, struct sockets *k)
{
    for (size_t i = 0; i < c->binding_count * s->worker_count; i++) {
        if (k->fds[i] >= 0) {
            close(k->fds[i]);
        }
    }
}

static void hint_in_use(const struct binding *b, int errnum, const char *why, struct cf_diag *diag)
{
    if (!diag || (errnum != EADDRINUSE && errnum != EACCES)) {
        return;
    }
    if (slice_find_slice(slice_str(why), S("in use by caddis")) != SLICE_NPOS) {
        diag->hint = S("caddis reload makes it take a changed Caddyfile, caddis stop ends it");
    } else if (!b->at) {
        diag->hint = S("this port is for redirects to HTTPS and for the CA's challenges; the global"
                       " option http_port names another");
    }
}

static bool open_binding(struct server *s, struct config *c, size_t i, struct sockets *k,
                         struct cf_diags *diags)
{
    struct binding *b = &c->bindings[i];
    for (unsigned w = 0; w < s->worker_count; w++) {
        struct err err = {""};
        int fd = s->setup.listen(s->setup.ctx, &b->addr, b->mode, w, &err);
        if (fd < 0 && b->optional && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
            b->absent = true; /* no IPv6 on this machine */
            return true;
        }
        if (fd < 0) {
            int errnum = errno;
            hint_in_use(b, errnum, err.text, cf_error(diags, b->at, "%s", err.text));
            return false;
        }
        k->fds[i * s->worker_count + w] = fd;
    }
    return true;
}

/* A socket that stays may be for other people now. */
static bool keep_binding(struct server *s, const struct binding *old, const struct binding *b,
                         struct cf_diags *diags)
{
    struct err err = {""};
    if (old->mode == b->mode) {
        return true;
    }
    int fd = s->setup.listen(s->setup.ctx, &b->addr, b->mode, 0, &err);
    if (fd < 0) {
        cf_error(diags, b->at, "%s", err.text);
        return false;
    }
    close(fd);
    return true;
}

static bool open_sockets(struct server *s, struct config *c, struct sockets *k,
                         struct cf_diags *diags)
{
    bool ok = true;
    bool last = true;
    for (size_t i = 0; i < c->binding_count; i++) {
        const struct binding *b = &c->bindings[i];
        if (b->optional && !last) {
            continue; /* said once for the port, about 0.0.0.0 */
        }
        const struct binding *old = find_binding(s->config, &b->addr);
        last = old ? keep_binding(s, old, b, diags) : open_binding(s, c, i, k, diags);
        ok = ok && last;
    }
    return ok;
}

static void update_applied(void *ctx)
{
    struct server *s = ctx;
    pthread_mutex_lock(&s->lock);
    s->waiting_for--;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void send_updates(struct server *s, struct config *c, const struct sockets *k)
{
    s->waiting_for = s->worker_count;
    for (unsigned w = 0; w < s->worker_count; w++) {
        struct worker_update *u = mem_zalloc(sizeof(*u));
        u->config = config_ref(c);
        u->listeners = mem_zalloc((c->binding_count + 1) * sizeof(*u->listeners));
        for (size_t i = 0; i < c->binding_count; i++) {
            if (!c->bindings[i].absent) {
                u->listeners[u->listener_count++] = (struct worker_listener){
                    c->bindings[i].addr, k->fds[i * s->worker_count + w], &c->bindings[i]};
            }
        }
        u->applied = update_applied;
        u->ctx = s;
        worker_send_update(&s->workers[w], u);
    }
}

static void start_threads(struct server *s)
{
    if (s->started) {
        return;
    }
    s->started = true;
    for (unsigned w = 0; w < s->worker_count; w++) {
        struct err err;
        must(worker_start(&s->workers[w], &err));
    }
}

static void wait_for_workers(struct server *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->waiting_for > 0) {
        pthread_cond_wait(&s->changed, &s->lock);
    }
    pthread_mutex_unlock(&s->lock);
}

bool server_apply(struct server *s, struct config *c, struct cf_diags *diags)
{
    size_t count = c->binding_count * s->worker_count;
    struct sockets k = {mem_zalloc((count + 1) * sizeof(int))};
    for (size_t i = 0; i < count; i++) {
        k.fds[i] = -1;
    }
    bool ok = open_sockets(s, c, &k, diags);
    if (ok) {
        start_threads(s);
        send_updates(s, c, &k);
        wait_for_workers(s);
        struct config *old = s->config;
        s->config = config_ref(c);
        for (size_t i = 0; old && i < old->binding_count; i++) {
            if (!old->bindings[i].absent && !find_binding(c, &old->bindings[i].addr)) {
                s->setup.unlisten(s->setup.ctx, &old->bindings[i].addr);
            }
        }
        config_unref(old);
    } else {
        close_sockets(s, c, &k);
        for (size_t i = 0; i < c->binding_count; i++) {
            if (k.fds[i * s->worker_count] >= 0) {
                s->setup.unlisten(s->setup.ctx, &c->bindings[i].addr);
            }
        }
    }
    free(k.fds);
    return ok;
}

void server_stop(struct server *s, int64_t grace_ms)
{
    for (unsigned w = 0; s->started && w < s->worker_count; w++) {
        worker_send_drain(&s->workers[w], grace_ms);
    }
    for (unsigned w = 0; s->started && w < s->worker_count; w++) {
        worker_join(&s->workers[w]);
    }
}

void server_free(struct server *s)
{
    if (!s) {
        return;
    }
    for (unsigned w = 0; w < s->worker_count; w++) {
        worker_fini(&s->workers[w]);
    }
    tls_server_unref(s->tls);
    config_unref(s->config);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    free(s->workers);
    free(s);
}

unsigned server_connections(const struct server *s)
{
    unsigned n = 0;
    for (unsigned w = 0; w < s->worker_count; w++) {
        n += atomic_load_explicit(&s->workers[w].published_count, memory_order_relaxed);
    }
    return n;
}
