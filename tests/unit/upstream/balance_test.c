/* Balancing policies and passive health, without a connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/base/dstr.h"
#include "proxy/loop/loop.h"
#include "proxy/net/addr.h"
#include "proxy/upstream/balance.h"

#define COUNT 5
#define ALL ((uint64_t)(1u << COUNT) - 1)

static struct loop *loop;
static struct addr peer;
static struct origin *origins[COUNT];
static struct exchange *ex;
static const struct http_service service = {0};
static const struct exchange_codec codec = {0};
static struct balance_counter counter;

static size_t choose(const struct balance *b, uint64_t usable)
{
    size_t i = balance_choose(b, origins, COUNT, usable, ex, NULL);
    assert_true(i == BALANCE_NONE || ((usable >> i) & 1));
    return i;
}

static void test_hash_is_fixed(void **state)
{
    (void)state;
    /* Machines that share traffic must agree, today and after an update. */
    assert_true(balance_hash(S("a:1"), S("key")) == balance_hash(S("a:1k"), S("ey")));
    assert_true(balance_hash(S(""), S("")) == UINT64_C(0xefd01f60ba992926));
    assert_true(balance_hash(S("10.0.0.1:80"), S("203.0.113.7")) == UINT64_C(0xc71887439258de5f));
}

static void test_none_usable(void **state)
{
    (void)state;
    for (int p = POLICY_RANDOM; p <= POLICY_URI_HASH; p++) {
        unsigned weights[COUNT] = {1, 1, 1, 1, 1};
        struct balance b = {.policy = (enum lb_policy)p, .choose = 2, .weights = weights,
                            .counter = &counter};
        assert_int_equal(choose(&b, 0), BALANCE_NONE);
        for (unsigned i = 0; i < COUNT; i++) {
            assert_int_equal(choose(&b, (uint64_t)1 << i), i);
        }
    }
}

static void test_first_and_round_robin(void **state)
{
    (void)state;
    struct balance first = {.policy = POLICY_FIRST};
    assert_int_equal(choose(&first, ALL), 0);
    assert_int_equal(choose(&first, ALL & ~(uint64_t)1), 1);
    struct balance_counter c = {0};
    struct balance rr = {.policy = POLICY_ROUND_ROBIN, .counter = &c};
    unsigned seen[COUNT] = {0};
    for (int i = 0; i < COUNT * 4; i++) {
        seen[choose(&rr, ALL)]++;
    }
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(seen[i], 4);
    }
}

static void test_weights(void **state)
{
    (void)state;
    static const unsigned weights[COUNT] = {3, 0, 1, 0, 2};
    struct balance_counter c = {0};
    struct balance b = {.policy = POLICY_WEIGHTED_ROUND_ROBIN, .counter = &c, .weights = weights};
    unsigned seen[COUNT] = {0};
    for (int i = 0; i < 60; i++) {
        seen[choose(&b, ALL)]++;
    }
    assert_int_equal(seen[0], 30);
    assert_int_equal(seen[1] + seen[3], 0);
    assert_int_equal(seen[2], 10);
    assert_int_equal(seen[4], 20);
    assert_int_equal(choose(&b, 1u << 1 | 1u << 3), BALANCE_NONE);
    assert_int_equal(choose(&b, 1u << 1 | 1u << 2), 2);
}

static void test_least_busy(void **state)
{
    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        atomic_store(&origins[i]->active, i == 3 ? 1u : 5u + i);
    }
    struct balance b = {.policy = POLICY_LEAST_CONN};
    assert_int_equal(choose(&b, ALL), 3);
    assert_int_equal(choose(&b, ALL & ~(uint64_t)(1u << 3)), 0);
    struct balance all = {.policy = POLICY_RANDOM_CHOOSE, .choose = COUNT};
    assert_int_equal(choose(&all, ALL), 3);
    for (unsigned i = 0; i < COUNT; i++) {
        atomic_store(&origins[i]->active, 0);
    }
}

/* Rendezvous hashing: an origin that goes takes only its own keys with it, and all get a share. */
static void test_hashing_moves_little(void **state)
{
    (void)state;
    struct balance b = {.policy = POLICY_URI_HASH};
    unsigned seen[COUNT] = {0};
    for (int i = 0; i < 1000; i++) {
        char buf[32];
        struct dstr text;
        dstr_init(&text, sizeof(buf));
        dstr_printf(&text, "/page/%d", i);
        ex->req.target = dstr_slice(&text);
        size_t with_all = choose(&b, ALL);
        size_t without = choose(&b, ALL & ~(uint64_t)(1u << 2));
        assert_true(with_all == 2 || with_all == without);
        seen[with_all]++;
        dstr_fini(&text);
    }
    for (int i = 0; i < COUNT; i++) {
        assert_in_range(seen[i], 140, 260);
    }
}

static void test_query_header_cookie(void **state)
{
    (void)state;
    struct balance first = {.policy = POLICY_FIRST};
    struct balance query = {.policy = POLICY_QUERY, .name = S("user"), .fallback = &first};
    struct balance header = {.policy = POLICY_HEADER, .name = S("x-user"), .fallback = &first};
    struct slice values[COUNT] = {S("v0"), S("v1"), S("v2"), S("v3"), S("v4")};
    struct balance cookie = {.policy = POLICY_COOKIE, .name = S("lb"), .fallback = &first,
                             .cookies = values};
    bool fresh = false;
    ex->req.query = S("a=1&users=2");
    assert_int_equal(choose(&query, ALL & ~(uint64_t)1), 1);
    ex->req.query = S("a=1&user=bob");
    size_t i = choose(&query, ALL);
    ex->req.query = S("user=bob&z");
    assert_int_equal(choose(&query, ALL), i);
    assert_int_equal(choose(&header, ALL), 0);
    assert_int_equal(balance_choose(&cookie, origins, COUNT, ALL, ex, &fresh), 0);
    assert_true(fresh);
    assert_true(fields_add(&ex->req.fields, &ex->arena, S("Cookie"), S("a=lb=v1; lb=v3")));
    fresh = false;
    assert_int_equal(balance_choose(&cookie, origins, COUNT, ALL, ex, &fresh), 3);
    assert_false(fresh);
    assert_int_equal(
        balance_choose(&cookie, origins, COUNT, ALL & ~(uint64_t)(1u << 3), ex, &fresh), 0);
    assert_true(fresh);
}

static void test_passive_health(void **state)
{
    (void)state;
    struct health_policy policy = {.fail_duration_ms = 1000, .max_fails = 3,
                                   .request_count_max = 2};
    struct health h;
    health_init(&h, &policy);
    assert_true(health_usable(&h, 1, 5000));
    assert_false(health_usable(&h, 2, 5000));
    health_count_failure(&h, 5000);
    health_count_failure(&h, 5400);
    assert_true(health_usable(&h, 0, 5400));
    health_count_failure(&h, 5900);
    assert_false(health_usable(&h, 0, 5999));
    assert_true(health_usable(&h, 0, 6000)); /* the first one is forgotten */
    health_count_failure(&h, 6100);
    assert_false(health_usable(&h, 0, 6399));
    assert_true(health_usable(&h, 0, 6400));
    health_fini(&h);
    health_init(&h, &(struct health_policy){0});
    health_count_failure(&h, 1);
    assert_true(health_usable(&h, 1000000, 1));
    atomic_store(&h.down, true);
    assert_false(health_usable(&h, 0, 1));
    health_fini(&h);
}

static int set_up(void **state)
{
    (void)state;
    struct err err;
    static const char *const names[COUNT] = {"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80",
                                             "10.0.0.4:80", "10.0.0.5:80"};
    loop = loop_new(&err);
    if (!loop || !addr_parse_ip(S("192.0.2.7"), 4000, &peer)) {
        return -1;
    }
    for (size_t i = 0; i < COUNT; i++) {
        struct origin like = {.key = slice_str(names[i]), .text = slice_str(names[i])};
        origins[i] = origin_new(&like);
    }
    struct client_info client = {.peer = &peer, .local = &peer};
    ex = exchange_new(loop, loop_queue(loop), &codec, &service, &client);
    ex->req.target = S("/");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    exchange_release(ex);
    for (size_t i = 0; i < COUNT; i++) {
        origin_unref(origins[i]);
    }
    exchange_pool_drain();
    loop_free(loop);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_is_fixed),      cmocka_unit_test(test_none_usable),
        cmocka_unit_test(test_first_and_round_robin), cmocka_unit_test(test_weights),
        cmocka_unit_test(test_least_busy),         cmocka_unit_test(test_hashing_moves_little),
        cmocka_unit_test(test_query_header_cookie), cmocka_unit_test(test_passive_health),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
