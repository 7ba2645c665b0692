/* Answers to HTTP-01 challenges (challenge.h): a small table in memory, and the store's
 * challenge_tokens for those that another instance made.
 *
 * In: answers from acme; hosts and tokens from strangers on port 80. Out: the answer or nothing.
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

#define ENTRIES_MAX ((size_t)10000)
#define BUCKETS     ((size_t)1024)
/* A stored entry (CertMagic adds url, status, error), and how many CAs' folders are searched. */
#define STORED_MAX ((size_t)16384)
#define CAS_MAX    ((size_t)64)
#define HOST_MAX   ((size_t)255)

struct entry {
    struct list node;
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
};

struct challenge_table *challenge_table_new(struct store *s)
{
    struct challenge_table *t = mem_zalloc(sizeof(*t));
    t->store = s;
    pthread_mutex_init(&t->mutex, NULL);
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
            free(LIST_ENTRY(it, struct entry, node));
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

/* False when the table is full. */
static bool remember(struct challenge_table *t, struct slice token, struct slice answer)
{
    uint64_t hash = map_hash(token);
    pthread_mutex_lock(&t->mutex);
    struct entry *e = find(t, token, hash);
    if (!e && atomic_load(&t->count) < ENTRIES_MAX) {
        e = mem_zalloc(sizeof(*e));
        e->hash = hash;
        e->token_len = token.n;
        memcpy(e->token, token.p, token.n);
        list_push_front(&t->buckets[hash % BUCKETS], &e->node);
        atomic_fetch_add(&t->count, 1);
    }
    if (e) {
        e->answer_len = answer.n;
        memcpy(e->answer, answer.p, answer.n);
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
                 struct slice answer, struct err *err)
{
    struct arena a;
    struct dstr json;
    arena_init(&a, ARENA_NO_MAX);
    dstr_init(&json, STORED_MAX);
    dstr_append(&json, S("{\"type\":\"http-01\",\"token\":"));
    dstr_json(&json, token);
    dstr_append(&json, S(",\"keyAuthorization\":"));
    dstr_json(&json, answer);
    dstr_printf(&json, ",\"identifier\":{\"type\":\"%s\",\"value\":", is_ip(name) ? "ip" : "dns");
    dstr_json(&json, name);
    dstr_append(&json, S("}}"));
    bool ok = !json.failed || err_set(err, "the name of a challenge is too long");
    struct slice key = store_challenge_key(&a, ca, name);
    if (ok && store_put(t->store, key, dstr_slice(&json), err) != STORE_OK) {
        struct dstr there;
        struct err unread;
        dstr_init(&there, STORED_MAX);
        ok = store_get(t->store, key, &there, &unread) == STORE_UNUSABLE &&
             store_set_aside(t->store, key, &unread) == STORE_OK &&
             store_put(t->store, key, dstr_slice(&json), err) == STORE_OK;
        dstr_fini(&there);
    }
    dstr_fini(&json);
    arena_fini(&a);
    return ok;
}

bool challenge_put(struct challenge_table *t, struct slice ca, struct slice name,
                   struct slice token, struct slice answer, struct err *err)
{
    if (!challenge_token_valid(token) || !answer_valid(token, answer)) {
        return err_set(err, "the challenge for %.*s has no valid token", SLICE_ARG(name));
    }
    if (!remember(t, token, answer)) {
        return err_set(err, "more than %zu challenges at once", ENTRIES_MAX);
    }
    return !t->store || save(t, ca, name, token, answer, err);
}

/* Reads the stored entry; its answer (in the arena) if its token is this one. */
static bool load(struct store *s, struct arena *a, struct slice key, struct slice token,
                 struct slice *answer)
{
    struct dstr json;
    struct slice type, stored;
    dstr_init(&json, STORED_MAX);
    struct err ignored; /* an entry that cannot be read answers nothing */
    bool ok = store_get(s, key, &json, &ignored) == STORE_OK;
    struct slice doc = dstr_slice(&json);
    ok = ok && store_json_string(a, doc, S("type"), &type) && slice_eq(type, S("http-01")) &&
         store_json_string(a, doc, S("token"), &stored) && same_secret(stored, token) &&
         store_json_string(a, doc, S("keyAuthorization"), answer) && answer_valid(token, *answer);
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
        atomic_fetch_sub(&t->count, 1);
    }
    pthread_mutex_unlock(&t->mutex);
    free(e);
    if (!t->store) {
        return;
    }
    struct arena a;
    struct slice answer;
    struct err ignored; /* left behind it answers a question nobody asks any more */
    arena_init(&a, ARENA_NO_MAX);
    struct slice key = store_challenge_key(&a, ca, name);
    /* Another instance may have put its own there meanwhile. */
    if (load(t->store, &a, key, token, &answer)) {
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
    arena_init(&a, (size_t)1 << 20);
    struct ca_list list = {.a = &a};
    struct err ignored; /* a store that cannot be read answers nothing */
    size_t n = 0;
    if (store_list(t->store, S("acme"), collect_ca, &list, &ignored) == STORE_OK) {
        for (size_t i = 0; i < list.count && n == 0; i++) {
            struct slice answer;
            struct slice key =
                arena_printf(&a, "acme/%.*s/challenge_tokens/%.*s.json", SLICE_ARG(list.cas[i]),
                             SLICE_ARG(store_safe_name(&a, host)));
            if (load(t->store, &a, key, token, &answer)) {
                n = answer.n;
                memcpy(out, answer.p, n);
            }
        }
    }
    arena_fini(&a);
    return n;
}
