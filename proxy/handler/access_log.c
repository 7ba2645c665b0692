/* The access-log line, with Caddy's field names; see access_log.h. In: a finished exchange. Out: a
 * line to the sink, from a buffer that each thread keeps. */
#include "proxy/handler/access_log.h"

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
    dstr_json(out, ex->req.method_text);
    dstr_append(out, S(",\"host\":"));
    dstr_json(out, ex->req.authority);
    dstr_append(out, S(",\"uri\":"));
    dstr_json(out, ex->req.target);
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

static void json_line(struct dstr *out, const struct log_config *config, const struct exchange *ex,
                      int64_t duration_us)
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
    if (ex->reason != END_NONE) {
        dstr_append(out, S(",\"error\":"));
        dstr_json(out, ex->error_detail.n ? ex->error_detail
                                          : slice_str(end_reason_text(ex->reason)));
    } else if (ex->error_detail.n) {
        dstr_append(out, S(",\"error\":"));
        dstr_json(out, ex->error_detail);
    }
    dstr_append(out, S("}\n"));
}

static void console_line(struct dstr *out, const struct log_config *config,
                         const struct exchange *ex, int64_t duration_us)
{
    char buf[ADDR_TEXT_BYTES];
    int status = logged_status(ex);
    struct slice host = addr_host_text(ex->client.peer, buf);
    struct log_field fields[] = {
        LOG_S("remote_ip", host),
        LOG_S("method", ex->req.method_text),
        LOG_S("host", ex->req.authority),
        LOG_S("uri", ex->req.target),
        LOG_I("status", status),
        LOG_I("size", ex->sent_bytes),
        LOG_I("duration_us", duration_us),
        LOG_S("error", ex->error_detail),
    };
    char logger[160];
    size_t n = slice_upto(config->name, 128).n;
    memcpy(logger, "http.log.access.", 16);
    memcpy(logger + 16, config->name.p, n);
    logger[16 + n] = '\0';
    log_line(out, LOG_CONSOLE, status >= 500 ? LOG_ERROR : LOG_INFO, logger, "handled request",
             fields, ARRAY_LEN(fields) - (ex->error_detail.n ? 0 : 1));
}

static _Thread_local struct dstr line; /* kept for the thread's next line */

void access_log_drain(void)
{
    dstr_fini(&line);
}

void access_log_write(const struct log_config *config, const struct exchange *ex, int64_t now_us)
{
    int64_t duration_us = now_us - ex->started_us;
    line.max_bytes = LINE_MAX_BYTES;
    dstr_reset(&line);
    if (config->format == LOG_JSON) {
        json_line(&line, config, ex, duration_us);
    } else {
        console_line(&line, config, ex, duration_us);
    }
    if (!line.failed) {
        log_sink_write(config->sink, dstr_slice(&line));
    }
}
