/* Answers to challenges (challenge.h): a small table in memory, and the store's challenge_tokens
 * for those that another instance made.
 *
 * In: answers from acme; hosts, tokens and server names from strangers. Out: the answer or nothing.
 * The table owns its entries; lookups copy. Buckets are chosen by a keyed hash and tokens compared
 * in constant time, so that timing tells nothing about a token. */
#include "store/challenge.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>

#include "proxy/base/list.h"
#include "proxy/base/map.h"
#include "proxy/base/mem.h"
#include "store/backend.h"
#include "store/json.h"
#include "store/names.h"
#include "store/reverse_name.h"

#define ENTRIES_MAX ((size_t)10000)
#define BUCKETS     ((size_t)1024)
/* A stored entry (CertMagic adds url, status, error), and how many CAs' folders are searched. */
#define STORED_MAX ((size_t)16384)
#define CAS_MAX    ((size_t)64)
#define HOST_MAX   ((size_t)255)

#define HTTP     "http-01"
#define TLS_ALPN "tls-alpn-01"

struct entry {
    struct list node;
    struct list tls_node;   /* in the table's tls; by itself: an HTTP-01 answer */
    char *server_name, *pem; /* owned; TLS-ALPN-01 only */
    uint64_t hash;
    size_t token_len;
    size_t answer_len;
    char token[CHALLENGE_TOKEN_MAX];
    char answer[CHALLENGE_ANSWER_MAX];
};

struct challenge_table {
    struct store *store; /* borrowed; NULL: memory only */
    pthread_mutex_t mutex;
    atomic_size_t count; /* read without the mutex: almost always 0 */
    struct list buckets[BUCKETS];
    struct list tls; /* those with a certificate: as many as there are orders at once */
};

static void entry_free(struct entry *e)
{
    if (e && e->pem) {
        explicit_bzero(e->pem, strlen(e->pem));
    }
    free(e ? e->pem : NULL);
    free(e ? e->server_name : NULL);
    free(e);
}

struct challenge_table *challenge_table_new(struct store *s)
{
    struct challenge_table *t = mem_zalloc(sizeof(*t));
    t->store = s;
    pthread_mutex_init(&t->mutex, NULL);
    list_init(&t->tls);
    for (size_t i = 0; i < BUCKETS; i++) {
        list_init(&t->buckets[i]);
    }
    return t;
}

void challenge_table_free(struct challenge_table *t)
{
    if (!t) {
        return;
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        LIST_EACH_SAFE(it, &t->buckets[i])
        {
            entry_free(LIST_ENTRY(it, struct entry, node));
        }
    }
    pthread_mutex_destroy(&t->mutex);
    free(t);
}

static bool is_base64url(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c) || c == '-' || c == '_';
}

bool challenge_token_valid(struct slice token)
{
    if (token.n == 0 || token.n > CHALLENGE_TOKEN_MAX) {
        return false;
    }
    for (size_t i = 0; i < token.n; i++) {
        if (!is_base64url(token.p[i])) {
            return false;
        }
    }
    return true;
}

/* Constant time for equal lengths; the length of a token is no secret. */
static bool same_secret(struct slice a, struct slice b)
{
    if (a.n != b.n) {
        return false;
    }
    unsigned char diff = 0;
    for (size_t i = 0; i < a.n; i++) {
        diff = (unsigned char)(diff | (a.p[i] ^ b.p[i]));
    }
    /* Hides from the compiler that it could stop early. */
    __asm__ volatile("" : "+r"(diff));
    return diff == 0;
}

/* token, ".", base64url thumbprint (RFC 8555 section 8.1). */
static bool answer_valid(struct slice token, struct slice answer)
{
    if (answer.n <= token.n + 1 || answer.n > CHALLENGE_ANSWER_MAX ||
        !same_secret(slice_upto(answer, token.n), token) || answer.p[token.n] != '.') {
        return false;
    }
    for (size_t i = token.n + 1; i < answer.n; i++) {
        if (!is_base64url(answer.p[i])) {
            return false;
        }
    }
    return true;
}

static struct entry *find(struct challenge_table *t, struct slice token, uint64_t hash)
{
    LIST_EACH(it, &t->buckets[hash % BUCKETS])
    {
        struct entry *e = LIST_ENTRY(it, struct entry, node);
        if (e->hash == hash && same_secret(slice_of(e->token, e->token_len), token)) {
            return e;
        }
    }
    return NULL;
}

/* With the mutex. pem.n == 0: an HTTP-01 answer. */
static void set_certificate(struct challenge_table *t, struct entry *e, struct slice server_name,
                            struct slice pem)
{
    free(e->server_name);
    free(e->pem);
    list_remove(&e->tls_node);
    list_init(&e->tls_node);
    e->server_name = pem.n ? mem_dup(server_name) : NULL;
    e->pem = pem.n ? mem_dup(pem) : NULL;
    if (pem.n) {
        list_push_front(&t->tls, &e->tls_node);
    }
}

/* False when the table is full. */
static bool remember(struct challenge_table *t, struct slice token, struct slice answer,
                     struct slice server_name, struct slice pem)
{
    uint64_t hash = map_hash(token);
    pthread_mutex_lock(&t->mutex);
    struct entry *e = find(t, token, hash);
    if (!e && atomic_load(&t->count) < ENTRIES_MAX) {
        e = mem_zalloc(sizeof(*e));
        e->hash = hash;
        e->token_len = token.n;
        memcpy(e->token, token.p, token.n);
        list_init(&e->tls_node);
        list_push_front(&t->buckets[hash % BUCKETS], &e->node);
        atomic_fetch_add(&t->count, 1);
    }
    if (e) {
        e->answer_len = answer.n;
        memcpy(e->answer, answer.p, answer.n);
        set_certificate(t, e, server_name, pem);
    }
    pthread_mutex_unlock(&t->mutex);
    return e != NULL;
}

static bool is_ip(struct slice name)
{
    char text[INET6_ADDRSTRLEN + 1];
    struct in6_addr addr;
    if (name.n >= sizeof(text)) {
        return false;
    }
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    return inet_pton(AF_INET, text, &addr) == 1 || inet_pton(AF_INET6, text, &addr) == 1;
}

static bool save(struct challenge_table *t, struct slice ca, struct slice name, struct slice token,
                 struct slice answer, struct slice pem, struct err *err)
{
    struct arena a;
    struct dstr json;
    arena_init(&a, ARENA_NO_MAX);
    dstr_init(&json, STORED_MAX);
    dstr_printf(&json, "{\"type\":\"%s\",\"token\":", pem.n ? TLS_ALPN : HTTP);
    dstr_json(&json, token);
    dstr_append(&json, S(",\"keyAuthorization\":"));
    dstr_json(&json, answer);
    dstr_printf(&json, ",\"identifier\":{\"type\":\"%s\",\"value\":", is_ip(name) ? "ip" : "dns");
    dstr_json(&json, name);
    dstr_byte(&json, '}');
    if (pem.n) {
        dstr_append(&json, S(",\"certificate\":"));
        dstr_json(&json, pem);
    }
    dstr_byte(&json, '}');
    bool ok = !json.failed || err_set(err, "the name of a challenge is too long");
    struct slice key = store_challenge_key(&a, ca, name);
    ok = ok && store_put(t->store, key, dstr_slice(&json), err) == STORE_OK;
    if (json.p) {
        explicit_bzero(json.p, json.n);
    }
    dstr_fini(&json);
    arena_fini(&a);
    return ok;
}

static bool put(struct challenge_table *t, struct slice ca, struct slice name, struct slice token,
                struct slice answer, struct slice pem, struct err *err)
{
    char reverse[REVERSE_NAME_BYTES];
    if (!challenge_token_valid(token) || !answer_valid(token, answer)) {
        return err_set(err, "the challenge for %.*s has no valid token", SLICE_ARG(name));
    }
    struct slice server_name = reverse_name_of(name, reverse) ? slice_str(reverse) : name;
    if (!remember(t, token, answer, server_name, pem)) {
        return err_set(err, "more than %zu challenges at once", ENTRIES_MAX);
    }
    return !t->store || save(t, ca, name, token, answer, pem, err);
}

bool challenge_put(struct challenge_table *t, struct slice ca, struct slice name,
                   struct slice token, struct slice answer, struct err *err)
{
    return put(t, ca, name, token, answer, S(""), err);
}

bool challenge_put_tls(struct challenge_table *t, struct slice ca, struct slice name,
                       struct slice token, struct slice answer, struct slice pem, struct err *err)
{
    if (pem.n == 0 || pem.n > CHALLENGE_PEM_MAX || memchr(pem.p, '\0', pem.n)) {
        return err_set(err, "the challenge for %.*s has no certificate", SLICE_ARG(name));
    }
    return put(t, ca, name, token, answer, pem, err);
}

/* A stored entry; strings in the arena. */
struct stored {
    struct slice type, token, answer, certificate;
};

/* False: there is none that can be read, with a token and the answer to it. */
static bool load(struct store *s, struct arena *a, struct slice key, struct stored *out)
{
    struct dstr json;
    dstr_init(&json, STORED_MAX);
    struct err ignored; /* an entry that cannot be read answers nothing */
    bool ok = store_get(s, key, &json, &ignored) == STORE_OK;
    struct slice doc = dstr_slice(&json);
    ok = ok && store_json_string(a, doc, S("type"), &out->type) &&
         store_json_string(a, doc, S("token"), &out->token) &&
         store_json_string(a, doc, S("keyAuthorization"), &out->answer) &&
         store_json_string(a, doc, S("certificate"), &out->certificate) &&
         challenge_token_valid(out->token) && answer_valid(out->token, out->answer);
    if (json.p) {
        explicit_bzero(json.p, json.n);
    }
    dstr_fini(&json);
    return ok;
}

void challenge_remove(struct challenge_table *t, struct slice ca, struct slice name,
                      struct slice token)
{
    if (!challenge_token_valid(token)) {
        return;
    }
    pthread_mutex_lock(&t->mutex);
    struct entry *e = find(t, token, map_hash(token));
    if (e) {
        list_remove(&e->node);
        list_remove(&e->tls_node);
        atomic_fetch_sub(&t->count, 1);
    }
    pthread_mutex_unlock(&t->mutex);
    entry_free(e);
    if (!t->store) {
        return;
    }
    struct arena a;
    struct stored there;
    struct err ignored; /* left behind it answers a question nobody asks any more */
    arena_init(&a, ARENA_NO_MAX);
    struct slice key = store_challenge_key(&a, ca, name);
    /* Another instance may have put its own there meanwhile. */
    if (load(t->store, &a, key, &there) && same_secret(there.token, token)) {
        store_ignore(store_delete(t->store, key, &ignored));
    }
    arena_fini(&a);
}

size_t challenge_find_local(struct challenge_table *t, struct slice token,
                            char out[CHALLENGE_ANSWER_MAX])
{
    size_t n = 0;
    if (atomic_load(&t->count) == 0 || !challenge_token_valid(token)) {
        return 0;
    }
    uint64_t hash = map_hash(token);
    pthread_mutex_lock(&t->mutex);
    struct entry *e = find(t, token, hash);
    if (e) {
        n = e->answer_len;
        memcpy(out, e->answer, n);
    }
    pthread_mutex_unlock(&t->mutex);
    return n;
}

struct ca_list {
    struct arena *a;
    struct slice cas[CAS_MAX];
    size_t count;
};

static void collect_ca(void *ctx, struct slice name, bool is_folder)
{
    struct ca_list *list = ctx;
    if (is_folder && list->count < CAS_MAX) {
        list->cas[list->count++] = arena_copy(list->a, name);
    }
}

/* The first entry for name (of any CA) that fits(ctx); false: there is none. */
static bool find_stored(struct challenge_table *t, struct arena *a, struct slice name,
                        bool (*fits)(const struct stored *s, const void *ctx), const void *ctx,
                        struct stored *out)
{
    struct ca_list list = {.a = a};
    struct err ignored; /* a store that cannot be read answers nothing */
    if (store_list(t->store, S("acme"), collect_ca, &list, &ignored) != STORE_OK) {
        return false;
    }
    for (size_t i = 0; i < list.count; i++) {
        struct slice key =
            arena_printf(a, "acme/%.*s/challenge_tokens/%.*s.json", SLICE_ARG(list.cas[i]),
                         SLICE_ARG(store_safe_name(a, name)));
        if (load(t->store, a, key, out) && fits(out, ctx)) {
            return true;
        }
    }
    return false;
}

static bool fits_token(const struct stored *s, const void *ctx)
{
    return slice_eq(s->type, S(HTTP)) && same_secret(s->token, *(const struct slice *)ctx);
}

size_t challenge_find_stored(struct challenge_table *t, struct slice host, struct slice token,
                             char out[CHALLENGE_ANSWER_MAX])
{
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']') {
        host = slice_of(host.p + 1, host.n - 2); /* an IPv6 literal; its key has none */
    }
    if (!t->store || !challenge_token_valid(token) || host.n == 0 || host.n > HOST_MAX) {
        return 0;
    }
    struct arena a;
    struct stored found;
    arena_init(&a, (size_t)1 << 20);
    size_t n = 0;
    if (find_stored(t, &a, host, fits_token, &token, &found)) {
        n = found.answer.n;
        memcpy(out, found.answer.p, n);
    }
    arena_fini(&a);
    return n;
}

bool challenge_find_tls_local(struct challenge_table *t, struct slice server_name,
                              struct dstr *pem)
{
    bool found = false;
    if (atomic_load(&t->count) == 0) {
        return false;
    }
    pthread_mutex_lock(&t->mutex);
    LIST_EACH (it, &t->tls) {
        const struct entry *e = LIST_ENTRY(it, struct entry, tls_node);
        if (!found && slice_eq_case(slice_str(e->server_name), server_name)) {
            dstr_append(pem, slice_str(e->pem));
            found = true;
        }
    }
    pthread_mutex_unlock(&t->mutex);
    return found && !pem->failed;
}

static bool fits_tls(const struct stored *s, const void *ctx)
{
    (void)ctx;
    return slice_eq(s->type, S(TLS_ALPN)) && s->certificate.n &&
           s->certificate.n <= CHALLENGE_PEM_MAX;
}

bool challenge_find_tls_stored(struct challenge_table *t, struct slice server_name,
                               struct dstr *pem)
{
    char address[REVERSE_NAME_BYTES];
    if (!t->store || server_name.n == 0 || server_name.n > HOST_MAX) {
        return false;
    }
    struct slice name =
        reverse_name_address(server_name, address) ? slice_str(address) : server_name;
    struct arena a;
    struct stored found;
    arena_init(&a, (size_t)1 << 20);
    bool ok = find_stored(t, &a, name, fits_tls, NULL, &found);
    if (ok) {
        dstr_append(pem, found.certificate);
    }
    arena_fini(&a);
    return ok && !pem->failed;
}
