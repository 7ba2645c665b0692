/* Placeholders of the origin a request was sent to last; empty before that. Durations that have not
 * ended yet are those so far. */
#include "proxy/loop/loop.h"
#include "proxy/route/placeholder.h"

static struct slice hostport(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return ex->origin_text;
}

/* Where the port begins in "host:port"; none in a path. */
static size_t colon_of(struct slice text)
{
    return slice_starts(text, S("/")) ? SLICE_NPOS : slice_rfind(text, ':');
}

static struct slice host(struct exchange *ex, struct slice arg)
{
    (void)arg;
    struct slice text = slice_upto(ex->origin_text, colon_of(ex->origin_text));
    return slice_starts(text, S("[")) ? slice_of(text.p + 1, text.n - 2) : text;
}

static struct slice port(struct exchange *ex, struct slice arg)
{
    (void)arg;
    size_t colon = colon_of(ex->origin_text);
    return colon == SLICE_NPOS ? S("") : slice_from(ex->origin_text, colon + 1);
}

static struct slice status(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return ex->origin_status ? arena_printf(&ex->arena, "%d", ex->origin_status) : S("");
}

/* "404 Not Found" */
static struct slice status_text(struct exchange *ex, struct slice arg)
{
    (void)arg;
    struct slice reason = http_reason(ex->origin_status);
    return !ex->origin_status ? S("")
           : !reason.n        ? status(ex, arg)
                              : arena_printf(&ex->arena, "%d %.*s", ex->origin_status,
                                             SLICE_ARG(reason));
}

static struct slice header(struct exchange *ex, struct slice name)
{
    const struct field *f = fields_find(&ex->origin_fields, name);
    return f ? f->value : S("");
}

/* ---- what it took; in whole milliseconds, as loops count ------------------------------------- */

/* As Go writes durations. Empty: not known yet. */
static struct slice duration(struct exchange *ex, int64_t from_ms, int64_t to_ms, bool as_number)
{
    if (!from_ms || !to_ms) {
        return S("");
    }
    long long ms = to_ms - from_ms;
    return as_number   ? arena_printf(&ex->arena, "%lld", ms)
           : ms < 1000 ? arena_printf(&ex->arena, "%lldms", ms)
                       : arena_printf(&ex->arena, "%lld.%03llds", ms / 1000, ms % 1000);
}

static struct slice latency(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return duration(ex, ex->origin_attempt_ms, ex->origin_answered_ms, false);
}

static struct slice latency_ms(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return duration(ex, ex->origin_attempt_ms, ex->origin_answered_ms, true);
}

static struct slice upstream_duration(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return duration(ex, ex->origin_attempt_ms, loop_now_ms(ex->loop), false);
}

static struct slice upstream_duration_ms(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return duration(ex, ex->origin_attempt_ms, loop_now_ms(ex->loop), true);
}

static struct slice whole_duration(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return duration(ex, ex->origin_started_ms, loop_now_ms(ex->loop), false);
}

static struct slice whole_duration_ms(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return duration(ex, ex->origin_started_ms, loop_now_ms(ex->loop), true);
}

static struct slice number(struct exchange *ex, unsigned n)
{
    return ex->origin_attempt_ms ? arena_printf(&ex->arena, "%u", n) : S("");
}

static struct slice retries(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return number(ex, ex->origin_retries);
}

static struct slice requests(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return number(ex, ex->origin_requests);
}

static struct slice max_requests(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return number(ex, ex->origin_requests_max);
}

static struct slice fails(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return number(ex, ex->origin_fails);
}

static struct slice is_transport_error(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return ex->origin_failed ? S("true") : S("false");
}

static const struct placeholder rows[] = {
    {.name = "http.reverse_proxy.upstream.hostport", .value = hostport, .of_origin = true},
    {.name = "http.reverse_proxy.upstream.address", .value = hostport, .of_origin = true},
    {.name = "http.reverse_proxy.upstream.host", .value = host, .of_origin = true},
    {.name = "http.reverse_proxy.upstream.port", .value = port, .of_origin = true},
    {.name = "http.reverse_proxy.upstream.latency", .value = latency},
    {.name = "http.reverse_proxy.upstream.latency_ms", .value = latency_ms},
    {.name = "http.reverse_proxy.upstream.duration", .value = upstream_duration},
    {.name = "http.reverse_proxy.upstream.duration_ms", .value = upstream_duration_ms},
    {.name = "http.reverse_proxy.upstream.requests", .value = requests, .of_origin = true},
    {.name = "http.reverse_proxy.upstream.max_requests", .value = max_requests, .of_origin = true},
    {.name = "http.reverse_proxy.upstream.fails", .value = fails, .of_origin = true},
    {.name = "http.reverse_proxy.is_transport_error", .value = is_transport_error},
    {.name = "http.reverse_proxy.duration", .value = whole_duration},
    {.name = "http.reverse_proxy.duration_ms", .value = whole_duration_ms},
    {.name = "http.reverse_proxy.retries", .value = retries, .of_origin = true},
    {.name = "http.reverse_proxy.status_code", .value = status},
    {.name = "http.reverse_proxy.status_text", .value = status_text},
    {.name = "http.reverse_proxy.header.", .value = header},
};

const struct placeholder_table placeholders_of_origin = {rows, ARRAY_LEN(rows)};
