/* Commands and connections. See redis_link.h. */
#include "store/redis_link.h"

#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/base/mem.h"
#include "store/backend.h"

#define IDLE_MAX ((size_t)8)
/* After a failure nobody tries for so long, and then one caller at a time. */
#define PAUSE_MS 2000
/* How long the first attempt to connect may take, and the first after connections were lost: twice
 * as long each time, up to the time-out. A server that accepts and says nothing is not to hold up a
 * start, nor whoever is next. */
#define PATIENCE_MS 1000
/* What a server says is shown to this length. */
#define SAID_MAX ((size_t)200)

struct redis_link {
    struct redis_link_setup setup; /* its texts are in owned memory */
    char *addresses[REDIS_ADDRESSES_MAX];
    char *username, *password;
    pthread_mutex_t mutex; /* over what follows */
    struct redis_stream *idle[IDLE_MAX];
    size_t idle_count;
    size_t next_address; /* the one that worked last */
    bool down;           /* the last attempt to connect failed */
    bool trying;         /* a caller is trying again */
    int64_t down_until_ms;
    int64_t patience_ms; /* of the next attempt to connect */
    struct err down_err;
};

struct redis_link *redis_link_new(const struct redis_link_setup *setup)
{
    struct redis_link *l = mem_zalloc(sizeof(*l));
    l->setup = *setup;
    for (size_t i = 0; i < setup->address_count; i++) {
        l->addresses[i] = mem_dup(setup->addresses[i]);
    }
    l->username = mem_dup(setup->username);
    l->password = mem_dup(setup->password);
    l->patience_ms = PATIENCE_MS;
    pthread_mutex_init(&l->mutex, NULL);
    return l;
}

void redis_link_free(struct redis_link *l)
{
    if (!l) {
        return;
    }
    for (size_t i = 0; i < l->idle_count; i++) {
        redis_stream_close(l->idle[i]);
    }
    for (size_t i = 0; i < l->setup.address_count; i++) {
        free(l->addresses[i]);
    }
    explicit_bzero(l->password, strlen(l->password));
    free(l->password);
    free(l->username);
    redis_tls_free(l->setup.tls);
    pthread_mutex_destroy(&l->mutex);
    free(l);
}

/* ---- one command on one connection ---- */

struct redis_reply *redis_link_on(struct redis_stream *s, const struct slice *args, size_t count,
                                  size_t max_bytes, struct err *err)
{
    const char *texts[REDIS_ARGS_MAX];
    size_t lengths[REDIS_ARGS_MAX];
    must(count <= REDIS_ARGS_MAX);
    for (size_t i = 0; i < count; i++) {
        texts[i] = args[i].p ? args[i].p : "";
        lengths[i] = args[i].n;
    }
    char *command = NULL;
    long long n = redisFormatCommandArgv(&command, (int)count, texts, lengths);
    if (n <= 0 || !command) {
        err_set(err, "out of memory for a command to Redis");
        return NULL;
    }
    struct redis_reply *reply = NULL;
    if (redis_stream_write(s, slice_of(command, (size_t)n), err)) {
        reply = redis_reply_read(redis_stream_read, s, max_bytes, STORE_LIST_MAX, err);
    }
    explicit_bzero(command, (size_t)n); /* it may hold a private key or the password */
    redisFreeCommand(command);
    return reply;
}

/* ---- what a server's errors mean ---- */

static const struct {
    struct slice word;
    const char *means;
} faults[] = {
    {S_INIT("NOAUTH"), "it wants a password: set `password` (and `username`) of the storage"},
    {S_INIT("WRONGPASS"), "it refuses the password: look at `username` and `password`"},
    {S_INIT("NOPERM"), "its user may not do that: see `ACL` of the server"},
    {S_INIT("READONLY"), "it is a replica, which takes no changes: name the master as `address`"},
    {S_INIT("LOADING"), "it is still reading its data; this passes"},
    {S_INIT("OOM"), "its memory is full (maxmemory)"},
    {S_INIT("MISCONF"), "it cannot write to its own disk"},
    {S_INIT("MASTERDOWN"), "it is a replica that has lost its master"},
};

/* The first word, and what it says with nothing but plain characters. */
void redis_link_explain(const struct redis_reply *r, char fault[REDIS_FAULT_BYTES],
                        struct err *err)
{
    struct slice said = slice_upto(slice_of(r->text, r->n), SAID_MAX), word, rest = said;
    char plain[SAID_MAX + 1];
    for (size_t i = 0; i < said.n; i++) {
        plain[i] = said.p[i] >= 0x20 && said.p[i] < 0x7f ? said.p[i] : '?';
    }
    plain[said.n] = '\0';
    (void)slice_cut(&rest, ' ', &word);
    word = slice_upto(word, REDIS_FAULT_BYTES - 1);
    if (word.n) {
        memcpy(fault, word.p, word.n);
    }
    fault[word.n] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        if (slice_eq(word, faults[i].word)) {
            err_set(err, "%s (it says: %s)", faults[i].means, plain);
            return;
        }
    }
    err_set(err, "it says: %s", plain);
}

/* ---- new connections ---- */

static bool expect_ok(struct redis_stream *s, const struct slice *args, size_t count,
                      const char *what, struct err *err)
{
    char fault[REDIS_FAULT_BYTES];
    struct redis_reply *r = redis_link_on(s, args, count, 4096, err);
    if (!r) {
        return false;
    }
    bool ok = redis_reply_is(r, S("OK"));
    if (!ok && r->kind == REDIS_FAULT) {
        redis_link_explain(r, fault, err);
        err_prefix(err, "%s: ", what);
    } else if (!ok) {
        err_set(err, "%s: an answer that is none of a Redis server", what);
    }
    redis_reply_free(r);
    return ok;
}

/* A server says ERR, not WRONGPASS, when it has no password or is older than 6. */
static bool log_in(struct redis_link *l, struct redis_stream *s, struct err *err)
{
    struct slice args[3] = {S("AUTH")};
    size_t n = 1;
    if (!l->password[0]) {
        return true;
    }
    if (l->username[0]) {
        args[n++] = slice_str(l->username);
    }
    args[n++] = slice_str(l->password);
    return expect_ok(s, args, n, "logging in", err);
}

static bool choose_db(struct redis_link *l, struct redis_stream *s, struct err *err)
{
    char number[16];
    (void)snprintf(number, sizeof(number), "%u", l->setup.db);
    struct slice args[] = {S("SELECT"), slice_str(number)};
    return l->setup.db == 0 || expect_ok(s, args, ARRAY_LEN(args), "choosing the db", err);
}

static struct redis_stream *connect_one(struct redis_link *l, size_t i, int64_t patience_ms,
                                        struct err *err)
{
    int64_t deadline = clock_mono_ms() + patience_ms;
    struct redis_stream *s = redis_stream_open(l->addresses[i], l->setup.tls, deadline, err);
    if (s) {
        redis_stream_set_deadline(s, deadline);
        if (!log_in(l, s, err) || !choose_db(l, s, err) ||
            !l->setup.greet(l->setup.ctx, s, err)) {
            redis_stream_close(s);
            s = NULL;
        }
    }
    if (!s) {
        err_prefix(err, "Redis at %s: ", l->addresses[i]);
    }
    return s;
}

/* With mutex. May this caller try to connect now? Otherwise err has the last failure. */
static bool may_try(struct redis_link *l, struct err *err)
{
    if (l->down && (l->trying || clock_mono_ms() < l->down_until_ms)) {
        *err = l->down_err;
        return false;
    }
    l->trying = l->down;
    return true;
}

/* With mutex. */
static void note_outcome(struct redis_link *l, bool ok, size_t address, const struct err *err)
{
    l->trying = false;
    if (ok) {
        if (l->down) {
            log_event(LOG_INFO, "store", "Redis is there again",
                      LOG_Z("address", l->addresses[address]));
        }
        l->down = false;
        l->patience_ms = PATIENCE_MS;
        l->next_address = address;
        return;
    }
    if (!l->down) {
        log_event(LOG_WARN, "store", "Redis cannot be used now; what is served goes on",
                  LOG_Z("reason", err->text));
    }
    l->down = true;
    l->patience_ms *= l->patience_ms < l->setup.timeout_ms ? 2 : 1;
    l->down_err = *err;
    l->down_until_ms = clock_mono_ms() + PAUSE_MS;
}

static struct redis_stream *connect_any(struct redis_link *l, struct err *err)
{
    pthread_mutex_lock(&l->mutex);
    size_t first = l->next_address, at = first;
    bool may = may_try(l, err);
    int64_t patience_ms =
        l->patience_ms < l->setup.timeout_ms ? l->patience_ms : l->setup.timeout_ms;
    pthread_mutex_unlock(&l->mutex);
    struct redis_stream *s = NULL;
    for (size_t i = 0; may && !s && i < l->setup.address_count; i++) {
        at = (first + i) % l->setup.address_count;
        s = connect_one(l, at, patience_ms, err);
    }
    if (may) {
        pthread_mutex_lock(&l->mutex);
        note_outcome(l, s != NULL, at, err);
        pthread_mutex_unlock(&l->mutex);
    }
    return s;
}

/* ---- calls ---- */

static struct redis_stream *take_idle(struct redis_link *l)
{
    struct redis_stream *s = NULL;
    pthread_mutex_lock(&l->mutex);
    while (!s && l->idle_count) {
        s = l->idle[--l->idle_count];
        if (!redis_stream_quiet(s)) {
            redis_stream_close(s);
            s = NULL;
        }
    }
    pthread_mutex_unlock(&l->mutex);
    return s;
}

static void give_back(struct redis_link *l, struct redis_stream *s)
{
    pthread_mutex_lock(&l->mutex);
    bool kept = l->idle_count < IDLE_MAX;
    if (kept) {
        l->idle[l->idle_count++] = s;
    }
    pthread_mutex_unlock(&l->mutex);
    if (!kept) {
        redis_stream_close(s);
    }
}

/* next: the address that worked last does not any more. */
static void drop_idle(struct redis_link *l, bool next)
{
    pthread_mutex_lock(&l->mutex);
    l->next_address = (l->next_address + next) % l->setup.address_count;
    while (l->idle_count) {
        redis_stream_close(l->idle[--l->idle_count]);
    }
    pthread_mutex_unlock(&l->mutex);
}

struct redis_reply *redis_link_call(struct redis_link *l, const struct slice *args, size_t count,
                                    size_t max_bytes, char fault[REDIS_FAULT_BYTES],
                                    struct err *err)
{
    char unused[REDIS_FAULT_BYTES];
    struct err no_err;
    struct redis_reply *reply = NULL;
    struct redis_stream *s = take_idle(l);
    bool kept = s != NULL;
    fault = fault ? fault : unused;
    err = err ? err : &no_err;
    fault[0] = '\0';
    for (int i = 0; i < 2 && !reply; i++) {
        s = s ? s : connect_any(l, err);
        if (!s) {
            return NULL;
        }
        redis_stream_set_deadline(s, clock_mono_ms() + l->setup.timeout_ms);
        reply = redis_link_on(s, args, count, max_bytes, err);
        if (!reply) {
            redis_stream_close(s);
            s = NULL;
            if (!kept) {
                break;
            }
            kept = false;
            drop_idle(l, false); /* the others are of the same age: each would cost a time-out */
        }
    }
    if (!reply) {
        err_prefix(err, "Redis: ");
        return NULL;
    }
    if (reply->kind == REDIS_FAULT) {
        redis_link_explain(reply, fault, err);
        redis_reply_free(reply);
        reply = NULL;
        if (slice_eq(slice_str(fault), S("READONLY"))) {
            drop_idle(l, true); /* another one may be the master now */
            redis_stream_close(s);
            return NULL;
        }
    }
    give_back(l, s);
    return reply;
}
