/* basic_auth [matcher] [bcrypt|argon2id [<realm>]] {
 *     <user> <hash>
 * }
 *
 * Asks for a user and a password (RFC 7617); hashes come from `caddis hash-password`. Whoever is
 * let through is {http.auth.user.id}. Checking a hash takes long on purpose, so it is done by a
 * pool of two threads (503 when 64 wait already), and verdicts are remembered under a keyed hash of
 * what was asked. `basicauth` is the old name. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "proxy/base/enc.h"
#include "proxy/base/mem.h"
#include "proxy/base/rand.h"
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"
#include "proxy/handler/password.h"
#include "proxy/loop/jobs.h"
#include "proxy/route/vars.h"
#include "proxy/tls/keyed_hash.h"

#define ACCOUNTS_MAX 10000
#define VERDICTS 1024u /* remembered; a power of two */
#define DIGEST_BYTES 32u

struct account {
    struct slice user; /* owned, as the next */
    struct slice hash;
};

struct verdict {
    char digest[DIGEST_BYTES]; /* of user, password and hash; all zero: free */
    bool yes;
};

/* Shared by the handler and the checks under way: those may outlive the configuration. */
struct accounts {
    _Atomic unsigned refs;
    enum password_kind kind;
    struct account *items; /* owned */
    size_t count;
    char key[32];
    pthread_mutex_t lock;
    struct verdict verdicts[VERDICTS]; /* under lock */
};

struct basic_auth {
    struct accounts *accounts; /* counted */
    struct slice challenge;    /* WWW-Authenticate */
};

static void accounts_unref(struct accounts *a)
{
    if (!a || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < a->count; i++) {
        free((char *)(uintptr_t)a->items[i].user.p);
        free((char *)(uintptr_t)a->items[i].hash.p);
    }
    free(a->items);
    explicit_bzero(a->key, sizeof(a->key));
    pthread_mutex_destroy(&a->lock);
    free(a);
}

/* ---- verdicts -------------------------------------------------------------------------------- */

static struct verdict *slot_of(struct accounts *a, const char digest[DIGEST_BYTES])
{
    uint32_t i;
    memcpy(&i, digest, sizeof(i));
    return &a->verdicts[i % VERDICTS];
}

static bool verdict_find(struct accounts *a, const char digest[DIGEST_BYTES], bool *yes)
{
    pthread_mutex_lock(&a->lock);
    const struct verdict *v = slot_of(a, digest);
    bool found = memcmp(v->digest, digest, DIGEST_BYTES) == 0;
    *yes = found && v->yes;
    pthread_mutex_unlock(&a->lock);
    return found;
}

static void verdict_keep(struct accounts *a, const char digest[DIGEST_BYTES], bool yes)
{
    pthread_mutex_lock(&a->lock);
    struct verdict *v = slot_of(a, digest);
    memcpy(v->digest, digest, DIGEST_BYTES);
    v->yes = yes;
    pthread_mutex_unlock(&a->lock);
}

/* ---- a check --------------------------------------------------------------------------------- */

struct check {
    struct job job;
    struct exchange *ex;        /* held */
    struct accounts *accounts;  /* counted */
    const struct basic_auth *b; /* only while ex is not finished: it pins the configuration */
    const struct account *account;
    bool known; /* there is such a user; else the time is spent on another one's hash */
    bool yes;
    char digest[DIGEST_BYTES];
    size_t password_bytes;
    char password[PASSWORD_BYTES_MAX];
};

static void check_free(struct check *c)
{
    accounts_unref(c->accounts);
    explicit_bzero(c, sizeof(*c));
    free(c);
}

/* Another check may have found the same meanwhile: a page with its pictures costs one. */
static void check_work(struct job *j)
{
    struct check *c = container_of(j, struct check, job);
    if (verdict_find(c->accounts, c->digest, &c->yes)) {
        return;
    }
    c->yes = password_matches(c->accounts->kind, c->account->hash,
                              slice_of(c->password, c->password_bytes)) &&
             c->known;
    verdict_keep(c->accounts, c->digest, c->yes);
}

static enum handler_result admit(struct exchange *ex, struct slice user);
static enum handler_result refuse(const struct basic_auth *b, struct exchange *ex);

static void check_done(struct job *j)
{
    struct check *c = container_of(j, struct check, job);
    struct exchange *ex = c->ex;
    if (!ex->finished && c->yes) {
        if (admit(ex, c->account->user) == HANDLER_NEXT) {
            ex->resume(ex);
        }
    } else if (!ex->finished) {
        (void)refuse(c->b, ex);
    }
    check_free(c);
    exchange_release(ex);
}

static void check_dropped(struct job *j)
{
    struct check *c = container_of(j, struct check, job);
    struct exchange *ex = c->ex;
    check_free(c);
    exchange_release(ex);
}

static bool check_start(const struct basic_auth *b, struct exchange *ex,
                        const struct account *account, bool known, struct slice password,
                        const char digest[DIGEST_BYTES])
{
    struct check *c = calloc(1, sizeof(*c));
    if (!c) {
        return false;
    }
    c->job.work = check_work;
    c->job.done = check_done;
    c->job.dropped = check_dropped;
    c->ex = ex;
    c->b = b;
    c->accounts = b->accounts;
    c->account = account;
    c->known = known;
    memcpy(c->digest, digest, DIGEST_BYTES);
    memcpy(c->password, password.p, password.n);
    c->password_bytes = password.n;
    atomic_fetch_add_explicit(&c->accounts->refs, 1, memory_order_relaxed);
    exchange_hold(ex);
    struct jobs *jobs = chain_of(ex)->slow_jobs;
    if (!jobs || !job_submit(jobs, ex->loop, &c->job)) {
        check_free(c);
        exchange_release(ex); /* never the last hold here */
        return false;
    }
    return true;
}

/* ---- running --------------------------------------------------------------------------------- */

/* The challenge goes with whatever answers the 401, a page of handle_errors, too. */
static void challenge_response(const void *instance, struct exchange *ex)
{
    const struct basic_auth *b = instance;
    if (!fields_add_id(&ex->res.fields, &ex->arena, FIELD_WWW_AUTHENTICATE, S("WWW-Authenticate"),
                       b->challenge)) {
        return; /* memory: the answer goes out without */
    }
}

static const struct handler_ops challenge_ops = {.name = "basic_auth",
                                                 .on_response_early = challenge_response};

static enum handler_result refuse(const struct basic_auth *b, struct exchange *ex)
{
    chain_add_hook(ex, &challenge_ops, b);
    return chain_error(ex, 401, S("a user and a password are asked for"));
}

/* user may be of an account, whose life is the configuration's. */
static enum handler_result admit(struct exchange *ex, struct slice user)
{
    struct slice copy = arena_copy(&ex->arena, user);
    if (!copy.p || !vars_set(ex, S("http.auth.user.id"), copy)) {
        return chain_error(ex, 503, S("out of memory"));
    }
    return HANDLER_NEXT;
}

/* "Basic dXNlcjpwYXNz"; both in ex's arena. False: there is none. */
static bool credentials(struct exchange *ex, struct slice *user, struct slice *password)
{
    const struct field *f = fields_find_id(&ex->req.fields, FIELD_AUTHORIZATION);
    struct slice both;
    if (!f || !slice_eq_case(slice_upto(f->value, 6), S("Basic ")) ||
        !enc_base64_decode(&ex->arena, slice_trim(slice_from(f->value, 6)), &both)) {
        return false;
    }
    *password = both;
    (void)slice_cut(password, ':', user);
    /* crypt() would take what stands before a NUL for all of it. */
    return password->p != NULL && password->n <= PASSWORD_BYTES_MAX &&
           slice_find(both, '\0') == SLICE_NPOS;
}

static const struct account *find_account(const struct accounts *a, struct slice user)
{
    for (size_t i = 0; i < a->count; i++) {
        if (slice_eq(a->items[i].user, user)) {
            return &a->items[i];
        }
    }
    return NULL;
}

/* What a verdict is remembered under. False: OpenSSL or memory refused. */
static bool digest_of(struct exchange *ex, const struct accounts *a, struct slice user,
                      struct slice password, char out[DIGEST_BYTES])
{
    char hex[KEYED_HASH_BYTES];
    struct slice text = arena_printf(&ex->arena, "%zu:%.*s%.*s", user.n, SLICE_ARG(user),
                                     SLICE_ARG(password));
    if (!text.p || !keyed_hash_hex(slice_of(a->key, sizeof(a->key)), text, hex)) {
        return false;
    }
    memcpy(out, hex, DIGEST_BYTES); /* 128 bits of it */
    explicit_bzero((char *)(uintptr_t)text.p, text.n);
    return true;
}

static enum handler_result auth_request(const void *instance, struct exchange *ex)
{
    const struct basic_auth *b = instance;
    struct slice user = S("");
    struct slice password = S("");
    char digest[DIGEST_BYTES];
    bool yes;
    if (!credentials(ex, &user, &password)) {
        return ex->arena.failed ? chain_error(ex, 503, S("out of memory")) : refuse(b, ex);
    }
    if (!digest_of(ex, b->accounts, user, password, digest)) {
        return chain_error(ex, 503, S("out of memory"));
    }
    const struct account *account = find_account(b->accounts, user);
    if (verdict_find(b->accounts, digest, &yes)) {
        return yes && account ? admit(ex, account->user) : refuse(b, ex);
    }
    if (!check_start(b, ex, account ? account : b->accounts->items, account != NULL, password,
                     digest)) {
        return chain_error(ex, 503, S("too many passwords are being checked"));
    }
    return HANDLER_WAIT;
}

static void auth_release(void *instance)
{
    const struct basic_auth *b = instance;
    accounts_unref(b->accounts);
}

static const struct handler_ops auth_ops = {
    .name = "basic_auth", .on_request = auth_request, .release = auth_release};

/* ---- reading --------------------------------------------------------------------------------- */

/* Hashes may be written in base64, as old Caddyfiles have them. */
static struct slice plain_hash(struct build *b, struct slice hash)
{
    struct slice plain;
    if (!slice_starts(hash, S("$")) && enc_base64_decode(b->arena, hash, &plain) &&
        slice_starts(plain, S("$"))) {
        return plain;
    }
    return hash;
}

static bool read_account(struct build *b, struct accounts *a, const struct cf_directive *o)
{
    const char *why = "";
    if (a->count == ACCOUNTS_MAX) {
        cf_error(b->diags, &o->name, "more than %d users", ACCOUNTS_MAX);
        return false;
    }
    if (!expect_args(b, o, o->arg_count, 1, 1) || !expect_no_block(b, o)) {
        return false;
    }
    struct slice hash = plain_hash(b, o->args[0].text);
    if (!password_hash_valid(a->kind, hash, &why)) {
        struct cf_diag *d = cf_error(b->diags, &o->args[0], "the password of \"%.*s\" cannot be"
                                     " used: %s", SLICE_ARG(o->name.text), why);
        if (d) {
            d->hint = a->kind == PASSWORD_BCRYPT && slice_starts(hash, S("$argon2"))
                          ? S("write: basic_auth argon2id { ... }")
                          : S("caddis hash-password makes one");
        }
        return false;
    }
    if (find_account(a, o->name.text)) {
        cf_error(b->diags, &o->name, "the user \"%.*s\" is given twice", SLICE_ARG(o->name.text));
        return false;
    }
    if (slice_find(o->name.text, ':') != SLICE_NPOS) {
        cf_error(b->diags, &o->name, "a user's name has no colon in it");
        return false;
    }
    a->items = mem_realloc_array(a->items, a->count + 1, sizeof(*a->items));
    a->items[a->count++] = (struct account){slice_of(mem_dup(o->name.text), o->name.text.n),
                                            slice_of(mem_dup(hash), hash.n)};
    return true;
}

static bool read_arguments(struct build *b, const struct cf_token *args, size_t count,
                           struct accounts *a, struct basic_auth *auth)
{
    struct slice realm = count > 1 ? args[1].text : S("restricted");
    if (count && slice_eq(args[0].text, S("argon2id"))) {
        a->kind = PASSWORD_ARGON2ID;
    } else if (count && !slice_eq(args[0].text, S("bcrypt"))) {
        cf_error(b->diags, &args[0], "\"%.*s\" is no way to hash passwords (bcrypt, argon2id)",
                 SLICE_ARG(args[0].text));
        return false;
    }
    if (!field_value_valid(realm) || slice_find(realm, '"') != SLICE_NPOS) {
        cf_error(b->diags, &args[1], "a realm has no quotes and no control characters in it");
        return false;
    }
    auth->challenge = arena_printf(b->arena, "Basic realm=\"%.*s\"", SLICE_ARG(realm));
    return true;
}

bool basic_auth_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                      size_t count, struct handler *out)
{
    struct basic_auth *auth = ARENA_NEW(b->arena, struct basic_auth);
    must(auth);
    if (slice_eq(d->name.text, S("basicauth"))) {
        cf_warning(b->diags, &d->name, "\"basicauth\" is called basic_auth now");
    }
    if (!expect_args(b, d, count, 0, 2)) {
        return false;
    }
    struct accounts *a = mem_zalloc(sizeof(*a));
    atomic_init(&a->refs, 1);
    pthread_mutex_init(&a->lock, NULL);
    bool ok = read_arguments(b, args, count, a, auth);
    for (const struct cf_directive *o = d->children; o && ok; o = o->next) {
        ok = read_account(b, a, o);
    }
    if (ok && !a->count) {
        cf_error(b->diags, &d->name, "\"basic_auth\" needs users: basic_auth { name HASH }, where"
                 " caddis hash-password makes the hash");
        ok = false;
    }
    if (ok && !rand_bytes(a->key, sizeof(a->key))) {
        cf_error(b->diags, &d->name, "the system gives no random bytes");
        ok = false;
    }
    if (!ok) {
        accounts_unref(a);
        return false;
    }
    auth->accounts = a;
    out->ops = &auth_ops;
    out->instance = auth;
    return true;
}
