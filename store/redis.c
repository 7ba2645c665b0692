/* The Redis back end: one store for several machines. redis.h says what is where.
 *
 * Every change is one script, so that it happens whole or not at all, and only while the locks that
 * the calling thread holds are still its own (fencing). How lasting a change is, is the server's
 * business (appendonly, replicas). In: checked keys. Out: bytes, or errors that name the server. */
#include "store/redis.h"

#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/mem.h"

#define VALUE_MAX (STORE_VALUE_MAX + 1 + SEAL_OVERHEAD)
/* What a reply has beside the value. */
#define REPLY_EXTRA ((size_t)4096)
#define LIST_BYTES_MAX ((size_t)32 << 20)
/* How often a value that changes under a copy is read again. */
#define COPY_TRIES_MAX 10
#define MARK S("caddis 1")

/* KEYS: locks, the value, the other value, folders of the first, folders of the second.
 * ARGV: how many locks, their tokens, what to do, how many folders of each, the names in them, what
 * the value was, what it becomes. 1: done, 0: no such value, 2: it changed, -1: a lock was lost. */
static const char change_script[] =
    "local n=tonumber(ARGV[1]) "
    "for i=1,n do if redis.call('get',KEYS[i])~=ARGV[i+1] then return -1 end end "
    "local op,c1,c2=ARGV[n+2],tonumber(ARGV[n+3]),tonumber(ARGV[n+4]) "
    "local v1,v2=KEYS[n+1],KEYS[n+2] "
    "local old,new=ARGV[n+5+c1+c2],ARGV[n+6+c1+c2] "
    "local function enter(k,a,c) "
    "for i=1,c do redis.call('sadd',KEYS[k+i],ARGV[a+i]) end end "
    "local function leave(k,a,c) "
    "for i=c,1,-1 do redis.call('srem',KEYS[k+i],ARGV[a+i]) "
    "if redis.call('exists',KEYS[k+i])==1 then break end end end "
    "if op=='put' then redis.call('set',v1,new) enter(n+2,n+4,c1) return 1 end "
    "if op=='del' then redis.call('del',v1) leave(n+2,n+4,c1) return 1 end "
    "if redis.call('exists',v1)==0 then return 0 end "
    "if op=='raw' then redis.call('rename',v1,v2) "
    "elseif redis.call('get',v1)~=old then return 2 "
    "else redis.call('set',v2,new) if op=='move' then redis.call('del',v1) end end "
    "enter(n+2+c1,n+4+c1,c2) "
    "if op~='copy' then leave(n+2,n+4,c1) end "
    "return 1";

/* ---- values ---- */

static struct slice bound_to(struct redis_store *rs, struct arena *a, struct slice key)
{
    return arena_printf(a, "%s:%.*s", rs->prefix, SLICE_ARG(key));
}

/* Into out (initialised by the caller, wiped by the caller). */
static bool encode(struct redis_store *rs, struct slice key, struct slice value, struct dstr *out,
                   struct err *err)
{
    struct arena a;
    arena_init(&a, ARENA_NO_MAX);
    bool ok = dstr_reserve(out, value.n + 1 + SEAL_OVERHEAD) != NULL ||
              err_set(err, "out of memory for a value");
    if (ok) {
        dstr_byte(out, rs->sealed ? 's' : 'p');
        if (rs->sealed) {
            ok = seal(rs->key, bound_to(rs, &a, key), value, out, err);
        } else {
            dstr_append(out, value);
        }
    }
    arena_fini(&a);
    return ok;
}

/* Appends to out; false with err when these are no bytes that encode made for this key. */
static bool decode(struct redis_store *rs, struct slice key, struct slice raw, struct dstr *out,
                   struct err *err)
{
    if (raw.n == 0 || raw.p[0] != (rs->sealed ? 's' : 'p')) {
        return err_set(err, rs->sealed ? "it is not encrypted, although encryption_key is set"
                            : raw.n && raw.p[0] == 's'
                                ? "it is encrypted, and no encryption_key is set"
                                : "it was not written by caddis");
    }
    struct slice bytes = slice_from(raw, 1);
    if (rs->sealed) {
        struct arena a;
        arena_init(&a, ARENA_NO_MAX);
        bool ok = seal_open(rs->key, bound_to(rs, &a, key), bytes, out, err);
        arena_fini(&a);
        return ok;
    }
    if (!dstr_reserve(out, bytes.n)) {
        return err_set(err, "it is larger than wanted");
    }
    dstr_append(out, bytes);
    return true;
}

static struct slice value_key(struct redis_store *rs, struct arena *a, struct slice key)
{
    return arena_printf(a, "%s:v:%.*s", rs->prefix, SLICE_ARG(key));
}

/* The raw bytes. STORE_UNUSABLE: no text, or too long. *reply is the caller's when STORE_OK. */
static enum store_result get_raw(struct redis_store *rs, struct arena *a, struct slice key,
                                 struct redis_reply **reply, struct err *err)
{
    char fault[REDIS_FAULT_BYTES], end[32];
    (void)snprintf(end, sizeof(end), "%zu", VALUE_MAX); /* one byte more than there may be */
    struct slice args[] = {S("GETRANGE"), value_key(rs, a, key), S("0"), slice_str(end)};
    struct redis_reply *r = redis_link_call(rs->link, args, ARRAY_LEN(args),
                                            VALUE_MAX + REPLY_EXTRA, fault, err);
    enum store_result result = STORE_OK;
    if (!r) {
        bool no_text = slice_eq(slice_str(fault), S("WRONGTYPE"));
        err_prefix(err, "cannot read %s/%.*s: ", rs->base.path, SLICE_ARG(key));
        return no_text ? STORE_UNUSABLE : STORE_FAILED;
    }
    if (r->kind != REDIS_TEXT) {
        err_set(err, "cannot read %s/%.*s: an answer that is none of a Redis server", rs->base.path,
                SLICE_ARG(key));
        result = STORE_FAILED;
    } else if (r->n == 0) {
        result = STORE_MISSING; /* every value has at least its first letter */
    } else if (r->n > VALUE_MAX) {
        err_set(err, "%s/%.*s has more than the %zu bytes allowed: it is not used", rs->base.path,
                SLICE_ARG(key), STORE_VALUE_MAX);
        result = STORE_UNUSABLE;
    }
    if (result == STORE_OK) {
        *reply = r;
    } else {
        redis_reply_free(r);
    }
    return result;
}

static enum store_result redis_get(struct store *s, struct slice key, struct dstr *out,
                                   struct err *err)
{
    struct redis_store *rs = redis_of(s);
    struct arena a;
    struct redis_reply *r;
    arena_init(&a, ARENA_NO_MAX);
    enum store_result result = get_raw(rs, &a, key, &r, err);
    if (result == STORE_OK) {
        if (!decode(rs, key, slice_of(r->text, r->n), out, err)) {
            err_prefix(err, "%s/%.*s cannot be used: ", s->path, SLICE_ARG(key));
            result = STORE_UNUSABLE;
        }
        redis_reply_free(r);
    }
    arena_fini(&a);
    return result;
}

/* ---- changes ---- */

struct change {
    struct redis_store *rs;
    struct arena a;
    struct slice keys[REDIS_ARGS_MAX / 2];
    struct slice args[REDIS_ARGS_MAX / 2];
    size_t key_count, arg_count;
};

static void add_key(struct change *c, struct slice key)
{
    must(c->key_count < ARRAY_LEN(c->keys));
    c->keys[c->key_count++] = key;
}

static void add_arg(struct change *c, struct slice arg)
{
    must(c->arg_count < ARRAY_LEN(c->args));
    c->args[c->arg_count++] = arg;
}

static size_t depth_of(struct slice key)
{
    size_t n = 1;
    for (size_t i = 0; i < key.n; i++) {
        n += key.p[i] == '/';
    }
    return n;
}

/* The sets of the folders above key, outermost first. */
static void add_folders(struct change *c, struct slice key)
{
    add_key(c, arena_printf(&c->a, "%s:d:", c->rs->prefix));
    for (size_t i = 0; i < key.n; i++) {
        if (key.p[i] == '/') {
            add_key(c, arena_printf(&c->a, "%s:d:%.*s", c->rs->prefix,
                                    SLICE_ARG(slice_upto(key, i))));
        }
    }
}

/* The names in them. */
static void add_names(struct change *c, struct slice key)
{
    size_t from = 0;
    for (size_t i = 0; i < key.n; i++) {
        if (key.p[i] == '/') {
            add_arg(c, slice_of(key.p + from, i + 1 - from));
            from = i + 1;
        }
    }
    add_arg(c, slice_from(key, from));
}

static enum store_result send_change(struct change *c, struct slice key, const char *op,
                                     struct err *err)
{
    struct slice args[REDIS_ARGS_MAX] = {S("EVAL"), slice_str(change_script),
                                         arena_printf(&c->a, "%zu", c->key_count)};
    size_t n = 3;
    must(3 + c->key_count + c->arg_count <= REDIS_ARGS_MAX);
    for (size_t i = 0; i < c->key_count; i++) {
        args[n++] = c->keys[i];
    }
    for (size_t i = 0; i < c->arg_count; i++) {
        args[n++] = c->args[i];
    }
    struct redis_store *rs = c->rs;
    struct redis_reply *r =
        redis_link_call(rs->link, args, n, REPLY_EXTRA, NULL, err);
    if (!r) {
        err_prefix(err, "cannot %s %s/%.*s: ", op, rs->base.path, SLICE_ARG(key));
        return STORE_FAILED;
    }
    long long code = r->kind == REDIS_NUMBER ? r->number : -2;
    redis_reply_free(r);
    if (code == 1 || code == 0) {
        return code == 1 ? STORE_OK : STORE_MISSING;
    }
    if (code == 2) {
        return STORE_UNUSABLE; /* transfer() looks again */
    }
    err_set(err, code == -1
                     ? "cannot %s %s/%.*s: the lock it is done under was lost meanwhile"
                     : "cannot %s %s/%.*s: an answer that is none of a Redis server",
            op, rs->base.path, SLICE_ARG(key));
    return STORE_FAILED;
}

/* to: empty for what has one key. before and after: see change_script. */
static enum store_result change(struct redis_store *rs, const char *op, struct slice key,
                                struct slice to, struct slice before, struct slice after,
                                struct err *err)
{
    struct change c = {.rs = rs};
    struct redis_fence fence;
    arena_init(&c.a, ARENA_NO_MAX);
    enum store_result result = STORE_FAILED;
    if (redis_fence_get(rs, &c.a, &fence, err)) {
        add_arg(&c, arena_printf(&c.a, "%zu", fence.count));
        for (size_t i = 0; i < fence.count; i++) {
            add_key(&c, fence.keys[i]);
            add_arg(&c, fence.tokens[i]);
        }
        add_arg(&c, slice_str(op));
        add_arg(&c, arena_printf(&c.a, "%zu", depth_of(key)));
        add_arg(&c, arena_printf(&c.a, "%zu", to.n ? depth_of(to) : 0));
        add_key(&c, value_key(rs, &c.a, key));
        add_key(&c, value_key(rs, &c.a, to.n ? to : key));
        add_folders(&c, key);
        add_names(&c, key);
        if (to.n) {
            add_folders(&c, to);
            add_names(&c, to);
        }
        add_arg(&c, before);
        add_arg(&c, after);
        result = send_change(&c, key, op, err);
    }
    arena_fini(&c.a);
    return result;
}

static enum store_result redis_put(struct store *s, struct slice key, struct slice value,
                                   struct err *err)
{
    struct redis_store *rs = redis_of(s);
    struct dstr raw;
    dstr_init(&raw, VALUE_MAX);
    enum store_result result = STORE_FAILED;
    if (encode(rs, key, value, &raw, err)) {
        result = change(rs, "put", key, S(""), S(""), dstr_slice(&raw), err);
    }
    store_wipe(&raw);
    return result;
}

static enum store_result redis_del(struct store *s, struct slice key, struct err *err)
{
    return change(redis_of(s), "del", key, S(""), S(""), S(""), err);
}

/* What a sealed value is bound to changes with its name, so that it is sealed anew on the way. What
 * cannot be read moves as it is: it is damaged there as well. */
static enum store_result transfer_once(struct redis_store *rs, const char *op, struct slice from,
                                       struct slice to, struct err *err)
{
    struct arena a;
    struct dstr plain, raw;
    struct redis_reply *r = NULL;
    arena_init(&a, ARENA_NO_MAX);
    dstr_init(&plain, VALUE_MAX);
    dstr_init(&raw, VALUE_MAX);
    bool moves = slice_eq(slice_str(op), S("move"));
    enum store_result result = get_raw(rs, &a, from, &r, err);
    struct slice before = r ? slice_of(r->text, r->n) : S("");
    if (result == STORE_OK && !decode(rs, from, before, &plain, err)) {
        result = STORE_UNUSABLE;
    }
    if (result == STORE_OK) {
        result = encode(rs, to, dstr_slice(&plain), &raw, err)
                     ? change(rs, op, from, to, before, dstr_slice(&raw), err)
                     : STORE_FAILED;
    } else if (result == STORE_UNUSABLE) {
        result = moves ? change(rs, "raw", from, to, S(""), S(""), err) : STORE_FAILED;
    }
    redis_reply_free(r);
    store_wipe(&plain);
    store_wipe(&raw);
    arena_fini(&a);
    return result;
}

static enum store_result transfer(struct store *s, const char *op, struct slice from,
                                  struct slice to, struct err *err)
{
    struct redis_store *rs = redis_of(s);
    if (slice_eq(from, to)) {
        return STORE_OK;
    }
    for (int i = 0; i < COPY_TRIES_MAX; i++) {
        enum store_result result = transfer_once(rs, op, from, to, err);
        if (result != STORE_UNUSABLE) {
            return result;
        }
    }
    err_set(err, "cannot %s %s/%.*s: it changes all the time", op, s->path, SLICE_ARG(from));
    return STORE_FAILED;
}

static enum store_result redis_rename(struct store *s, struct slice from, struct slice to,
                                      struct err *err)
{
    return transfer(s, "move", from, to, err);
}

static enum store_result redis_copy(struct store *s, struct slice from, struct slice to,
                                    struct err *err)
{
    return transfer(s, "copy", from, to, err);
}

/* ---- list ---- */

static enum store_result redis_list(struct store *s, struct slice prefix,
                                    void (*each)(void *ctx, struct slice name, bool is_folder),
                                    void *ctx, struct err *err)
{
    struct redis_store *rs = redis_of(s);
    struct arena a;
    struct store_names names = {0};
    arena_init(&a, ARENA_NO_MAX);
    struct slice args[] = {S("SMEMBERS"),
                           arena_printf(&a, "%s:d:%.*s", rs->prefix, SLICE_ARG(prefix))};
    struct redis_reply *r =
        redis_link_call(rs->link, args, ARRAY_LEN(args), LIST_BYTES_MAX, NULL, err);
    arena_fini(&a);
    if (!r || r->kind != REDIS_LIST) {
        if (r) {
            err_set(err, "an answer that is none of a Redis server");
            redis_reply_free(r);
        }
        err_prefix(err, "cannot list %s/%.*s: ", s->path, SLICE_ARG(prefix));
        return STORE_FAILED;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < r->count; i++) {
        struct slice name = slice_of(r->items[i]->text, r->items[i]->n);
        bool is_folder = name.n && name.p[name.n - 1] == '/';
        name = slice_upto(name, name.n - is_folder);
        if (store_key_valid(name, false) && slice_find(name, '/') == SLICE_NPOS &&
            !store_name_is_temp(name)) {
            ok = store_names_add(&names, name, is_folder);
        }
    }
    redis_reply_free(r);
    enum store_result result = !ok                            ? STORE_FAILED
                               : names.count || prefix.n == 0 ? STORE_OK
                                                              : STORE_MISSING;
    if (!ok) {
        store_names_free(&names);
        err_set(err, "%s/%.*s has too many entries", s->path, SLICE_ARG(prefix));
        return result;
    }
    store_names_deliver(&names, each, ctx);
    return result;
}

/* ---- the mark ---- */

/* NULL: no mark, or err. */
static struct redis_reply *get_mark(struct redis_stream *s, struct slice key, struct err *err)
{
    struct slice args[] = {S("GET"), key};
    struct redis_reply *r = redis_link_on(s, args, ARRAY_LEN(args), REPLY_EXTRA, err);
    if (r && r->kind == REDIS_FAULT) {
        char fault[REDIS_FAULT_BYTES];
        redis_link_explain(r, fault, err);
        redis_reply_free(r);
        return NULL;
    }
    return r;
}

static bool put_mark(struct redis_store *rs, struct redis_stream *s, struct slice key,
                     struct err *err)
{
    struct dstr raw;
    dstr_init(&raw, 4096);
    bool ok = encode(rs, S("mark"), MARK, &raw, err);
    if (ok) {
        /* Not over one that came meanwhile. A server that takes no changes says so again later. */
        struct slice args[] = {S("SET"), key, dstr_slice(&raw), S("NX")};
        struct redis_reply *r = redis_link_on(s, args, ARRAY_LEN(args), REPLY_EXTRA, err);
        ok = r != NULL;
        redis_reply_free(r);
    }
    dstr_fini(&raw);
    return ok;
}

static bool mark_fits(struct redis_store *rs, struct slice raw, struct err *err)
{
    struct dstr plain;
    struct err why;
    dstr_init(&plain, 4096);
    bool ok = decode(rs, S("mark"), raw, &plain, &why) && slice_eq(dstr_slice(&plain), MARK);
    dstr_fini(&plain);
    if (ok) {
        return true;
    }
    bool is_sealed = raw.n && raw.p[0] == 's';
    if (is_sealed == rs->sealed) {
        return err_set(err, is_sealed
                                ? "what is stored under \"%s:\" was encrypted with another"
                                  " encryption_key: use the one that the other machines have"
                                : "what is stored under \"%s:\" is not of this caddis: choose"
                                  " another key_prefix",
                       rs->prefix);
    }
    return err_set(err, is_sealed ? "what is stored under \"%s:\" is encrypted: set encryption_key"
                                  : "what is stored under \"%s:\" is not encrypted: choose another"
                                    " key_prefix, or move it with caddis storage export and import",
                   rs->prefix);
}

/* A wrong key is noticed here, once, and no value looks damaged because of it. */
static bool greet(void *ctx, struct redis_stream *s, struct err *err)
{
    struct redis_store *rs = ctx;
    struct arena a;
    arena_init(&a, ARENA_NO_MAX);
    struct slice key = arena_printf(&a, "%s:mark", rs->prefix);
    struct redis_reply *r = get_mark(s, key, err);
    bool ok = r != NULL;
    if (ok && r->kind == REDIS_NIL) {
        redis_reply_free(r);
        r = put_mark(rs, s, key, err) ? get_mark(s, key, err) : NULL;
        ok = r != NULL;
    }
    if (ok && r->kind == REDIS_TEXT) {
        ok = mark_fits(rs, slice_of(r->text, r->n), err);
    }
    redis_reply_free(r);
    arena_fini(&a);
    return ok;
}

/* ---- open and close ---- */

static void redis_close(struct store *s)
{
    struct redis_store *rs = redis_of(s);
    if (!redis_locks_fini(rs)) {
        return; /* a thread still looks at it; the process ends anyway */
    }
    redis_link_free(rs->link);
    explicit_bzero(rs->key, sizeof(rs->key));
    free(rs->prefix);
    free(rs->base.path);
    free(rs);
}

static const struct store_ops redis_ops = {
    .close = redis_close,
    .get = redis_get,
    .put = redis_put,
    .del = redis_del,
    .list = redis_list,
    .rename = redis_rename,
    .copy = redis_copy,
    .try_lock = redis_try_lock,
    .unlock = redis_unlock,
};

struct store *redis_open(const struct redis_link_setup *setup, struct slice prefix,
                         const unsigned char *key)
{
    struct redis_store *rs = mem_zalloc(sizeof(*rs));
    struct redis_link_setup own = *setup;
    struct dstr path;
    dstr_init(&path, 4096);
    dstr_printf(&path, "redis://%.*s/%u/%.*s", SLICE_ARG(setup->addresses[0]), setup->db,
                SLICE_ARG(prefix));
    rs->base.ops = &redis_ops;
    rs->base.path = mem_dup(dstr_slice(&path));
    dstr_fini(&path);
    rs->prefix = mem_dup(prefix);
    rs->sealed = key != NULL;
    if (key) {
        memcpy(rs->key, key, sizeof(rs->key));
    }
    redis_locks_init(&rs->locks);
    own.greet = greet;
    own.ctx = rs;
    rs->link = redis_link_new(&own);
    return &rs->base;
}
