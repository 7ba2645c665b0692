/* What a person asks for from a command, without a running manager: a rehearsal, a revocation, a
 * new account key, the end of an account. In: a store, an issuer. Out: done, or why not. */
#include <openssl/x509.h>
#include <stdio.h>

#include "acme/account.h"
#include "acme/attempt.h"
#include "acme/issuer.h"
#include "acme/key.h"
#include "acme/local_ca.h"
#include "acme/rehearse.h"
#include "proxy/base/clock.h"
#include "proxy/base/enc.h"

/* A conversation with one CA for one command. */
struct visit {
    struct stop stop;
    struct arena arena;
    struct slice ca;
    struct session *session;
};

static void leave(struct visit *v)
{
    session_free(v->session);
    arena_fini(&v->arena);
    stop_fini(&v->stop);
}

/* Leave it in either case. */
static bool enter(struct visit *v, struct store *store, const struct acme_issuer *issuer,
                  struct err *err)
{
    struct failure f;
    stop_init(&v->stop);
    arena_init(&v->arena, 262144);
    v->ca = issuer_store_name(&v->arena, issuer);
    struct transport_options options = {.root_files = issuer->root_files,
                                        .root_file_count = issuer->root_file_count,
                                        .timeout_ms = issuer->timeout_ms};
    v->session = session_new(issuer->directory_url, &options, &v->stop, err);
    if (!v->session) {
        return false;
    }
    return (session_directory(v->session, &f) &&
            account_ready(v->session, store, issuer, v->ca, (struct slice){NULL, 0}, &f)) ||
           err_set(err, "%s", f.err.text);
}

/* Two challenges of one name at a time would take each other's answers away. out: as many as there
 * are issuers, unlocked by the caller whatever this returns. */
static bool lock_issuers(struct attempt *t, const struct acme_name *name,
                         struct store_lock *out[ACME_ISSUERS_MAX], struct err *err)
{
    struct arena a;
    bool ok = true;
    arena_init(&a, 65536);
    for (size_t i = 0; ok && i < name->issuer_count; i++) {
        t->ca = issuer_store_name(&a, &name->issuers[i]);
        out[i] = attempt_lock(t, err);
        ok = out[i] != NULL;
    }
    if (!ok && !err->text[0]) {
        (void)err_set(err, "a certificate for %.*s is being obtained right now, which a rehearsal"
                           " would disturb: try again when caddis certs shows it at rest",
                      SLICE_ARG(name->name));
    }
    t->ca = (struct slice){NULL, 0};
    arena_fini(&a);
    return ok;
}

bool acme_dry_run(const struct acme_hand *h, const struct acme_name *name, struct err *err)
{
    const struct acme_issuer *issuer = NULL;
    for (size_t i = 0; i < name->issuer_count && !issuer; i++) {
        issuer = name->issuers[i].kind == ACME_ISSUER_ACME ? &name->issuers[i] : NULL;
    }
    if (!issuer) {
        return err_set(err, "%.*s is signed by the local CA: there is nothing to rehearse",
                       SLICE_ARG(name->name));
    }
    if (!issuer_test_url(issuer).n) {
        return err_set(err, "no test directory is known for %.*s: name it with the global option"
                       " acme_test_ca, or with test_dir in issuer acme",
                       SLICE_ARG(issuer->directory_url));
    }
    struct stop stop;
    struct failure f;
    stop_init(&stop);
    struct attempt t = {.store = h->store,
                        .challenges = h->challenges,
                        .stop = &stop,
                        .name = name->name,
                        .issuer = issuer,
                        .key_type = name->key_type,
                        .say = h->say,
                        .say_ctx = h->ctx};
    struct store_lock *locks[ACME_ISSUERS_MAX] = {NULL};
    bool ok = lock_issuers(&t, name, locks, err) &&
              (rehearse(&t, &f) || err_set(err, "%s", f.err.text));
    for (size_t i = 0; i < ARRAY_LEN(locks); i++) {
        if (locks[i]) {
            store_unlock(locks[i]);
        }
    }
    stop_fini(&stop);
    return ok;
}

/* ---- revoking -------------------------------------------------------------------------------- */

static bool revocation(struct slice chain_pem, int reason, struct dstr *out, struct err *err)
{
    struct cert_chain chain;
    unsigned char *der = NULL;
    if (!cert_chain_parse(chain_pem, &chain, err)) {
        return false;
    }
    int n = i2d_X509(chain.certs[0], &der);
    dstr_append(out, S("{\"certificate\":\""));
    if (n > 0) {
        enc_base64url(out, slice_of(der, (size_t)n));
    }
    dstr_printf(out, "\",\"reason\":%d}", reason);
    OPENSSL_free(der);
    cert_chain_free(&chain);
    return (n > 0 && !out->failed) || err_set(err, "the certificate cannot be written as DER");
}

static bool ask_to_revoke(struct session *s, struct slice payload, bool with_jwk,
                          struct failure *f)
{
    struct reply reply;
    reply_init(&reply);
    struct session_request request = {
        .url = s->directory.revoke_cert, .payload = payload, .with_jwk = with_jwk};
    bool ok = session_post(s, &request, &reply, f) || problem_is(&f->problem, "alreadyRevoked");
    reply_fini(&reply);
    return ok;
}

/* RFC 8555 section 7.6: an account that did not order the certificate may not revoke it, but
 * whoever has its key may. */
static bool revoke(struct session *s, const struct store_pair *pair, int reason, struct err *err)
{
    struct failure f;
    struct dstr payload;
    if (!s->directory.revoke_cert.n) {
        return err_set(err, "the CA's directory has no revokeCert");
    }
    dstr_init(&payload, CERT_PEM_MAX);
    bool ok = revocation(dstr_slice(&pair->chain_pem), reason, &payload, err);
    if (ok) {
        ok = ask_to_revoke(s, dstr_slice(&payload), false, &f);
        if (!ok && problem_is(&f.problem, "unauthorized")) {
            EVP_PKEY *key = key_from_pem(dstr_slice(&pair->key_pem), err);
            if (key && key_is_p256(key)) {
                jws_key_fini(&s->key);
                ok = jws_key_init(&s->key, key, err) &&
                     ask_to_revoke(s, dstr_slice(&payload), true, &f);
            } else {
                EVP_PKEY_free(key);
            }
        }
        ok = ok || err_set(err, "%s", f.err.text);
    }
    dstr_fini(&payload);
    return ok;
}

bool acme_revoke(const struct acme_hand *h, const struct acme_name *name, int reason,
                 struct err *err)
{
    struct arena a;
    struct store_pair pair;
    struct stored_best best;
    struct slice cas[ACME_ISSUERS_MAX];
    struct visit v;
    arena_init(&a, 65536);
    store_pair_init(&pair);
    for (size_t i = 0; i < name->issuer_count; i++) {
        cas[i] = issuer_store_name(&a, &name->issuers[i]);
    }
    bool ok = stored_best(h->store, cas, name->issuer_count, name->name, clock_wall_ms(), &pair,
                          &best);
    if (!ok) {
        (void)err_set(err, "there is no valid certificate for %.*s in %s%s%s",
                      SLICE_ARG(name->name), store_path(h->store), best.failed ? ": " : "",
                      best.failed ? best.err.text : "");
    } else if (name->issuers[best.at].kind == ACME_ISSUER_LOCAL) {
        ok = err_set(err, "the certificate is the local CA's, which nobody asks about revoked"
                     " certificates; it lives for hours only");
    } else {
        ok = enter(&v, h->store, &name->issuers[best.at], err) &&
             revoke(v.session, &pair, reason, err);
        leave(&v);
    }
    store_pair_fini(&pair);
    arena_fini(&a);
    return ok;
}

/* ---- accounts -------------------------------------------------------------------------------- */

bool acme_roll_over(const struct acme_hand *h, const struct acme_issuer *issuer, struct err *err)
{
    struct visit v;
    struct failure f;
    bool ok = enter(&v, h->store, issuer, err) &&
              (account_roll_over(v.session, h->store, issuer, v.ca, &f) ||
               err_set(err, "%s", f.err.text));
    leave(&v);
    return ok;
}

bool acme_deactivate(const struct acme_hand *h, const struct acme_issuer *issuer, struct err *err)
{
    struct visit v;
    struct failure f;
    bool ok = enter(&v, h->store, issuer, err) &&
              (account_deactivate(v.session, h->store, issuer, v.ca, &f) ||
               err_set(err, "%s", f.err.text));
    leave(&v);
    return ok;
}
