/* What `storage redis { … }` may say: the names that Caddy's usual Redis storage has, each a row in
 * the table below. In: settings. Out: complaints, or an open store. */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/mem.h"
#include "store/kinds.h"
#include "store/redis.h"

#define DB_MAX        65535
#define TIMEOUT_S_MAX 300
#define TIMEOUT_S     5
#define PORT          "6379"
#define PREFIX_MAX    ((size_t)128)

struct reading {
    struct arena arena;
    struct redis_link_setup setup;
    struct slice hosts[REDIS_ADDRESSES_MAX];
    struct slice ports[REDIS_ADDRESSES_MAX];
    size_t host_count, port_count;
    struct slice prefix;
    unsigned char key[SEAL_KEY_BYTES];
    bool has_key;
    bool tls, tls_insecure;
    struct slice ca_pem, ca_path;
    store_complain *complain;
    void *ctx;
    const struct store_setting *at;
};

static bool wrong(struct reading *r, const char *text)
{
    if (r->complain) {
        r->complain(r->ctx, r->at, text);
    }
    return false;
}

static bool one_value(struct reading *r, struct slice *out)
{
    if (r->at->count != 1) {
        return wrong(r, "it takes one value");
    }
    *out = r->at->values[0];
    return true;
}

static bool number(struct reading *r, uint64_t max, const char *text, uint64_t *out)
{
    struct slice v;
    return one_value(r, &v) && (slice_u64(v, max, out) || wrong(r, text));
}

/* Nothing, or true or false. */
static void flag(struct reading *r, bool *out)
{
    struct slice v = r->at->count ? r->at->values[0] : S("true");
    if (r->at->count > 1 || (!slice_eq(v, S("true")) && !slice_eq(v, S("false")) &&
                             !slice_eq(v, S("on")) && !slice_eq(v, S("off")))) {
        (void)wrong(r, "it takes true or false, or nothing, which is true");
        return;
    }
    *out = slice_eq(v, S("true")) || slice_eq(v, S("on"));
}

static void set_address(struct reading *r)
{
    if (!r->at->count) {
        (void)wrong(r, "address takes HOST:PORT, or unix//PATH; several are tried in turn");
    }
    for (size_t i = 0; i < r->at->count; i++) {
        struct slice v = r->at->values[i];
        bool bare = !redis_address_valid(v);
        v = bare ? arena_printf(&r->arena, "%.*s:" PORT, SLICE_ARG(v)) : v;
        if (!redis_address_valid(v)) {
            (void)wrong(r, "address takes HOST:PORT, or unix//PATH; several are tried in turn");
        } else if (r->setup.address_count == REDIS_ADDRESSES_MAX) {
            (void)wrong(r, "there are too many addresses");
            return;
        } else {
            r->setup.addresses[r->setup.address_count++] = v;
        }
    }
}

static void collect(struct reading *r, struct slice *to, size_t *count)
{
    for (size_t i = 0; i < r->at->count && *count < REDIS_ADDRESSES_MAX; i++) {
        to[(*count)++] = r->at->values[i];
    }
    if (!r->at->count) {
        (void)wrong(r, "it needs a value");
    }
}

static void set_host(struct reading *r)
{
    collect(r, r->hosts, &r->host_count);
}

static void set_port(struct reading *r)
{
    collect(r, r->ports, &r->port_count);
}

static void set_db(struct reading *r)
{
    uint64_t v = 0;
    if (number(r, DB_MAX, "db is a number", &v)) {
        r->setup.db = (unsigned)v;
    }
}

static void set_username(struct reading *r)
{
    (void)one_value(r, &r->setup.username);
}

static void set_password(struct reading *r)
{
    (void)one_value(r, &r->setup.password);
}

static void set_timeout(struct reading *r)
{
    struct slice v;
    uint64_t s = 0;
    if (!one_value(r, &v)) {
        return;
    }
    v = slice_ends(v, S("s")) ? slice_upto(v, v.n - 1) : v;
    if (!slice_u64(v, TIMEOUT_S_MAX, &s) || s == 0) {
        (void)wrong(r, "timeout is a number of seconds from 1 to 300");
        return;
    }
    r->setup.timeout_ms = (int64_t)s * 1000;
}

static void set_prefix(struct reading *r)
{
    struct slice v;
    if (!one_value(r, &v)) {
        return;
    }
    bool ok = v.n > 0 && v.n <= PREFIX_MAX;
    for (size_t i = 0; ok && i < v.n; i++) {
        ok = v.p[i] > 0x20 && v.p[i] < 0x7f;
    }
    if (!ok) {
        (void)wrong(r, "key_prefix is a short word without spaces");
        return;
    }
    r->prefix = v;
}

static void set_key(struct reading *r)
{
    struct slice v;
    if (one_value(r, &v)) {
        r->has_key = seal_key_parse(v, r->key) ||
                     wrong(r, "encryption_key is 32 characters or 64 hexadecimal digits (openssl"
                           " rand -hex 32 makes one)");
    }
}

static void set_tls(struct reading *r)
{
    flag(r, &r->tls);
}

static void set_tls_insecure(struct reading *r)
{
    flag(r, &r->tls_insecure);
}

static void set_ca_pem(struct reading *r)
{
    (void)one_value(r, &r->ca_pem);
}

static void set_ca_path(struct reading *r)
{
    (void)one_value(r, &r->ca_path);
}

static void set_client_type(struct reading *r)
{
    struct slice v;
    if (one_value(r, &v) && !slice_eq(v, S("simple"))) {
        (void)wrong(r, "client_type is simple; Redis Cluster and Sentinel are not in caddis"
                    " (several addresses are tried in turn)");
    }
}

static void set_compression(struct reading *r)
{
    bool wanted = false;
    flag(r, &wanted);
    if (wanted) {
        (void)wrong(r, "caddis does not compress what it stores: leave compression out");
    }
}

static const struct {
    struct slice name;
    void (*set)(struct reading *r);
} table[] = {
    {S_INIT("address"), set_address},
    {S_INIT("client_type"), set_client_type},
    {S_INIT("compression"), set_compression},
    {S_INIT("db"), set_db},
    {S_INIT("encryption_key"), set_key},
    {S_INIT("host"), set_host},
    {S_INIT("key_prefix"), set_prefix},
    {S_INIT("password"), set_password},
    {S_INIT("port"), set_port},
    {S_INIT("timeout"), set_timeout},
    {S_INIT("tls"), set_tls},
    {S_INIT("tls_enabled"), set_tls},
    {S_INIT("tls_insecure"), set_tls_insecure},
    {S_INIT("tls_server_certs_path"), set_ca_path},
    {S_INIT("tls_server_certs_pem"), set_ca_pem},
    {S_INIT("username"), set_username},
};

static void read_one(struct reading *r)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (slice_eq(r->at->name, table[i].name)) {
            table[i].set(r);
            return;
        }
    }
    (void)wrong(r, "storage redis has address, host, port, db, username, password, timeout,"
                " key_prefix, encryption_key, tls_enabled, tls_insecure, tls_server_certs_pem,"
                " tls_server_certs_path");
}

/* host and port lists go together, a single port with every host. */
static void join_hosts(struct reading *r)
{
    struct slice any = r->port_count ? r->ports[0] : S(PORT);
    if (r->setup.address_count && (r->host_count || r->port_count)) {
        (void)wrong(r, "storage redis takes address, or host and port, not both");
        return;
    }
    if (r->setup.address_count) {
        return;
    }
    if (!r->host_count) {
        r->hosts[r->host_count++] = S("127.0.0.1");
    }
    for (size_t i = 0; i < r->host_count; i++) {
        struct slice port = i < r->port_count ? r->ports[i] : any;
        bool v6 = slice_find(r->hosts[i], ':') != SLICE_NPOS && r->hosts[i].p[0] != '[';
        struct slice joined = arena_printf(&r->arena, v6 ? "[%.*s]:%.*s" : "%.*s:%.*s",
                                           SLICE_ARG(r->hosts[i]), SLICE_ARG(port));
        if (redis_address_valid(joined)) {
            r->setup.addresses[r->setup.address_count++] = joined;
        } else {
            (void)wrong(r, "storage redis: host and port make no address");
        }
    }
}

static void read_all(struct reading *r, const struct store_settings *s)
{
    arena_init(&r->arena, ARENA_NO_MAX);
    r->setup.timeout_ms = TIMEOUT_S * 1000;
    r->prefix = S("caddis");
    for (size_t i = 0; i < s->count; i++) {
        r->at = &s->items[i];
        read_one(r);
    }
    r->at = NULL;
    if (s->arg_count) {
        (void)wrong(r, "storage redis takes its settings in a block: storage redis { address"
                    " 127.0.0.1:6379 }");
    }
    join_hosts(r);
    if (!r->tls && (r->tls_insecure || r->ca_pem.n || r->ca_path.n)) {
        (void)wrong(r, "storage redis: what begins with tls_ needs tls_enabled true");
    }
    if (r->setup.username.n && !r->setup.password.n) {
        (void)wrong(r, "storage redis: a username needs a password");
    }
}

static void reading_fini(struct reading *r)
{
    explicit_bzero(r->key, sizeof(r->key));
    arena_fini(&r->arena);
}

static void check(const struct store_settings *s, store_complain *complain, void *ctx)
{
    struct reading r = {.complain = complain, .ctx = ctx};
    read_all(&r, s);
    reading_fini(&r);
}

static struct store *open_settings(const struct store_settings *s, struct err *err)
{
    struct reading r = {.complain = NULL};
    struct store *store = NULL;
    read_all(&r, s);
    if (r.tls) {
        r.setup.tls = redis_tls_new(r.tls_insecure, r.ca_pem, r.ca_path, err);
    }
    if (!r.tls || r.setup.tls) {
        store = redis_open(&r.setup, r.prefix, r.has_key ? r.key : NULL);
    }
    reading_fini(&r);
    return store;
}

const struct store_kind store_kind_redis = {
    .name = S_INIT("redis"),
    .check = check,
    .open = open_settings,
};
