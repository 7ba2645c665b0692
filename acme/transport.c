/* In: a request. Out: a bounded reply, or the reason why there is none. Owns the curl handles; the
 * caller owns the reply. */
#include "acme/transport.h"

#include <curl/curl.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>

#include "acme/message.h"
#include "proxy/base/clock.h"
#include "proxy/base/mem.h"

#define CONNECT_TIMEOUT_MS 15000L
#define TOTAL_TIMEOUT_MS 60000L
#define SILENCE_TIMEOUT_S 30L /* less than a few bytes a second for this long */
#define SILENCE_BYTES_PER_S 10L
#define REDIRECTS_MAX 5L
#define FIELD_MAX ((size_t)4096)
#define POLL_MS 100 /* how often a stop is looked for */

struct transport {
    CURLM *multi;
    CURL *easy;
    struct stop *stop;
    bool plain_too;
    bool direct;
    char **root_files; /* owned */
    size_t root_file_count;
    struct reply *reply; /* of the request under way */
    size_t body_max;
    bool too_large;
    char error[CURL_ERROR_SIZE];
};

static void global_init(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

void reply_init(struct reply *r)
{
    r->status = 0;
    r->sent = false;
    r->date_ms = 0;
    dstr_init(&r->body, 0);
    dstr_init(&r->nonce, FIELD_MAX);
    dstr_init(&r->location, FIELD_MAX);
    dstr_init(&r->retry_after, FIELD_MAX);
    dstr_init(&r->content_type, FIELD_MAX);
    dstr_init(&r->links, 4 * FIELD_MAX);
}

void reply_fini(struct reply *r)
{
    dstr_fini(&r->body);
    dstr_fini(&r->nonce);
    dstr_fini(&r->location);
    dstr_fini(&r->retry_after);
    dstr_fini(&r->content_type);
    dstr_fini(&r->links);
}

static void forget_head(struct reply *r)
{
    dstr_reset(&r->nonce);
    dstr_reset(&r->location);
    dstr_reset(&r->retry_after);
    dstr_reset(&r->content_type);
    dstr_reset(&r->links);
    r->date_ms = 0;
}

int64_t reply_now_ms(const struct reply *r)
{
    return r->date_ms > 0 ? r->date_ms : clock_wall_ms();
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
    struct transport *t = ctx;
    size_t n = size * count; /* size is always 1 */
    /* CURLOPT_MAXFILESIZE does not bound chunked bodies in every version; this does. */
    if (t->reply->body.n + n > t->body_max) {
        t->too_large = true;
        return 0;
    }
    dstr_append(&t->reply->body, slice_of(data, n));
    return t->reply->body.failed ? 0 : n;
}

static void keep(struct dstr *into, struct slice value)
{
    dstr_reset(into);
    dstr_append(into, value);
}

static size_t on_field(char *data, size_t size, size_t count, void *ctx)
{
    struct transport *t = ctx;
    struct reply *r = t->reply;
    size_t n = size * count;
    struct slice line = slice_of(data, n), name;
    int64_t date_ms;
    while (line.n && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r')) {
        line.n--;
    }
    if (slice_starts(line, S("HTTP/"))) {
        forget_head(r); /* the head of a redirect's target replaces the one before */
        return n;
    }
    if (!slice_cut(&line, ':', &name) || line.p == NULL) {
        return n;
    }
    struct slice value = slice_trim(line);
    if (slice_eq_case(name, S("Replay-Nonce"))) {
        keep(&r->nonce, value);
    } else if (slice_eq_case(name, S("Location"))) {
        keep(&r->location, value);
    } else if (slice_eq_case(name, S("Retry-After"))) {
        keep(&r->retry_after, value);
    } else if (slice_eq_case(name, S("Content-Type"))) {
        keep(&r->content_type, value);
    } else if (slice_eq_case(name, S("Date"))) {
        r->date_ms = clock_parse_http_date(value, &date_ms) ? date_ms : 0;
    } else if (slice_eq_case(name, S("Link")) && !r->links.failed) {
        dstr_append(&r->links, value);
        dstr_byte(&r->links, '\n');
    }
    return n;
}

/* Adds the extra roots to those of the system (CURLOPT_CAINFO alone would replace them). */
static CURLcode on_ssl_ctx(CURL *easy, void *ssl_ctx, void *ctx)
{
    (void)easy;
    const struct transport *t = ctx;
    for (size_t i = 0; i < t->root_file_count; i++) {
        if (SSL_CTX_load_verify_locations(ssl_ctx, t->root_files[i], NULL) != 1) {
            return CURLE_SSL_CACERT_BADFILE;
        }
    }
    return CURLE_OK;
}

static bool set_roots(struct transport *t, struct err *err)
{
    if (t->root_file_count == 0) {
        return true;
    }
    for (size_t i = 0; i < t->root_file_count; i++) {
        SSL_CTX *probe = SSL_CTX_new(TLS_client_method());
        bool readable = probe && SSL_CTX_load_verify_locations(probe, t->root_files[i], NULL) == 1;
        SSL_CTX_free(probe);
        if (!readable) {
            return err_set(err, "no certificate could be read from %s", t->root_files[i]);
        }
    }
#if LIBCURL_VERSION_NUM >= 0x075700
    /* A store that curl shares between connections must not be the one that is added to. */
    (void)curl_easy_setopt(t->easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
#endif
    (void)curl_easy_setopt(t->easy, CURLOPT_SSL_CTX_DATA, t);
    if (curl_easy_setopt(t->easy, CURLOPT_SSL_CTX_FUNCTION, on_ssl_ctx) != CURLE_OK) {
        /* A libcurl without OpenSSL: then only the first of the extra files is trusted. */
        (void)curl_easy_setopt(t->easy, CURLOPT_CAINFO, t->root_files[0]);
    }
    return true;
}

static bool set_options(struct transport *t, const struct transport_options *options)
{
    CURL *e = t->easy;
    CURLcode rc = CURLE_OK;
#define SET(option, value) (rc = rc != CURLE_OK ? rc : curl_easy_setopt(e, option, value))
    SET(CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
    SET(CURLOPT_QUICK_EXIT, 1L); /* do not wait for a resolver thread that hangs */
#endif
#if LIBCURL_VERSION_NUM >= 0x075500
    SET(CURLOPT_PROTOCOLS_STR, options->plain_too ? "http,https" : "https");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, "https");
#else
    SET(CURLOPT_PROTOCOLS, (long)CURLPROTO_HTTPS | (options->plain_too ? CURLPROTO_HTTP : 0));
    SET(CURLOPT_REDIR_PROTOCOLS, (long)CURLPROTO_HTTPS);
#endif
    SET(CURLOPT_USERAGENT, "caddis/" CADDIS_VERSION);
    SET(CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    SET(CURLOPT_TIMEOUT_MS,
        options->timeout_ms > 0 ? (long)options->timeout_ms : TOTAL_TIMEOUT_MS);
    SET(CURLOPT_LOW_SPEED_LIMIT, SILENCE_BYTES_PER_S);
    SET(CURLOPT_LOW_SPEED_TIME, SILENCE_TIMEOUT_S);
    SET(CURLOPT_MAXREDIRS, REDIRECTS_MAX);
    SET(CURLOPT_PATH_AS_IS, 1L); /* the signed url must be the one that is asked */
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_MAXAGE_CONN, 60L); /* an idle connection older than this is not trusted */
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_HEADERFUNCTION, on_field);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_ERRORBUFFER, t->error);
    SET(CURLOPT_PRIVATE, t);
#undef SET
    return rc == CURLE_OK;
}

struct transport *transport_new(const struct transport_options *options, struct stop *stop,
                                struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, global_init);
    struct transport *t = mem_zalloc(sizeof(*t));
    t->stop = stop;
    t->plain_too = options->plain_too;
    t->direct = options->direct;
    t->root_files = mem_zalloc((options->root_file_count + 1) * sizeof(*t->root_files));
    for (; t->root_file_count < options->root_file_count; t->root_file_count++) {
        t->root_files[t->root_file_count] = mem_dup(options->root_files[t->root_file_count]);
    }
    t->multi = curl_multi_init();
    t->easy = curl_easy_init();
    if (!t->multi || !t->easy || !set_options(t, options)) {
        (void)err_set(err, "libcurl cannot be set up");
    } else if (set_roots(t, err)) {
        return t;
    }
    transport_free(t);
    return NULL;
}

void transport_free(struct transport *t)
{
    if (!t) {
        return;
    }
    curl_easy_cleanup(t->easy);
    curl_multi_cleanup(t->multi);
    for (size_t i = 0; i < t->root_file_count; i++) {
        free(t->root_files[i]);
    }
    free(t->root_files);
    free(t);
}

/* Credentials may be in them. */
static void free_fields(struct curl_slist *fields)
{
    for (struct curl_slist *f = fields; f; f = f->next) {
        explicit_bzero(f->data, strlen(f->data));
    }
    curl_slist_free_all(fields);
}

/* What this machine itself serves is at no proxy (as Go, hence Caddy, has it). */
static bool is_loopback(struct slice url)
{
    size_t at = slice_find_slice(url, S("://"));
    struct slice host = at == SLICE_NPOS ? S("") : slice_from(url, at + 3);
    if (slice_starts(host, S("[::1]"))) {
        return true;
    }
    host = slice_upto(host, slice_find(host, '/'));
    host = slice_upto(host, slice_find(host, ':'));
    return slice_eq_case(host, S("localhost")) || slice_starts(host, S("127."));
}

static struct curl_slist *set_request(struct transport *t, const struct transport_request *request,
                                      const char *url)
{
    CURL *e = t->easy;
    struct curl_slist *fields = curl_slist_append(NULL, "Expect:");
    (void)curl_easy_setopt(e, CURLOPT_URL, url);
    (void)curl_easy_setopt(e, CURLOPT_NOPROXY,
                           t->direct || is_loopback(request->url) ? "*" : NULL);
    bool api = request->method == TRANSPORT_API;
    bool post = request->method == TRANSPORT_POST || request->method == TRANSPORT_POST_FORM ||
                (api && request->body.p);
    (void)curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, post || api || t->plain_too ? 0L : 1L);
    (void)curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
    (void)curl_easy_setopt(e, CURLOPT_NOBODY, request->method == TRANSPORT_HEAD ? 1L : 0L);
    if (post) {
        if (request->method == TRANSPORT_POST) {
            fields = curl_slist_append(fields, "Content-Type: application/jose+json");
        }
        (void)curl_easy_setopt(e, CURLOPT_POST, 1L);
        (void)curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.n);
        (void)curl_easy_setopt(e, CURLOPT_POSTFIELDS, request->body.p);
    }
    (void)curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, api ? request->verb : NULL);
    for (size_t i = 0; i < request->field_count; i++) {
        char *line = mem_dup(request->fields[i]);
        fields = curl_slist_append(fields, line);
        explicit_bzero(line, request->fields[i].n);
        free(line);
    }
    if (request->accept.n) {
        char line[160];
        (void)snprintf(line, sizeof(line), "Accept: %.*s", SLICE_ARG(request->accept));
        fields = curl_slist_append(fields, line);
    }
    (void)curl_easy_setopt(e, CURLOPT_HTTPHEADER, fields);
    return fields;
}

/* Runs the transfer; true when it came to an end by itself (with its result), false when stopped
 * or when curl itself fails. */
static bool drive(struct transport *t, CURLcode *result)
{
    int running = 1;
    while (running && !stop_requested(t->stop)) {
        if (curl_multi_perform(t->multi, &running) != CURLM_OK) {
            return false;
        }
        if (running && curl_multi_poll(t->multi, NULL, 0, POLL_MS, NULL) != CURLM_OK) {
            return false;
        }
    }
    int left = 0;
    struct CURLMsg *msg;
    while ((msg = curl_multi_info_read(t->multi, &left)) != NULL) {
        if (msg->msg == CURLMSG_DONE) {
            *result = msg->data.result;
            return true;
        }
    }
    return false;
}

enum transport_result transport_send(struct transport *t, const struct transport_request *request,
                                     struct reply *reply, struct err *err)
{
    reply->status = 0;
    reply->sent = false;
    reply->body.max_bytes = request->body_max;
    dstr_reset(&reply->body);
    forget_head(reply);
    bool plain = t->plain_too && slice_starts(request->url, S("http://"));
    if (!plain && !message_url_ok(request->url)) {
        (void)err_set(err, "'%.*s' is no https URL", SLICE_ARG(slice_upto(request->url, 200)));
        return TRANSPORT_FAILED;
    }
    t->reply = reply;
    t->body_max = request->body_max;
    t->too_large = false;
    t->error[0] = '\0';
    char *url = mem_dup(request->url);
    struct curl_slist *fields = set_request(t, request, url);
    CURLcode result = CURLE_FAILED_INIT;
    bool done = curl_multi_add_handle(t->multi, t->easy) == CURLM_OK && drive(t, &result);
    long request_bytes = 0;
    (void)curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &request_bytes);
    reply->sent = request_bytes > 0;
    (void)curl_multi_remove_handle(t->multi, t->easy);
    (void)curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, NULL);
    (void)curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, NULL);
    free_fields(fields);
    t->reply = NULL;
    if (done && result == CURLE_OK) {
        (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &reply->status);
        free(url);
        return TRANSPORT_OK;
    }
    (void)err_set(err, "%s: %s", url,
                  t->too_large         ? "the answer is too large"
                  : t->error[0]        ? t->error
                  : done               ? curl_easy_strerror(result)
                                       : "the request was given up");
    free(url);
    return stop_requested(t->stop) ? TRANSPORT_STOPPED : TRANSPORT_FAILED;
}
