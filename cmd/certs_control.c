/* In: a request's words. Out: text or JSON about the names that acme manages. */
#include "cmd/certs_control.h"

#include "proxy/base/clock.h"

struct listing {
    struct dstr *out;
    struct slice only; /* one name, or empty */
    size_t count;
    int64_t now_ms;
};

static void date_or_null(struct dstr *out, const char *key, int64_t ms)
{
    char when[CLOCK_RFC3339_BYTES];
    if (ms > 0) {
        clock_rfc3339(ms, when);
        dstr_printf(out, ",\"%s\":\"%s\"", key, when);
    } else {
        dstr_printf(out, ",\"%s\":null", key);
    }
}

static void text_or_null(struct dstr *out, const char *key, struct slice text)
{
    dstr_printf(out, ",\"%s\":", key);
    if (text.n) {
        dstr_json(out, text);
    } else {
        dstr_append(out, S("null"));
    }
}

static const char *state_of(const struct acme_report *r)
{
    return r->ready ? "ready" : "waiting";
}

static void as_json(void *ctx, const struct acme_report *r)
{
    struct listing *l = ctx;
    if (l->only.n && !slice_eq_case(l->only, r->name)) {
        return;
    }
    dstr_append(l->out, l->count++ ? S(",\n{\"name\":") : S("{\"name\":"));
    dstr_json(l->out, r->name);
    dstr_printf(l->out, ",\"state\":\"%s\",\"busy\":%s", state_of(r), r->busy ? "true" : "false");
    text_or_null(l->out, "issuer", r->issuer);
    date_or_null(l->out, "not_before", r->not_before_ms);
    date_or_null(l->out, "not_after", r->not_after_ms);
    text_or_null(l->out, "asked", r->asked);
    dstr_printf(l->out, ",\"next\":\"%s\"", r->ready ? "renewal" : "attempt");
    date_or_null(l->out, "next_at", r->next_ms);
    dstr_printf(l->out, ",\"suggested_by_ca\":%s", r->suggested ? "true" : "false");
    text_or_null(l->out, "explanation", r->explanation);
    text_or_null(l->out, "last_error", r->last_error);
    dstr_byte(l->out, '}');
}

static void date_text(struct dstr *out, int64_t ms, int64_t now_ms)
{
    char when[CLOCK_RFC3339_BYTES];
    clock_rfc3339(ms, when);
    int64_t s = ms > now_ms ? (ms - now_ms) / 1000 : 0;
    dstr_printf(out, "%.10s %.5s UTC", when, when + 11);
    if (s >= 2 * 86400) {
        dstr_printf(out, " (in %lld days)", (long long)(s / 86400));
    } else if (s >= 2 * 3600) {
        dstr_printf(out, " (in %lld hours)", (long long)(s / 3600));
    } else if (s >= 120) {
        dstr_printf(out, " (in %lld minutes)", (long long)(s / 60));
    }
}

static void as_text(void *ctx, const struct acme_report *r)
{
    struct listing *l = ctx;
    l->count++;
    dstr_printf(l->out, "%.*s\n", SLICE_ARG(r->name));
    if (r->issuer.n) {
        dstr_printf(l->out, "    issuer   %.*s\n    until    ", SLICE_ARG(r->issuer));
        date_text(l->out, r->not_after_ms, l->now_ms);
    } else {
        dstr_printf(l->out, "    no certificate yet; asked: %.*s", SLICE_ARG(r->asked));
    }
    dstr_append(l->out, S("\n    next     "));
    if (r->busy) {
        dstr_append(l->out, S("under way"));
    } else if (r->next_ms > 0) {
        dstr_append(l->out, r->ready ? S("renewal ") : S("attempt "));
        date_text(l->out, r->next_ms, l->now_ms);
        dstr_append(l->out, r->suggested ? S(", as the CA suggests") : S(""));
    }
    if (r->explanation.n) {
        dstr_printf(l->out, "\n    why      %.*s", SLICE_ARG(r->explanation));
    }
    dstr_byte(l->out, '\n');
    if (r->last_error.n) {
        dstr_printf(l->out, "    error    %.*s\n", SLICE_ARG(r->last_error));
    }
}

bool certs_control(struct acme *a, struct store *s, struct slice word, struct slice rest,
                   struct dstr *answer, bool *ok)
{
    struct listing l = {.out = answer, .only = rest, .now_ms = clock_wall_ms()};
    *ok = true;
    if (slice_eq(word, S("certs"))) {
        acme_list(a, as_text, &l);
        if (l.count == 0) {
            dstr_append(answer, S("no name here needs a certificate\n"));
        }
    } else if (slice_eq(word, S("certs-json"))) {
        dstr_byte(answer, '[');
        acme_list(a, as_json, &l);
        dstr_append(answer, S("]\n"));
    } else if (slice_eq(word, S("renew"))) {
        *ok = acme_renew(a, rest);
        if (!*ok) {
            dstr_printf(answer, "no certificate is looked after for \"%.*s\": caddis certs lists"
                        " the names\n", SLICE_ARG(rest));
        }
    } else if (slice_eq(word, S("root"))) {
        struct err err;
        *ok = acme_local_root(s, answer, &err);
        if (!*ok) {
            dstr_printf(answer, "%s\n", err.text);
        }
    } else if (slice_eq(word, S("accounts-changed"))) {
        acme_accounts_changed(a);
    } else {
        return false;
    }
    return true;
}
