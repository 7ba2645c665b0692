/* Ticket keys that machines share: which one seals, when the next comes, what is kept of what the
 * store has, and two instances that look at the same time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proxy/base/log.h"
#include "proxy/tls/ticket_keeper.h"
#include "store/names.h"

#define NOW ((int64_t)1800000000000)
#define HOUR ((int64_t)3600 * 1000)

static void rotation(void **state)
{
    (void)state;
    struct ticket_keys keys = {.count = 0};
    assert_true(ticket_keys_due(&keys, NOW));
    assert_true(ticket_keys_renew(&keys, NOW));
    const struct ticket_key *first = ticket_keys_sealing(&keys, NOW);
    assert_non_null(first); /* the first one seals at once */
    unsigned char name[16];
    memcpy(name, first->name, sizeof(name));
    assert_false(ticket_keys_due(&keys, NOW));
    assert_false(ticket_keys_due(&keys, NOW + 11 * HOUR));
    /* The next is made ahead of its time, and everyone goes on with the old one until then. */
    int64_t ahead = NOW + TICKET_KEY_SEALS_MS - TICKET_KEY_AHEAD_MS;
    assert_true(ticket_keys_due(&keys, ahead));
    assert_true(ticket_keys_renew(&keys, ahead));
    assert_false(ticket_keys_due(&keys, ahead));
    assert_memory_equal(ticket_keys_sealing(&keys, ahead)->name, name, sizeof(name));
    const struct ticket_key *next = ticket_keys_sealing(&keys, NOW + TICKET_KEY_SEALS_MS);
    assert_memory_not_equal(next->name, name, sizeof(name));
    assert_int_equal(next->from_ms, NOW + TICKET_KEY_SEALS_MS);
    for (int64_t t = NOW; t < NOW + 300 * HOUR; t += HOUR / 12) {
        if (ticket_keys_due(&keys, t)) {
            assert_true(ticket_keys_renew(&keys, t));
        }
        assert_non_null(ticket_keys_sealing(&keys, t));
        assert_true(keys.count <= 4);
    }
}

static void clocks_that_are_wrong(void **state)
{
    (void)state;
    struct ticket_keys keys = {.count = 0};
    assert_true(ticket_keys_renew(&keys, NOW + 1000 * HOUR)); /* a machine a month ahead */
    assert_null(ticket_keys_sealing(&keys, NOW));
    assert_true(ticket_keys_due(&keys, NOW));
    assert_true(ticket_keys_renew(&keys, NOW));
    assert_int_equal(keys.count, 1); /* its key went */
    assert_int_equal(keys.items[0].from_ms, NOW);
    /* After a long sleep everything is too old. */
    assert_true(ticket_keys_renew(&keys, NOW + 100 * HOUR));
    assert_int_equal(keys.count, 1);
}

static void text(void **state)
{
    (void)state;
    struct ticket_keys keys = {.count = 0}, again;
    struct dstr out;
    dstr_init(&out, TICKET_KEYS_TEXT_MAX);
    for (int i = 0; i < 4; i++) {
        assert_true(ticket_keys_renew(&keys, NOW + i * TICKET_KEY_SEALS_MS / 2));
    }
    ticket_keys_write(&keys, &out);
    assert_true(ticket_keys_parse(dstr_slice(&out), &again));
    assert_int_equal(again.count, keys.count);
    assert_memory_equal(&again.items, &keys.items, keys.count * sizeof(keys.items[0]));
    for (size_t i = 0; i < out.n; i++) {
        bool whole = i + 1 < out.n && out.p[i - (i > 0)] == '\n';
        if (!whole) {
            assert_false(ticket_keys_parse(slice_upto(dstr_slice(&out), i), &again));
            assert_int_equal(again.count, 0);
        }
    }
    dstr_fini(&out);
}

static void looking(void **state)
{
    (void)state;
    struct err err;
    struct store *s = store_open_memory();
    struct ticket_keys a = {.count = 0}, b = {.count = 0};
    assert_true(ticket_keeper_look(s, NOW, &a, &err));
    assert_true(ticket_keeper_look(s, NOW + 1000, &b, &err));
    assert_int_equal(a.count, 1);
    assert_memory_equal(&a.items, &b.items, sizeof(a.items[0]));
    /* What is damaged is set aside, not lost and not used. */
    assert_int_equal(store_put(s, STORE_TICKET_KEYS, S("junk\n"), &err), STORE_OK);
    assert_true(ticket_keeper_look(s, NOW, &b, &err));
    assert_int_equal(b.count, 1);
    assert_memory_not_equal(a.items[0].name, b.items[0].name, sizeof(a.items[0].name));
    struct dstr junk;
    dstr_init(&junk, 4096);
    assert_int_equal(store_get(s, S("caddis/ticket_keys.damaged-1"), &junk, &err), STORE_OK);
    dstr_fini(&junk);
    store_close(s);
}

static int quiet(void **state)
{
    (void)state;
    log_set_threshold(LOG_ERROR);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rotation),
        cmocka_unit_test(clocks_that_are_wrong),
        cmocka_unit_test(text),
        cmocka_unit_test(looking),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
