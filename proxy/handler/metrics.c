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
#include "proxy/base/map.h"
#include "proxy/base/mem.h"
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"

#define SERIES_MAX 256u /* of method and status, for each host; then they are counted together */
#define HOSTS_MAX 1000u /* of a worker; then they are "_other" */
#define PAGE_MAX ((size_t)64 << 20)
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

/* Lists grow at their front, by their worker alone; whoever prints reads them meanwhile. */
struct series {
    struct series *next; /* const once it is in the list */
    int code;
    enum http_method method;
    struct histogram duration;
    struct histogram first_byte;
    struct histogram request_size;
    struct histogram response_size;
};

struct metrics_host {
    struct metrics_host *next; /* likewise */
    struct slice name;         /* owned; empty: requests are not counted by host */
    counter begun;
    counter ended;
    counter errors;
    struct series *_Atomic series;
    unsigned series_count;
};

struct block {
    struct block *next; /* under blocks_lock */
    struct metrics_host *_Atomic hosts;
    unsigned host_count;
    struct map by_name; /* the worker's own */
};

static pthread_mutex_t blocks_lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *blocks; /* under blocks_lock; never freed */
static _Thread_local struct block *own;

static pthread_mutex_t origins_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list proxies = {&proxies, &proxies}; /* of metrics_origins, under origins_lock */
static _Atomic bool config_ok;
static _Atomic int64_t config_ok_ms; /* wall clock; 0: not yet */

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

static struct metrics_host *find_host(struct block *b, struct slice name)
{
    struct metrics_host *h = map_get(&b->by_name, name);
    if (h) {
        return h;
    }
    if (b->host_count >= HOSTS_MAX && !slice_eq(name, S("_other"))) {
        return find_host(b, S("_other"));
    }
    h = calloc(1, sizeof(*h));
    char *copy = h ? malloc(name.n + 1) : NULL;
    if (!copy || !map_reserve(&b->by_name)) {
        free(copy);
        free(h);
        return NULL;
    }
    memcpy(copy, name.p, name.n);
    h->name = slice_of(copy, name.n);
    h->next = atomic_load_explicit(&b->hosts, memory_order_relaxed);
    (void)map_put(&b->by_name, h->name, h);
    b->host_count++;
    atomic_store_explicit(&b->hosts, h, memory_order_release);
    return h;
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

/* NULL: memory. */
static struct series *series_of(struct metrics_host *h, enum http_method method, int code)
{
    struct series *first = atomic_load_explicit(&h->series, memory_order_relaxed);
    if (h->series_count >= SERIES_MAX) {
        code = 999;
        method = METHOD_OTHER;
    }
    for (struct series *s = first; s; s = s->next) {
        if (s->code == code && s->method == method) {
            return s;
        }
    }
    struct series *s = calloc(1, sizeof(*s));
    if (s) {
        s->code = code;
        s->method = method;
        s->next = first;
        h->series_count++;
        atomic_store_explicit(&h->series, s, memory_order_release);
    }
    return s;
}

struct metrics_host *metrics_begin(struct slice host)
{
    struct block *b = own_block();
    struct metrics_host *h = b ? find_host(b, host) : NULL;
    if (h) {
        add(&h->begun, 1);
    }
    return h;
}

static void observe_time(struct histogram *h, int64_t us)
{
    uint64_t n = us > 0 ? (uint64_t)us : 0;
    observe(h, time_bounds, ARRAY_LEN(time_bounds), (double)n / 1e6, n);
}

static void observe_size(struct histogram *h, uint64_t bytes)
{
    observe(h, size_bounds, ARRAY_LEN(size_bounds), (double)bytes, bytes);
}

void metrics_end(struct metrics_host *h, const struct exchange *ex, bool failed,
                 int64_t responded_us, int64_t now_us)
{
    int status = ex->response_started ? ex->res.status : 499;
    add(&h->ended, 1);
    if (failed) {
        add(&h->errors, 1);
    }
    struct series *s = series_of(h, ex->original.method, status);
    if (!s) {
        return;
    }
    observe_time(&s->duration, now_us - ex->started_us);
    observe_time(&s->first_byte, (responded_us ? responded_us : now_us) - ex->started_us);
    observe_size(&s->request_size, ex->received_bytes);
    observe_size(&s->response_size, ex->sent_bytes);
}

void metrics_note_config(bool ok)
{
    atomic_store(&config_ok, ok);
    if (ok) {
        atomic_store(&config_ok_ms, clock_wall_ms());
    }
}

void metrics_origins_add(struct metrics_origins *o)
{
    pthread_mutex_lock(&origins_lock);
    list_push_back(&proxies, &o->node);
    pthread_mutex_unlock(&origins_lock);
}

void metrics_origins_remove(struct metrics_origins *o)
{
    pthread_mutex_lock(&origins_lock);
    list_remove(&o->node);
    pthread_mutex_unlock(&origins_lock);
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

static void sum_up_host(struct metrics_host *to, const struct metrics_host *from)
{
    add(&to->begun, get(&from->begun));
    add(&to->ended, get(&from->ended));
    add(&to->errors, get(&from->errors));
    for (const struct series *s = atomic_load_explicit(&from->series, memory_order_acquire); s;
         s = s->next) {
        struct series *sum = series_of(to, s->method, s->code);
        if (sum) {
            add_histogram(&sum->duration, &s->duration);
            add_histogram(&sum->first_byte, &s->first_byte);
            add_histogram(&sum->request_size, &s->request_size);
            add_histogram(&sum->response_size, &s->response_size);
        }
    }
}

/* All workers' counters in one block. */
static void sum_up(struct block *total)
{
    pthread_mutex_lock(&blocks_lock);
    for (const struct block *b = blocks; b; b = b->next) {
        for (const struct metrics_host *h = atomic_load_explicit(&b->hosts, memory_order_acquire);
             h; h = h->next) {
            struct metrics_host *to = find_host(total, h->name);
            if (to) {
                sum_up_host(to, h);
            }
        }
    }
    pthread_mutex_unlock(&blocks_lock);
}

static void free_block(struct block *b)
{
    struct metrics_host *h = atomic_load(&b->hosts);
    while (h) {
        struct metrics_host *next_host = h->next;
        struct series *s = atomic_load(&h->series);
        while (s) {
            struct series *next = s->next;
            free(s);
            s = next;
        }
        free((void *)(uintptr_t)h->name.p);
        free(h);
        h = next_host;
    }
    map_fini(&b->by_name);
    free(b);
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

static void print_labels(struct dstr *out, const struct metrics_host *h)
{
    dstr_append(out, S(LABELS));
    if (h->name.n) {
        dstr_append(out, S(",host="));
        dstr_json(out, h->name);
    }
}

static void print_histogram(struct dstr *out, const char *name, struct slice labels,
                            const struct histogram *h, const double *bounds, size_t count,
                            double unit)
{
    uint64_t below = 0;
    for (size_t i = 0; i < count; i++) {
        below += get(&h->buckets[i]);
        dstr_printf(out, "%s_bucket{%.*s,le=\"%.10g\"} %llu\n", name, SLICE_ARG(labels),
                    bounds[i], (unsigned long long)below);
    }
    dstr_printf(out, "%s_bucket{%.*s,le=\"+Inf\"} %llu\n%s_sum{%.*s} %.10g\n%s_count{%.*s} %llu\n",
                name, SLICE_ARG(labels), (unsigned long long)get(&h->count), name,
                SLICE_ARG(labels), (double)get(&h->sum) / unit, name, SLICE_ARG(labels),
                (unsigned long long)get(&h->count));
}

/* which: where in struct series the histogram is. */
static void print_family(struct dstr *out, const struct block *total, const char *name,
                         const char *help, size_t which, bool times)
{
    struct dstr labels;
    dstr_init(&labels, 1024);
    print_head(out, name, "histogram", help);
    for (const struct metrics_host *h = atomic_load(&total->hosts); h; h = h->next) {
        for (const struct series *s = atomic_load(&h->series); s; s = s->next) {
            dstr_reset(&labels);
            dstr_printf(&labels, "code=\"%d\",", s->code);
            print_labels(&labels, h);
            dstr_printf(&labels, ",method=\"%s\"", method_label(s->method));
            print_histogram(out, name, dstr_slice(&labels),
                            (const struct histogram *)(const void *)((const char *)s + which),
                            times ? time_bounds : size_bounds,
                            times ? ARRAY_LEN(time_bounds) : ARRAY_LEN(size_bounds),
                            times ? 1e6 : 1);
        }
    }
    dstr_fini(&labels);
}

enum number { IN_FLIGHT, REQUESTS, ERRORS };

static void print_numbers(struct dstr *out, const struct block *total, const char *name,
                          const char *type, const char *help, enum number which)
{
    print_head(out, name, type, help);
    for (const struct metrics_host *h = atomic_load(&total->hosts); h; h = h->next) {
        uint64_t ended = get(&h->ended);
        uint64_t begun = get(&h->begun);
        uint64_t value = which == REQUESTS ? begun
                         : which == ERRORS ? get(&h->errors)
                                           : (begun > ended ? begun - ended : 0);
        dstr_printf(out, "%s{", name);
        print_labels(out, h);
        dstr_printf(out, "} %llu\n", (unsigned long long)value);
    }
}

/* 1 or 0 for each origin that is configured. */
static void print_origins(struct dstr *out)
{
    int64_t now_ms = clock_mono_ms();
    print_head(out, "caddy_reverse_proxy_upstreams_healthy", "gauge",
               "Health status of reverse proxy upstreams.");
    pthread_mutex_lock(&origins_lock);
    LIST_EACH(node, &proxies) {
        const struct metrics_origins *p = LIST_ENTRY(node, struct metrics_origins, node);
        for (size_t i = 0; i < p->count; i++) {
            dstr_append(out, S("caddy_reverse_proxy_upstreams_healthy{upstream="));
            dstr_json(out, p->origins[i]->text);
            dstr_printf(out, "} %d\n", health_usable(&p->origins[i]->health, 0, now_ms));
        }
    }
    pthread_mutex_unlock(&origins_lock);
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
    if (!atomic_load(&total->hosts)) {
        (void)find_host(total, S("")); /* nothing yet is 0 */
    }
    print_numbers(out, total, "caddy_http_requests_in_flight", "gauge",
                  "Number of requests currently handled by this server.", IN_FLIGHT);
    print_numbers(out, total, "caddy_http_requests_total", "counter",
                  "Counter of HTTP(S) requests made.", REQUESTS);
    print_numbers(out, total, "caddy_http_request_errors_total", "counter",
                  "Number of requests resulting in middleware errors.", ERRORS);
    print_family(out, total, "caddy_http_request_duration_seconds",
                 "Histogram of round-trip request durations.", offsetof(struct series, duration),
                 true);
    print_family(out, total, "caddy_http_response_duration_seconds",
                 "Histogram of times to first byte in response bodies.",
                 offsetof(struct series, first_byte), true);
    print_family(out, total, "caddy_http_request_size_bytes",
                 "Total size of the request. Includes body", offsetof(struct series, request_size),
                 false);
    print_family(out, total, "caddy_http_response_size_bytes", "Size of the returned response.",
                 offsetof(struct series, response_size), false);
    free_block(total);
    print_origins(out);
    print_number(out, "caddy_config_last_reload_successful", "gauge",
                 "Whether the last configuration reload attempt was successful.", "",
                 atomic_load(&config_ok));
    print_number(out, "caddy_config_last_reload_success_timestamp_seconds", "gauge",
                 "Timestamp of the last successful configuration reload.", "",
                 (double)atomic_load(&config_ok_ms) / 1000);
    print_number(out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
                 "", resident_bytes());
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
