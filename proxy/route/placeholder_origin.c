/* Placeholders of the origin a request was sent to last; empty before that. */
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

static struct slice header(struct exchange *ex, struct slice name)
{
    const struct field *f = fields_find(&ex->origin_fields, name);
    return f ? f->value : S("");
}

static const struct placeholder rows[] = {
    {.name = "http.reverse_proxy.upstream.hostport", .value = hostport, .of_origin = true},
    {.name = "http.reverse_proxy.upstream.address", .value = hostport, .of_origin = true},
    {.name = "http.reverse_proxy.upstream.host", .value = host, .of_origin = true},
    {.name = "http.reverse_proxy.upstream.port", .value = port, .of_origin = true},
    {.name = "http.reverse_proxy.status_code", .value = status},
    {.name = "http.reverse_proxy.header.", .value = header},
};

const struct placeholder_table placeholders_of_origin = {rows, ARRAY_LEN(rows)};
