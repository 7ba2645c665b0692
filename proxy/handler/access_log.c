/* Access-log lines, with Caddy's field names; see access_log.h. In: a finished exchange. Out: lines
 * to the sinks, from a buffer that each thread keeps. */
#include "proxy/handler/access_log.h"

#include <stdlib.h>

#include "proxy/base/clock.h"
#include "proxy/loop/loop.h"
#include "proxy/net/stream.h"
#include "proxy/route/vars.h"

#define LINE_MAX_BYTES ((size_t)256 * 1024)

static bool is_secret(enum field_id id)
{
    return id == FIELD_AUTHORIZATION || id == FIELD_COOKIE || id == FIELD_SET_COOKIE ||
           id == FIELD_PROXY_AUTHORIZATION;
}

static void write_value(struct dstr *out, const struct field *f, bool credentials)
{
    dstr_json(out, is_secret(f->id) && !credentials ? S("REDACTED") : f->value);
}

/* One bit for each known name; those that are not known share some by their length. */
static uint64_t name_bit(const struct field *f)
{
    _Static_assert(FIELD_ID_COUNT <= 48, "a bit for each, and some for the others");
    return (uint64_t)1 << (f->id != FIELD_OTHER ? (unsigned)f->id : 48 + f->name.n % 16);
}

/* The bits that more than one field has. */
static uint64_t shared_bits(const struct fields *f)
{
    uint64_t seen = 0;
    uint64_t shared = 0;
    for (unsigned i = 0; i < f->count; i++) {
        uint64_t bit = name_bit(&f->items[i]);
        shared |= seen & bit;
        seen |= bit;
    }
    return shared;
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

/* The values behind the first one, of fields of the same name. */
static void write_more_values(struct dstr *out, const struct fields *f, unsigned i,
                              bool credentials)
{
    for (unsigned j = i + 1; j < f->count; j++) {
        if (slice_eq_case(f->items[j].name, f->items[i].name)) {
            dstr_byte(out, ',');
            write_value(out, &f->items[j], credentials);
        }
    }
}

/* {"Name":["value",...],...} */
static void write_fields(struct dstr *out, const struct fields *f, bool credentials)
{
    uint64_t shared = shared_bits(f);
    bool first = true;
    dstr_byte(out, '{');
    for (unsigned i = 0; i < f->count; i++) {
        const struct field *x = &f->items[i];
        bool alone = !(name_bit(x) & shared);
        if (x->id == FIELD_HOST || (!alone && named_before(f, i))) {
            continue;
        }
        if (!first) {
            dstr_byte(out, ',');
        }
        first = false;
        dstr_json_field_name(out, x->name);
        dstr_append(out, S(":["));
        write_value(out, x, credentials);
        if (!alone) {
            write_more_values(out, f, i, credentials);
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
            dstr_number(out, suites[i].number, 1);
            return;
        }
    }
    dstr_json(out, name);
}

static void write_tls(struct dstr *out, const struct stream_tls *tls)
{
    dstr_append(out, tls->resumed ? S(",\"tls\":{\"resumed\":true,\"version\":")
                                  : S(",\"tls\":{\"resumed\":false,\"version\":"));
    dstr_append(out, slice_eq(tls->version, S("tls1.3")) ? S("772,\"cipher_suite\":")
                                                         : S("771,\"cipher_suite\":"));
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

static void write_request(struct dstr *out, const struct exchange *ex, bool credentials)
{
    char buf[ADDR_TEXT_BYTES];
    struct slice peer = addr_host_text(ex->client.peer, buf);
    dstr_append(out, S(",\"request\":{\"remote_ip\":"));
    dstr_json(out, peer);
    dstr_append(out, S(",\"remote_port\":\""));
    dstr_number(out, addr_port(ex->client.peer), 1);
    dstr_append(out, S("\",\"client_ip\":"));
    dstr_json(out, ex->client_addr == ex->client.peer ? peer
                                                      : addr_host_text(ex->client_addr, buf));
    dstr_append(out, S(",\"proto\":"));
    dstr_json(out, http_version_text(ex->req.version));
    dstr_append(out, S(",\"method\":"));
    dstr_json(out, ex->original.method_text);
    dstr_append(out, S(",\"host\":"));
    dstr_json(out, ex->req.authority);
    dstr_append(out, S(",\"uri\":"));
    dstr_json(out, ex->original.target);
    dstr_append(out, S(",\"headers\":"));
    write_fields(out, &ex->req.fields, credentials);
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

/* 1.234: so many digits behind the point as unit has zeros. */
static void write_decimal(struct dstr *out, int64_t value, int64_t unit, unsigned digits)
{
    uint64_t v = value > 0 ? (uint64_t)value : 0;
    dstr_number(out, v / (uint64_t)unit, 1);
    dstr_byte(out, '.');
    dstr_number(out, v % (uint64_t)unit, digits);
}

static void json_line(struct dstr *out, const struct log_config *config,
                      const struct log_notes *notes, struct exchange *ex, int64_t duration_us)
{
    int status = logged_status(ex);
    dstr_append(out, status >= 500 ? S("{\"level\":\"error\",\"ts\":")
                                   : S("{\"level\":\"info\",\"ts\":"));
    write_decimal(out, loop_wall_ms(ex->loop), 1000, 3);
    dstr_append(out, S(",\"logger\":\""));
    dstr_append(out, config->logger);
    dstr_append(out, S("\",\"msg\":\"handled request\""));
    write_request(out, ex, notes->credentials);
    dstr_append(out, S(",\"bytes_read\":"));
    dstr_number(out, ex->received_bytes, 1);
    dstr_append(out, S(",\"user_id\":"));
    dstr_json(out, vars_value(ex, S("http.auth.user.id")));
    dstr_append(out, S(",\"duration\":"));
    write_decimal(out, duration_us, 1000000, 6);
    dstr_append(out, S(",\"size\":"));
    dstr_number(out, ex->sent_bytes, 1);
    dstr_append(out, S(",\"status\":"));
    dstr_number(out, status > 0 ? (uint64_t)status : 0, 1);
    dstr_append(out, S(",\"resp_headers\":"));
    write_fields(out, &ex->res.fields, notes->credentials);
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
    size_t n = slice_upto(config->logger, sizeof(logger) - 1).n;
    memcpy(logger, config->logger.p, n);
    logger[n] = '\0';
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
    log_config_unref(c->like);
    arena_fini(&c->arena);
    free(c);
}

/* ---- writing --------------------------------------------------------------------------------- */

bool log_sampled(struct log_sampling *s, int64_t now_us)
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
    if (!config->sink || level_of(ex) < config->level || !log_sampled(&config->sampling, now_us)) {
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
