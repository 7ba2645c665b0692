/* In: URLs and a name. Out: a certificate with its key, looked at. See managers.h.
 *
 * Caddy passes the handshake's own lists of signature schemes and suites on; what we keep is for
 * every client, so the lists are what caddis itself can do. */
#include "cmd/managers.h"

#include <stdio.h>

#include "acme/fetch.h"
#include "proxy/base/arena.h"
#include "proxy/base/clock.h"
#include "proxy/base/x509.h"
#include "proxy/tls/cert_source.h"

#define ASK_MS ((int64_t)10 * 1000)
#define QUERY                                                                  \
    "cipher_suites=1301,1302,1303,c02b,c02c,cca9,c02f,c030,cca8&server_name=%.*s" \
    "&signature_schemes=403,503,807,804,805,806,401,501,601"

void managers_wipe(struct dstr *pem)
{
    if (pem->p) {
        explicit_bzero(pem->p, pem->cap);
    }
    dstr_fini(pem);
}

/* When the leaf ends; 0: there is none. */
static int64_t ends_ms(struct slice pem)
{
    struct dstr der;
    struct slice label;
    struct x509_facts facts;
    bool broken = false;
    int64_t end = 0;
    dstr_init(&der, MANAGED_PEM_MAX);
    while (!end && pem_next(&pem, &label, &der, &broken)) {
        if (slice_eq(label, S("CERTIFICATE")) && x509_read(dstr_slice(&der), &facts)) {
            end = facts.not_after_ms;
        }
        if (der.p) {
            explicit_bzero(der.p, der.cap);
        }
        dstr_reset(&der);
    }
    dstr_fini(&der);
    return end;
}

static bool usable(struct slice pem, struct slice name, int64_t *end_ms, struct err *err)
{
    struct err why;
    struct cert_source *source = cert_source_new(pem, pem, &why);
    if (!source) {
        return err_set(err, "what it sent is no certificate with its key: %s", why.text);
    }
    bool covers = cert_source_covers(source, name);
    size_t dot = slice_find(name, '.');
    if (!covers && dot != SLICE_NPOS) {
        char wild[256];
        int n = snprintf(wild, sizeof(wild), "*%.*s", SLICE_ARG(slice_from(name, dot)));
        covers = n > 0 && (size_t)n < sizeof(wild) &&
                 cert_source_covers(source, slice_of(wild, (size_t)n));
    }
    cert_source_unref(source);
    *end_ms = ends_ms(pem);
    if (!covers) {
        return err_set(err, "the certificate it sent is not for this name");
    }
    return *end_ms > clock_wall_ms() ||
           err_set(err, "the certificate it sent has expired");
}

static enum managers_answer ask_one(struct slice url, struct slice name, struct stop *stop,
                                    struct dstr *pem, int64_t *end_ms, struct err *err)
{
    struct arena a;
    struct err why = {""};
    enum managers_answer answer = MANAGERS_FAILED;
    arena_init(&a, 65536);
    struct fetch_request request = {
        .url = arena_printf(&a, "%.*s%c" QUERY, SLICE_ARG(url),
                            slice_find(url, '?') == SLICE_NPOS ? '?' : '&', SLICE_ARG(name)),
        .timeout_ms = ASK_MS,
    };
    dstr_reset(pem);
    long status = request.url.p ? acme_fetch(&request, stop, pem, &why) : 0;
    if (status == 204) {
        answer = MANAGERS_NONE;
    } else if (status == 200 && usable(dstr_slice(pem), name, end_ms, &why)) {
        answer = MANAGERS_GAVE;
    } else if (status && status != 200) {
        err_set(&why, "it answered with status %ld", status);
    }
    if (answer == MANAGERS_FAILED) {
        err_set(err, "%.*s: %s", SLICE_ARG(url), why.text);
    }
    arena_fini(&a);
    return answer;
}

enum managers_answer managers_ask(const struct slice *urls, size_t count, struct slice name,
                                  struct stop *stop, struct dstr *pem, int64_t *end_ms,
                                  struct err *err)
{
    enum managers_answer answer = MANAGERS_NONE;
    (void)dstr_reserve(pem, (size_t)64 * 1024); /* no outgrown copies of a key */
    for (size_t i = 0; i < count; i++) {
        enum managers_answer one = ask_one(urls[i], name, stop, pem, end_ms, err);
        if (one == MANAGERS_GAVE) {
            return one;
        }
        answer = one == MANAGERS_FAILED ? one : answer;
    }
    return answer;
}
