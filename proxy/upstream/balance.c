/* The policies; see balance.h. */
#include "proxy/upstream/balance.h"

#include "proxy/base/rand.h"
#include "proxy/net/addr.h"

/* FNV-1a over both, then murmur's finalizer, so that near keys land far apart. */
uint64_t balance_hash(struct slice a, struct slice b)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < a.n + b.n; i++) {
        h ^= (unsigned char)(i < a.n ? a.p[i] : b.p[i - a.n]);
        h *= UINT64_C(0x100000001b3);
    }
    h ^= h >> 33;
    h *= UINT64_C(0xff51afd7ed558ccd);
    h ^= h >> 33;
    h *= UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ (h >> 33);
}

static bool has(uint64_t set, size_t i)
{
    return (set >> i) & 1;
}

static size_t nth(uint64_t usable, uint64_t n)
{
    while (n-- > 0) {
        usable &= usable - 1;
    }
    return (size_t)__builtin_ctzll(usable);
}

static size_t at_random(uint64_t usable)
{
    return nth(usable, rand_below((uint64_t)__builtin_popcountll(usable)));
}

static unsigned busy(const struct origin *o)
{
    return atomic_load_explicit(&o->active, memory_order_relaxed);
}

/* Ties are decided by chance: else an idle first origin would get everything. */
static size_t least_busy(struct origin *const *origins, size_t count, uint64_t usable)
{
    size_t best = BALANCE_NONE;
    unsigned best_active = 0;
    unsigned ties = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned active = has(usable, i) ? busy(origins[i]) : 0;
        if (!has(usable, i) || (best != BALANCE_NONE && active > best_active)) {
            continue;
        }
        ties = best == BALANCE_NONE || active < best_active ? 1 : ties + 1;
        if (rand_below(ties) == 0) {
            best = i;
        }
        best_active = active;
    }
    return best;
}

static size_t random_choose(const struct balance *b, struct origin *const *origins, size_t count,
                            uint64_t usable)
{
    uint64_t chosen = 0;
    uint64_t left = usable;
    for (unsigned i = 0; i < b->choose && left; i++) {
        uint64_t bit = (uint64_t)1 << at_random(left);
        chosen |= bit;
        left &= ~bit;
    }
    return least_busy(origins, count, chosen);
}

static unsigned next_number(const struct balance *b)
{
    return atomic_fetch_add_explicit(&b->counter->next, 1, memory_order_relaxed);
}

static size_t weighted(const struct balance *b, size_t count, uint64_t usable)
{
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += has(usable, i) ? b->weights[i] : 0;
    }
    uint64_t place = total ? next_number(b) % total : 0;
    for (size_t i = 0; i < count && total; i++) {
        uint64_t weight = has(usable, i) ? b->weights[i] : 0;
        if (place < weight) {
            return i;
        }
        place -= weight;
    }
    return BALANCE_NONE;
}

static size_t by_hash(struct origin *const *origins, size_t count, uint64_t usable,
                      struct slice key)
{
    size_t best = BALANCE_NONE;
    uint64_t best_hash = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t h = has(usable, i) ? balance_hash(origins[i]->text, key) : 0;
        if (has(usable, i) && (best == BALANCE_NONE || h > best_hash)) {
            best = i;
            best_hash = h;
        }
    }
    return best;
}

static size_t by_address(struct origin *const *origins, size_t count, uint64_t usable,
                         const struct addr *a)
{
    char buf[ADDR_TEXT_BYTES];
    return by_hash(origins, count, usable, addr_host_text(a, buf));
}

/* The value of key in "a=1&b=2"; p == NULL: it is not there. */
static struct slice query_value(struct slice query, struct slice key)
{
    struct slice pair;
    while (slice_cut(&query, '&', &pair)) {
        struct slice name;
        if (slice_cut(&pair, '=', &name) && slice_eq(name, key)) {
            return pair.p ? pair : S("");
        }
    }
    return (struct slice){NULL, 0};
}

static struct slice cookie_value(const struct fields *fields, struct slice name)
{
    for (unsigned i = 0; i < fields->count; i++) {
        struct slice rest = fields->items[i].value;
        struct slice pair;
        while (fields->items[i].id == FIELD_COOKIE && slice_cut(&rest, ';', &pair)) {
            struct slice value = slice_trim(pair);
            struct slice key;
            if (slice_cut(&value, '=', &key) && slice_eq(key, name)) {
                return value;
            }
        }
    }
    return (struct slice){NULL, 0};
}

static size_t by_cookie(const struct balance *b, struct origin *const *origins, size_t count,
                        uint64_t usable, const struct exchange *ex, bool *new_cookie)
{
    struct slice value = cookie_value(&ex->req.fields, b->name);
    for (size_t i = 0; value.n && i < count; i++) {
        if (has(usable, i) && slice_eq(b->cookies[i], value)) {
            return i;
        }
    }
    size_t i = balance_choose(b->fallback, origins, count, usable, ex, NULL);
    if (new_cookie) {
        *new_cookie = i != BALANCE_NONE;
    }
    return i;
}

static size_t by_text(const struct balance *b, struct origin *const *origins, size_t count,
                      uint64_t usable, const struct exchange *ex)
{
    struct slice text = {NULL, 0};
    if (b->policy == POLICY_QUERY) {
        text = query_value(ex->req.query, b->name);
    } else if (slice_eq_case(b->name, S("host"))) {
        text = ex->req.authority;
    } else {
        const struct field *f = fields_find(&ex->req.fields, b->name);
        text = f ? f->value : text;
    }
    return text.n ? by_hash(origins, count, usable, text)
                  : balance_choose(b->fallback, origins, count, usable, ex, NULL);
}

size_t balance_choose(const struct balance *b, struct origin *const *origins, size_t count,
                      uint64_t usable, const struct exchange *ex, bool *new_cookie)
{
    if (!usable) {
        return BALANCE_NONE;
    }
    switch (b->policy) {
    case POLICY_RANDOM:
        break;
    case POLICY_RANDOM_CHOOSE:
        return random_choose(b, origins, count, usable);
    case POLICY_FIRST:
        return nth(usable, 0);
    case POLICY_ROUND_ROBIN:
        return nth(usable, next_number(b) % (unsigned)__builtin_popcountll(usable));
    case POLICY_WEIGHTED_ROUND_ROBIN:
        return weighted(b, count, usable);
    case POLICY_LEAST_CONN:
        return least_busy(origins, count, usable);
    case POLICY_IP_HASH:
        return by_address(origins, count, usable, ex->client.peer);
    case POLICY_CLIENT_IP_HASH:
        return by_address(origins, count, usable, ex->client_addr);
    case POLICY_URI_HASH:
        return by_hash(origins, count, usable, ex->req.target);
    case POLICY_QUERY:
    case POLICY_HEADER:
        return by_text(b, origins, count, usable, ex);
    case POLICY_COOKIE:
        return by_cookie(b, origins, count, usable, ex, new_cookie);
    }
    return at_random(usable);
}
