/* In: URLs and payloads. Out: 2xx replies, or a failure that says what kind it is. The session
 * owns its transport, key and nonces. */
#include "acme/session.h"

#include <stdarg.h>
#include <stdio.h>

#include "acme/schedule.h"
#include "proxy/base/clock.h"
#include "proxy/base/mem.h"

#define NONCE_TRIES_MAX 30
#define LOST_TRIES_MAX 2
#define DIRECTORY_AGE_MAX_MS (60 * SCHEDULE_MINUTE_MS)

bool failure_set(struct failure *f, enum failure_kind kind, const char *fmt, ...)
{
    *f = (struct failure){.kind = kind, .retry_after_ms = -1};
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(f->err.text, sizeof(f->err.text), fmt, ap);
    va_end(ap);
    return false;
}

struct session *session_new(struct slice directory_url, const struct transport_options *options,
                            struct stop *stop, struct err *err)
{
    struct session *s = mem_zalloc(sizeof(*s));
    s->stop = stop;
    s->directory_url = directory_url;
    arena_init(&s->arena, 64 * 1024);
    dstr_init(&s->kid, MESSAGE_URL_MAX);
    s->transport = transport_new(options, stop, err);
    if (!s->transport) {
        session_free(s);
        return NULL;
    }
    return s;
}

void session_free(struct session *s)
{
    if (!s) {
        return;
    }
    transport_free(s->transport);
    jws_key_fini(&s->key);
    dstr_fini(&s->kid);
    arena_fini(&s->arena);
    free(s);
}

/* RFC 8555 section 6.5.1: base64url only; anything else is not kept. */
static void keep_nonce(struct session *s, const struct reply *r)
{
    struct slice nonce = dstr_slice(&r->nonce);
    if (nonce.n == 0 || nonce.n > SESSION_NONCE_MAX) {
        return;
    }
    for (size_t i = 0; i < nonce.n; i++) {
        char c = nonce.p[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '-' && c != '_') {
            return;
        }
    }
    if (s->nonce_count == SESSION_NONCES) {
        memmove(s->nonces[0], s->nonces[1], sizeof(s->nonces) - sizeof(s->nonces[0]));
        s->nonce_count--;
    }
    memcpy(s->nonces[s->nonce_count], nonce.p, nonce.n);
    s->nonces[s->nonce_count][nonce.n] = '\0';
    s->nonce_count++;
}

static bool send_failed(struct failure *f, enum transport_result result, const struct err *why)
{
    return failure_set(f, result == TRANSPORT_STOPPED ? FAILURE_STOPPED : FAILURE_UNREACHABLE,
                       "the CA cannot be reached: %s", why->text);
}

static bool bad_status(struct failure *f, const struct reply *r, struct slice url)
{
    struct problem problem;
    problem_parse(dstr_slice(&r->body), r->status, &problem);
    bool later = r->status >= 500 || r->status == 429 || r->status < 400;
    (void)failure_set(f, later ? FAILURE_CA : FAILURE_REFUSED, "the CA answered %.*s with: %s",
                      SLICE_ARG(slice_upto(url, 200)), problem.text);
    f->problem = problem;
    f->status = r->status;
    f->retry_after_ms = schedule_parse_retry_after(dstr_slice(&r->retry_after), reply_now_ms(r));
    return false;
}

bool session_directory(struct session *s, struct failure *f)
{
    int64_t now = clock_mono_ms();
    if (s->has_directory && now - s->directory_mono_ms < DIRECTORY_AGE_MAX_MS) {
        return true;
    }
    struct reply r;
    struct err err;
    reply_init(&r);
    struct transport_request request = {
        .method = TRANSPORT_GET, .url = s->directory_url, .body_max = TRANSPORT_JSON_MAX};
    enum transport_result result = transport_send(s->transport, &request, &r, &err);
    bool ok;
    if (result != TRANSPORT_OK) {
        ok = send_failed(f, result, &err);
    } else if (r.status != 200) {
        ok = bad_status(f, &r, s->directory_url);
    } else {
        arena_reset(&s->arena);
        ok = message_directory(&s->arena, dstr_slice(&r.body), &s->directory, &err) ||
             failure_set(f, FAILURE_CA, "%.*s: %s", SLICE_ARG(s->directory_url), err.text);
        keep_nonce(s, &r);
    }
    s->has_directory = ok;
    s->directory_mono_ms = now;
    reply_fini(&r);
    return ok;
}

bool session_get(struct session *s, struct slice url, struct reply *reply, struct failure *f)
{
    struct err err;
    struct transport_request request = {
        .method = TRANSPORT_GET, .url = url, .body_max = TRANSPORT_JSON_MAX};
    enum transport_result result = transport_send(s->transport, &request, reply, &err);
    if (result != TRANSPORT_OK) {
        return send_failed(f, result, &err);
    }
    return reply->status == 200 || bad_status(f, reply, url);
}

/* RFC 8555 section 7.2. */
static bool fetch_nonce(struct session *s, struct failure *f)
{
    struct reply r;
    struct err err;
    reply_init(&r);
    struct transport_request request = {.method = TRANSPORT_HEAD,
                                        .url = s->directory.new_nonce,
                                        .body_max = TRANSPORT_JSON_MAX};
    enum transport_result result = transport_send(s->transport, &request, &r, &err);
    bool ok;
    if (result != TRANSPORT_OK) {
        ok = send_failed(f, result, &err);
    } else if (r.status < 200 || r.status > 299) {
        ok = bad_status(f, &r, s->directory.new_nonce);
    } else {
        keep_nonce(s, &r);
        ok = s->nonce_count > 0 ||
             failure_set(f, FAILURE_CA, "the CA gave no nonce at %.*s",
                         SLICE_ARG(s->directory.new_nonce));
    }
    reply_fini(&r);
    return ok;
}

static bool sign(struct session *s, const struct session_request *request, struct dstr *body,
                 struct failure *f)
{
    if (s->nonce_count == 0 && !fetch_nonce(s, f)) {
        return false;
    }
    struct err err;
    struct slice nonce = slice_str(s->nonces[--s->nonce_count]);
    dstr_reset(body);
    return jws_sign(&s->key, nonce, request->url,
                    request->with_jwk ? (struct slice){NULL, 0} : dstr_slice(&s->kid),
                    request->payload, body, &err) ||
           failure_set(f, FAILURE_STORE, "%s", err.text);
}

static bool post_tries(struct session *s, const struct session_request *request,
                       struct dstr *body, struct reply *reply, struct failure *f)
{
    int lost = 0;
    for (int tries = 1;; tries++) {
        struct err err;
        if (!sign(s, request, body, f)) {
            return false;
        }
        struct transport_request post = {
            .method = TRANSPORT_POST,
            .url = request->url,
            .body = dstr_slice(body),
            .accept = request->accept,
            .body_max = request->body_max ? request->body_max : TRANSPORT_JSON_MAX};
        enum transport_result result = transport_send(s->transport, &post, reply, &err);
        if (result != TRANSPORT_OK) {
            (void)send_failed(f, result, &err);
            if (result == TRANSPORT_STOPPED || request->once || ++lost >= LOST_TRIES_MAX ||
                stop_wait(s->stop, SCHEDULE_SECOND_MS)) {
                return false;
            }
            continue;
        }
        keep_nonce(s, reply);
        if (reply->status >= 200 && reply->status <= 299) {
            return true;
        }
        (void)bad_status(f, reply, request->url);
        if (!problem_is(&f->problem, "badNonce")) {
            return false;
        }
        /* The CA's trouble, not a refusal, should it last. */
        f->kind = FAILURE_CA;
        int64_t pause = tries < 5 ? 20 * tries : 250;
        if (tries >= NONCE_TRIES_MAX) {
            return false;
        }
        if (stop_wait(s->stop, pause)) {
            return failure_set(f, FAILURE_STOPPED, "stopping");
        }
    }
}

bool session_post(struct session *s, const struct session_request *request, struct reply *reply,
                  struct failure *f)
{
    struct dstr body;
    dstr_init(&body, JWS_BYTES_MAX);
    bool ok = post_tries(s, request, &body, reply, f);
    dstr_fini(&body);
    return ok;
}
