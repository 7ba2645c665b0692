/* Access-log lines, with Caddy's field names; see access_log.h. In: a finished exchange. Out: lines
 * to the sinks, from a buffer that each thread keeps. */
#include "proxy/handler/access_log.h"

#include <stdlib.h>

#include "proxy/base/clock.h"
#include "proxy/net/stream.h"
#include "proxy/route/vars.h"

#define LINE_MAX_BYTES ((size_t)256 * 1024)

static bool is_secret(enum field_id id)
{
    return id == FIELD_AUTHORIZATION || id == FIELD_COOKIE || id == FIELD_SET_COOKIE ||
           id == FIELD_PROXY_AUTHORIZATION;
}

/* "user-agent" -> "User-Agent", as Caddy writes names. */
static void canonical_name(struct dstr *out, struct slice name)
{
    char buf[128];
    bool up = true;
    size_t n = name.n < sizeof(buf) ? name.n : sizeof(buf);
    for (size_t i = 0; i < n; i++) {
        char c = ascii_lower(name.p[i]);
        buf[i] = up && c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
        up = c == '-';
    }
    dstr_json(out, slice_of(buf, n));
}

static bool named_before(const struct fields *f, unsigned i)
{
    for (unsigned j = 0; j < i; j++) {
        if (slice_eq_case(f->items[j].name, f->items[i].name)) {
            return true;
        }
    }
    return false;
}

/* {"Name":["value",...],...} */
static void write_fields(struct dstr *out, const struct fields *f)
{
    bool first = true;
    dstr_byte(out, '{');
    for (unsigned i = 0; i < f->count; i++) {
        if (f->items[i].id == FIELD_HOST || named_before(f, i)) {
            continue;
        }
        dstr_append(out, first ? S("") : S(","));
        first = false;
        canonical_name(out, f->items[i].name);
        dstr_append(out, S(":["));
        for (unsigned j = i; j < f->count; j++) {
            if (j == i || slice_eq_case(f->items[j].name, f->items[i].name)) {
                dstr_append(out, j == i ? S("") : S(","));
                dstr_json(out, is_secret(f->items[j].id) ? S("REDACTED") : f->items[j].value);
            }
        }
        dstr_byte(out, ']');
    }
    dstr_byte(out, '}');
}

/* The registry's number, as Caddy logs it; the name where it is none of the usual ones. */
static void write_cipher(struct dstr *out, struct slice name)
{
    static const struct {
        struct slice name;
        unsigned number;
    } suites[] = {
        {S_INIT("TLS_AES_128_GCM_SHA256"), 0x1301},
        {S_INIT("TLS_AES_256_GCM_SHA384"), 0x1302},
        {S_INIT("TLS_CHACHA20_POLY1305_SHA256"), 0x1303},
        {S_INIT("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"), 0xc02b},
        {S_INIT("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"), 0xc02c},
        {S_INIT("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), 0xc02f},
        {S_INIT("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"), 0xc030},
        {S_INIT("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"), 0xcca8},
        {S_INIT("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"), 0xcca9},
    };
    for (size_t i = 0; i < ARRAY_LEN(suites); i++) {
        if (slice_eq(name, suites[i].name)) {
            dstr_printf(out, "%u", suites[i].number);
            return;
        }
    }
    dstr_json(out, name);
}

static void write_tls(struct dstr *out, const struct stream_tls *tls)
{
    dstr_printf(out, ",\"tls\":{\"resumed\":%s,\"version\":", tls->resumed ? "true" : "false");
    dstr_append(out, slice_eq(tls->version, S("tls1.3")) ? S("772") : S("771"));
    dstr_append(out, S(",\"cipher_suite\":"));
    write_cipher(out, tls->cipher);
    dstr_append(out, S(",\"proto\":"));
    dstr_json(out, tls->alpn);
    dstr_append(out, S(",\"server_name\":"));
    dstr_json(out, tls->server_name);
    if (tls->client) {
        dstr_append(out, S(",\"client_common_name\":"));
        dstr_json(out, tls->client->common_name);
        dstr_append(out, S(",\"client_serial\":"));
        dstr_json(out, tls->client->serial);
    }
    dstr_byte(out, '}');
}

static void write_request(struct dstr *out, const struct exchange *ex)
{
    char buf[ADDR_TEXT_BYTES];
    struct slice peer = addr_host_text(ex->client.peer, buf);
    dstr_append(out, S(",\"request\":{\"remote_ip\":"));
    dstr_json(out, peer);
    dstr_printf(out, ",\"remote_port\":\"%u\",\"client_ip\":", addr_port(ex->client.peer));
    dstr_json(out, addr_host_text(ex->client_addr, buf));
    dstr_append(out, S(",\"proto\":"));
    dstr_json(out, http_version_text(ex->req.version));
    dstr_append(out, S(",\"method\":"));
    dstr_json(out, ex->original.method_text);
    dstr_append(out, S(",\"host\":"));
    dstr_json(out, ex->req.authority);
    dstr_append(out, S(",\"uri\":"));
    dstr_json(out, ex->original.target);
    dstr_append(out, S(",\"headers\":"));
    write_fields(out, &ex->req.fields);
    if (ex->client.tls) {
        write_tls(out, ex->client.tls);
    }
    dstr_byte(out, '}');
}

/* The status a log shows: 499 when the client left before there was an answer, as in nginx. */
static int logged_status(const struct exchange *ex)
{
    return ex->response_started ? ex->res.status : ex->gone ? 499 : ex->res.status;
}

static enum log_level level_of(const struct exchange *ex)
{
    return logged_status(ex) >= 500 ? LOG_ERROR : LOG_INFO;
}

/* What the configuration adds to the line: in append, and by log_append. */
static void write_added(struct dstr *out, const struct log_config *config,
                        const struct log_notes *notes, struct exchange *ex)
{
    for (const struct log_added *f = config->format.added; f; f = f->next) {
        dstr_byte(out, ',');
        dstr_json(out, f->key);
        dstr_byte(out, ':');
        dstr_json(out, template_eval(f->value, ex));
    }
    for (const struct log_note *n = notes->first; n; n = n->next) {
        dstr_byte(out, ',');
        dstr_json(out, n->key);
        dstr_byte(out, ':');
        dstr_json(out, n->value ? template_eval(n->value, ex) : n->text);
    }
}

static void json_line(struct dstr *out, const struct log_config *config,
                      const struct log_notes *notes, struct exchange *ex, int64_t duration_us)
{
    int64_t now = clock_wall_ms();
    int status = logged_status(ex);
    dstr_printf(out, "{\"level\":\"%s\",\"ts\":%lld.%03d,\"logger\":\"http.log.access.%.*s\","
                     "\"msg\":\"handled request\"",
                status >= 500 ? "error" : "info", (long long)(now / 1000), (int)(now % 1000),
                SLICE_ARG(config->name));
    write_request(out, ex);
    dstr_printf(out, ",\"bytes_read\":%llu,\"user_id\":", (unsigned long long)ex->received_bytes);
    dstr_json(out, vars_value(ex, S("http.auth.user.id")));
    dstr_printf(out, ",\"duration\":%lld.%06d,\"size\":%llu,\"status\":%d,\"resp_headers\":",
                (long long)(duration_us / 1000000), (int)(duration_us % 1000000),
                (unsigned long long)ex->sent_bytes, status);
    write_fields(out, &ex->res.fields);
    if (ex->reason != END_NONE || ex->error_detail.n) {
        dstr_append(out, S(",\"error\":"));
        dstr_json(out, ex->error_detail.n ? ex->error_detail
                                          : slice_str(end_reason_text(ex->reason)));
    }
    write_added(out, config, notes, ex);
    dstr_append(out, S("}\n"));
}

static void console_line(struct dstr *out, const struct log_config *config,
                         const struct exchange *ex, int64_t duration_us)
{
    char buf[ADDR_TEXT_BYTES];
    struct slice host = addr_host_text(ex->client.peer, buf);
    struct log_field fields[] = {
        LOG_S("remote_ip", host),
        LOG_S("method", ex->original.method_text),
        LOG_S("host", ex->req.authority),
        LOG_S("uri", ex->original.target),
        LOG_I("status", logged_status(ex)),
        LOG_I("size", ex->sent_bytes),
        LOG_I("duration_us", duration_us),
        LOG_S("error", ex->error_detail),
    };
    char logger[160];
    size_t n = slice_upto(config->name, 128).n;
    memcpy(logger, "http.log.access.", 16);
    memcpy(logger + 16, config->name.p, n);
    logger[16 + n] = '\0';
    log_line(out, LOG_CONSOLE, level_of(ex), logger, "handled request", fields,
             ARRAY_LEN(fields) - (ex->error_detail.n ? 0 : 1));
}

/* In a line of words and quotes nothing from outside may look like either. */
static void common_text(struct dstr *out, struct slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c < ' ' || c == '"' || c == '\\' || c == 0x7f) {
            dstr_printf(out, "\\x%02x", c);
        } else {
            dstr_byte(out, text.p[i]);
        }
    }
}

static void common_quoted(struct dstr *out, const struct exchange *ex, enum field_id id)
{
    const struct field *f = fields_find_id(&ex->req.fields, id);
    dstr_append(out, S(" \""));
    common_text(out, f ? f->value : S("-"));
    dstr_byte(out, '"');
}

/* The common log format: host ident user [time] "request" status size. */
static void common_line(struct dstr *out, const struct log_config *config,
                        const struct exchange *ex)
{
    char buf[ADDR_TEXT_BYTES];
    struct slice user = vars_value(ex, S("http.auth.user.id"));
    dstr_append(out, addr_host_text(ex->client_addr, buf));
    dstr_append(out, S(" - "));
    common_text(out, user.n ? user : S("-"));
    dstr_append(out, S(" ["));
    log_common_time(out, clock_wall_ms());
    dstr_append(out, S("] \""));
    common_text(out, ex->original.method_text);
    dstr_byte(out, ' ');
    common_text(out, ex->original.target);
    dstr_byte(out, ' ');
    dstr_append(out, http_version_text(ex->req.version));
    dstr_printf(out, "\" %d %llu", logged_status(ex), (unsigned long long)ex->sent_bytes);
    if (config->format.encoding == ENCODE_COMBINED) {
        common_quoted(out, ex, FIELD_REFERER);
        common_quoted(out, ex, FIELD_USER_AGENT);
    }
    dstr_byte(out, '\n');
}

/* ---- which ----------------------------------------------------------------------------------- */

static bool host_fits(const struct site_log *l, struct slice host)
{
    for (size_t i = 0; i < l->host_count; i++) {
        struct slice h = l->hosts[i];
        size_t dot = slice_find(host, '.');
        bool wild = slice_starts(h, S("*.")) && dot != SLICE_NPOS &&
                    slice_eq(slice_from(h, 1), slice_from(host, dot));
        if (wild || slice_eq(h, host)) {
            return true;
        }
    }
    return l->host_count == 0;
}

void access_logs_choose(struct access_logs *a, const struct site_log *of_site,
                        const struct log_notes *notes, const struct exchange *ex)
{
    a->chosen = true;
    a->count = 0;
    if (notes->skip) {
        return;
    }
    for (size_t i = 0; i < notes->named_count && a->count < ACCESS_LOGS_MAX; i++) {
        a->items[a->count++] = notes->named[i];
    }
    for (const struct site_log *l = of_site; l && !notes->named && a->count < ACCESS_LOGS_MAX;
         l = l->next) {
        if (!l->no_hostname && host_fits(l, ex->req.host)) {
            a->items[a->count++] = l->log;
        }
    }
}

static bool own_fields(struct exchange *ex, struct fields *fields)
{
    for (unsigned i = 0; i < fields->count; i++) {
        fields->items[i].name = arena_copy(&ex->arena, fields->items[i].name);
        fields->items[i].value = arena_copy(&ex->arena, fields->items[i].value);
    }
    return !ex->arena.failed;
}

/* Fields, variables and messages may be text of the configuration. */
bool access_logs_hold(struct access_logs *a, struct log_notes *notes, struct exchange *ex)
{
    if (!a->count) {
        return true;
    }
    for (struct log_note *n = notes->first; n; n = n->next) {
        n->text = n->value ? arena_copy(&ex->arena, template_eval(n->value, ex)) : n->text;
        n->key = arena_copy(&ex->arena, n->key);
        n->value = NULL;
    }
    ex->error_detail = arena_copy(&ex->arena, ex->error_detail);
    ex->origin_text = arena_copy(&ex->arena, ex->origin_text);
    if (!own_fields(ex, &ex->res.fields) || !own_fields(ex, &ex->req.fields) || !vars_own(ex)) {
        return false;
    }
    for (unsigned i = 0; i < a->count; i++) {
        atomic_fetch_add_explicit(&a->items[i]->refs, 1, memory_order_relaxed);
    }
    a->held = true;
    return true;
}

void log_config_unref(struct log_config *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    log_sink_unref(c->sink);
    arena_fini(&c->arena);
    free(c);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Is this line one of those that sampling keeps? */
static bool sampled(struct log_sampling *s, int64_t now_us)
{
    if (!s->interval_ms) {
        return true;
    }
    int64_t interval = now_us / 1000 / s->interval_ms;
    if (atomic_exchange(&s->interval, interval) != interval) {
        atomic_store(&s->count, 0);
    }
    unsigned n = atomic_fetch_add(&s->count, 1) + 1;
    return n <= s->first || (s->thereafter && (n - s->first) % s->thereafter == 0);
}

static _Thread_local struct dstr line; /* kept for the thread's next line */

void access_log_drain(void)
{
    dstr_fini(&line);
}

/* By way of a tree. False: the line must not be written. */
static bool rearranged_line(const struct log_config *config, const struct log_notes *notes,
                            struct exchange *ex, int64_t duration_us)
{
    int64_t now_ms = clock_wall_ms();
    json_line(&line, config, notes, ex, duration_us);
    cJSON *tree = line.failed ? NULL : cJSON_ParseWithLength(line.p, line.n);
    dstr_reset(&line);
    bool ok = tree && log_format_print(&config->format, tree, now_ms, duration_us, &line);
    cJSON_Delete(tree);
    return ok;
}

static void write_line(struct log_config *config, const struct log_notes *notes,
                       struct exchange *ex, int64_t now_us)
{
    int64_t duration_us = now_us - ex->started_us;
    bool ok = true;
    if (!config->sink || level_of(ex) < config->level || !sampled(&config->sampling, now_us)) {
        return;
    }
    line.max_bytes = LINE_MAX_BYTES;
    dstr_reset(&line);
    if (config->format.encoding >= ENCODE_COMMON) {
        common_line(&line, config, ex);
    } else if (config->format.rearranged) {
        ok = rearranged_line(config, notes, ex, duration_us);
    } else if (config->format.encoding == ENCODE_JSON) {
        json_line(&line, config, notes, ex, duration_us);
    } else {
        console_line(&line, config, ex, duration_us);
    }
    if (ok && !line.failed) {
        log_sink_write(config->sink, dstr_slice(&line));
    }
}

void access_logs_write(struct access_logs *a, struct log_notes *notes, struct exchange *ex,
                       int64_t now_us)
{
    for (unsigned i = 0; i < a->count; i++) {
        write_line(a->items[i], notes, ex, now_us);
        if (a->held) {
            log_config_unref(a->items[i]);
        }
    }
    a->count = 0;
}
