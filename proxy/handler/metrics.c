/* metrics [matcher] [{ disable_openmetrics }]
 *
 * Answers with what has been counted, in Prometheus's text format; requests are counted where the
 * global option metrics (or servers { metrics }) says so.
 *
 * The counters are a block of each worker's own, written by it alone and read by whoever prints;
 * blocks stay when their worker ends, because counters never go back. */
#include "proxy/handler/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/mem.h"
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"

#define SERIES_MAX 256u /* of method and status; what comes later is counted together */
#define PAGE_MAX ((size_t)8 << 20)
#define LABELS "handler=\"subroute\",server=\"srv0\""

static const double time_bounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
static const double size_bounds[] = {256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304};

#define BUCKETS_MAX ARRAY_LEN(time_bounds)

typedef _Atomic uint64_t counter;

struct histogram {
    counter buckets[BUCKETS_MAX]; /* not cumulative; what is above the last is in count only */
    counter count;
    counter sum; /* microseconds or bytes */
};

struct series {
    _Atomic int code; /* 0: free */
    enum http_method method;
    struct histogram duration;
    struct histogram request_size;
    struct histogram response_size;
};

struct block {
    struct block *next; /* under blocks_lock */
    counter begun;
    counter ended;
    counter errors;
    struct series series[SERIES_MAX];
};

static pthread_mutex_t blocks_lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *blocks; /* under blocks_lock; never freed */
static _Thread_local struct block *own;

/* ---- counting -------------------------------------------------------------------------------- */

static struct block *own_block(void)
{
    if (!own) {
        own = calloc(1, sizeof(*own));
        if (own) {
            pthread_mutex_lock(&blocks_lock);
            own->next = blocks;
            blocks = own;
            pthread_mutex_unlock(&blocks_lock);
        }
    }
    return own;
}

static void add(counter *c, uint64_t n)
{
    atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

static uint64_t get(const counter *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

static void observe(struct histogram *h, const double *bounds, size_t count, double value,
                    uint64_t sum)
{
    size_t i = 0;
    while (i < count && value > bounds[i]) {
        i++;
    }
    if (i < count) {
        add(&h->buckets[i], 1);
    }
    add(&h->count, 1);
    add(&h->sum, sum);
}

static struct series *series_of(struct block *b, enum http_method method, int code)
{
    for (size_t i = 0; i + 1 < SERIES_MAX; i++) {
        struct series *s = &b->series[i];
        int there = atomic_load_explicit(&s->code, memory_order_relaxed);
        if (there == code && s->method == method) {
            return s;
        }
        if (!there) {
            s->method = method;
            atomic_store_explicit(&s->code, code, memory_order_release);
            return s;
        }
    }
    atomic_store_explicit(&b->series[SERIES_MAX - 1].code, 999, memory_order_release);
    return &b->series[SERIES_MAX - 1];
}

void metrics_begin(void)
{
    struct block *b = own_block();
    if (b) {
        add(&b->begun, 1);
    }
}

void metrics_end(const struct exchange *ex, bool failed, int64_t now_us)
{
    struct block *b = own;
    if (!b) {
        return;
    }
    uint64_t us = (uint64_t)(now_us - ex->started_us);
    int status = ex->response_started ? ex->res.status : 499;
    struct series *s = series_of(b, ex->original.method, status);
    add(&b->ended, 1);
    if (failed) {
        add(&b->errors, 1);
    }
    observe(&s->duration, time_bounds, ARRAY_LEN(time_bounds), (double)us / 1e6, us);
    observe(&s->request_size, size_bounds, ARRAY_LEN(size_bounds), (double)ex->received_bytes,
            ex->received_bytes);
    observe(&s->response_size, size_bounds, ARRAY_LEN(size_bounds), (double)ex->sent_bytes,
            ex->sent_bytes);
}

/* ---- printing -------------------------------------------------------------------------------- */

static void add_histogram(struct histogram *to, const struct histogram *from)
{
    for (size_t i = 0; i < BUCKETS_MAX; i++) {
        add(&to->buckets[i], get(&from->buckets[i]));
    }
    add(&to->count, get(&from->count));
    add(&to->sum, get(&from->sum));
}

/* All workers' counters in one block. */
static void sum_up(struct block *total)
{
    pthread_mutex_lock(&blocks_lock);
    for (const struct block *b = blocks; b; b = b->next) {
        add(&total->begun, get(&b->begun));
        add(&total->ended, get(&b->ended));
        add(&total->errors, get(&b->errors));
        for (size_t i = 0; i < SERIES_MAX; i++) {
            const struct series *from = &b->series[i];
            int code = atomic_load_explicit(&from->code, memory_order_acquire);
            if (code) {
                struct series *to = series_of(total, from->method, code);
                add_histogram(&to->duration, &from->duration);
                add_histogram(&to->request_size, &from->request_size);
                add_histogram(&to->response_size, &from->response_size);
            }
        }
    }
    pthread_mutex_unlock(&blocks_lock);
}

static const char *method_label(enum http_method m)
{
    static const char *const names[] = {"OTHER",  "GET",   "HEAD",    "POST",    "PUT",
                                        "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE"};
    return (size_t)m < ARRAY_LEN(names) ? names[m] : "OTHER";
}

static void print_head(struct dstr *out, const char *name, const char *type, const char *help)
{
    dstr_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void print_histogram(struct dstr *out, const char *name, const struct series *s,
                            const struct histogram *h, const double *bounds, size_t count,
                            double unit)
{
    char labels[128];
    uint64_t below = 0;
    (void)snprintf(labels, sizeof(labels), "code=\"%d\"," LABELS ",method=\"%s\"",
                   atomic_load(&s->code), method_label(s->method));
    for (size_t i = 0; i < count; i++) {
        below += get(&h->buckets[i]);
        dstr_printf(out, "%s_bucket{%s,le=\"%.10g\"} %llu\n", name, labels, bounds[i],
                    (unsigned long long)below);
    }
    dstr_printf(out, "%s_bucket{%s,le=\"+Inf\"} %llu\n%s_sum{%s} %.10g\n%s_count{%s} %llu\n", name,
                labels, (unsigned long long)get(&h->count), name, labels,
                (double)get(&h->sum) / unit, name, labels, (unsigned long long)get(&h->count));
}

enum which { DURATION, REQUEST_SIZE, RESPONSE_SIZE };

static void print_family(struct dstr *out, const struct block *total, const char *name,
                         const char *help, enum which which)
{
    print_head(out, name, "histogram", help);
    for (size_t i = 0; i < SERIES_MAX; i++) {
        const struct series *s = &total->series[i];
        if (!atomic_load(&s->code)) {
            continue;
        }
        const struct histogram *h = which == DURATION       ? &s->duration
                                    : which == REQUEST_SIZE ? &s->request_size
                                                            : &s->response_size;
        print_histogram(out, name, s, h, which == DURATION ? time_bounds : size_bounds,
                        which == DURATION ? ARRAY_LEN(time_bounds) : ARRAY_LEN(size_bounds),
                        which == DURATION ? 1e6 : 1);
    }
}

static void print_number(struct dstr *out, const char *name, const char *type, const char *help,
                         const char *labels, double value)
{
    print_head(out, name, type, help);
    dstr_printf(out, "%s%s %.16g\n", name, labels, value);
}

/* Resident memory; from /proc, which waits for no disk. */
static double resident_bytes(void)
{
    unsigned long long size = 0;
    char text[128] = "";
    FILE *f = fopen("/proc/self/statm", "re");
    size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
    if (f) {
        (void)fclose(f);
    }
    struct slice rest = slice_of(text, n);
    struct slice word;
    uint64_t pages = 0;
    if (slice_cut(&rest, ' ', &word) && slice_cut(&rest, ' ', &word) &&
        slice_u64(word, UINT64_MAX / 65536, &pages)) {
        size = pages * (unsigned long long)sysconf(_SC_PAGESIZE);
    }
    return (double)size;
}

void metrics_print(struct dstr *out)
{
    struct block *total = mem_zalloc(sizeof(*total));
    sum_up(total);
    uint64_t ended = get(&total->ended);
    uint64_t begun = get(&total->begun);
    print_number(out, "caddy_http_requests_in_flight", "gauge",
                 "Number of requests currently handled by this server.", "{" LABELS "}",
                 begun > ended ? (double)(begun - ended) : 0);
    print_number(out, "caddy_http_requests_total", "counter",
                 "Counter of HTTP(S) requests made.", "{" LABELS "}", (double)begun);
    print_number(out, "caddy_http_request_errors_total", "counter",
                 "Number of requests resulting in middleware errors.", "{" LABELS "}",
                 (double)get(&total->errors));
    print_family(out, total, "caddy_http_request_duration_seconds",
                 "Histogram of round-trip request durations.", DURATION);
    print_family(out, total, "caddy_http_request_size_bytes",
                 "Total size of the request. Includes body", REQUEST_SIZE);
    print_family(out, total, "caddy_http_response_size_bytes", "Size of the returned response.",
                 RESPONSE_SIZE);
    print_number(out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
                 "", resident_bytes());
    free(total);
}

/* ---- the directive --------------------------------------------------------------------------- */

static enum handler_result metrics_request(const void *instance, struct exchange *ex)
{
    (void)instance;
    struct dstr page;
    dstr_init(&page, PAGE_MAX);
    metrics_print(&page);
    bool ok = !page.failed &&
              exchange_simple(ex, 200, S("text/plain; version=0.0.4; charset=utf-8"),
                              dstr_slice(&page));
    dstr_fini(&page);
    if (!ok) {
        return chain_error(ex, 503, S("out of memory"));
    }
    exchange_respond(ex);
    return HANDLER_DONE;
}

static const struct handler_ops metrics_ops = {
    .name = "metrics", .nature = HANDLER_ANSWERS, .on_request = metrics_request};

bool metrics_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                   size_t count, struct handler *out)
{
    (void)args;
    out->ops = &metrics_ops;
    bool ok = expect_args(b, d, count, 0, 0);
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        if (!slice_eq(o->name.text, S("disable_openmetrics"))) { /* we speak the other one only */
            cf_error(b->diags, &o->name, "\"metrics\" has no option \"%.*s\"",
                     SLICE_ARG(o->name.text));
            ok = false;
        }
    }
    return ok;
}
