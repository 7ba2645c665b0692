/* When to renew by a CA's window, and how far that is trusted; the ledger of what was ordered. */
#include "acme/ari.h"
#include "acme/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define DAY SCHEDULE_DAY_MS
#define NOW ((int64_t)1795000000000)

static const struct cert_facts facts = {
    .not_before_ms = NOW, .not_after_ms = NOW + 90 * DAY, .id = "id.serial"};

static void the_drawn_moment_counts(void **state)
{
    (void)state;
    struct ari a = {.cert_id = "id.serial",
                    .start_ms = NOW + 70 * DAY,
                    .end_ms = NOW + 72 * DAY,
                    .at_ms = NOW + 71 * DAY};
    assert_int_equal(ari_renew_at_ms(&a, &facts, 0), NOW + 71 * DAY); /* later than a third left */
    a.at_ms = NOW - DAY;
    assert_int_equal(ari_renew_at_ms(&a, &facts, 0), NOW - DAY); /* in the past: at once */
    assert_true(ari_hurries(&a, &facts, 0, NOW));
    a.at_ms = NOW + 100 * DAY;
    assert_int_equal(ari_renew_at_ms(&a, &facts, 0), /* never in the last twentieth */
                     schedule_emergency_at_ms(facts.not_before_ms, facts.not_after_ms));
    a.cert_id[0] = 'x';
    assert_int_equal(ari_renew_at_ms(&a, &facts, 0), NOW + 60 * DAY);
    assert_int_equal(ari_renew_at_ms(&a, &facts, 500000), NOW + 45 * DAY);
}

static void a_ca_in_a_hurry_is_believed_more_and_more_slowly(void **state)
{
    (void)state;
    struct ari a = {.end_ms = 0};
    int64_t now = NOW;
    const int64_t waits[] = {0, 10, 100, 1440, 1440};
    for (size_t i = 0; i < ARRAY_LEN(waits); i++) {
        a.start_ms = now - 2 * DAY;
        a.end_ms = now - DAY;
        a.at_ms = now - DAY;
        memcpy(a.cert_id, facts.id, sizeof(a.cert_id));
        int64_t at = ari_renew_at_ms(&a, &facts, 0);
        if (waits[i] == 0) {
            assert_true(at <= now);
        } else {
            assert_int_equal(at, now + waits[i] * SCHEDULE_MINUTE_MS);
        }
        now = at > now ? at : now;
        ari_replaced(&a, ari_hurries(&a, &facts, 0, now), now);
        assert_int_equal(a.hurried, (int64_t)i + 1);
    }
    ari_replaced(&a, true, now + 8 * DAY);
    assert_int_equal(a.hurried, 1);
}

static void windows_are_kept_in_the_store(void **state)
{
    (void)state;
    struct store *s = store_open_memory();
    struct ari a = {.cert_id = "x.y", .start_ms = NOW, .end_ms = NOW + DAY, .at_ms = NOW + 5,
                    .ask_at_ms = NOW + 6, .hurried = 2, .hurried_ms = NOW - 7};
    struct ari b;
    struct err err;
    ari_save(s, S("ca"), S("a.example"), &a);
    ari_load(s, S("ca"), S("a.example"), NOW, &b);
    assert_string_equal(b.cert_id, "x.y");
    assert_int_equal(b.at_ms, NOW + 5);
    assert_int_equal(b.hurried, 2);
    /* A clock that was a year ahead when it was written. */
    ari_load(s, S("ca"), S("a.example"), NOW - 365 * DAY, &b);
    assert_true(b.ask_at_ms <= NOW - 365 * DAY);
    assert_int_equal(store_put(s, S("caddis/ari/ca/a.example.json"), S("{\"at_ms\":\"x\""), &err),
                     STORE_OK);
    ari_load(s, S("ca"), S("a.example"), NOW, &b);
    assert_string_equal(b.cert_id, "");
    store_close(s);
}

static void now_in_the_window(void **state)
{
    (void)state;
    struct cert_facts cert = {.id = "a.b"};
    struct ari a = {.cert_id = "a.b", .start_ms = NOW, .end_ms = NOW + DAY};
    assert_true(ari_in_window(&a, &cert, NOW));
    assert_false(ari_in_window(&a, &cert, NOW - 1));
    assert_false(ari_in_window(&a, &cert, NOW + DAY));
    cert.id[0] = 'x';
    assert_false(ari_in_window(&a, &cert, NOW)); /* another certificate's */
}

static void buckets(void **state)
{
    (void)state;
    struct ledger_bucket b = {.level_milli = 0};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(ledger_bucket_wait_ms(&b, 5, 1000, NOW), 0);
        ledger_bucket_add(&b, 5, 1000, NOW);
    }
    assert_int_equal(ledger_bucket_wait_ms(&b, 5, 1000, NOW), 1000);
    assert_int_equal(ledger_bucket_wait_ms(&b, 5, 1000, NOW + 400), 600);
    assert_int_equal(ledger_bucket_wait_ms(&b, 5, 1000, NOW + 1000), 0);
    assert_int_equal(ledger_bucket_wait_ms(&b, 5, 1000, NOW - DAY), 1000); /* a clock set back */
    assert_int_equal(ledger_bucket_wait_ms(&b, 5, 1000, INT64_MAX / 2), 0);
}

static void domains(void **state)
{
    (void)state;
    assert_true(slice_eq(ledger_domain(S("a.b.example.com")), S("example.com")));
    assert_true(slice_eq(ledger_domain(S("*.example.com")), S("example.com")));
    assert_true(slice_eq(ledger_domain(S("a.example.co.uk")), S("example.co.uk")));
    assert_true(slice_eq(ledger_domain(S("example.com")), S("example.com")));
    assert_true(slice_eq(ledger_domain(S("192.0.2.7")), S("192.0.2.7")));
    assert_true(slice_eq(ledger_domain(S("localhost")), S("localhost")));
}

static void limits_bind_the_cas_that_have_them(void **state)
{
    (void)state;
    struct store *s = store_open_memory();
    struct err why;
    struct ledger l = {.store = s,
                       .directory_url = S("https://acme-v02.api.letsencrypt.org/directory"),
                       .ca = S("acme-v02.api.letsencrypt.org-directory"),
                       .account = S("default"),
                       .name = S("a.example")};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(ledger_wait_ms(&l, NOW, &why), 0);
        ledger_count(&l, LEDGER_FAILURE, NOW);
    }
    assert_true(ledger_wait_ms(&l, NOW, &why) > 0);
    assert_non_null(strstr(why.text, "5 failed validations"));
    struct ledger other = l;
    other.name = S("b.example");
    assert_int_equal(ledger_wait_ms(&other, NOW, &why), 0);
    other = l;
    other.replaces = true; /* inside the CA's own window nothing counts */
    assert_int_equal(ledger_wait_ms(&other, NOW, &why), 0);
    other.directory_url = S("https://ca.example/directory");
    other.replaces = false;
    assert_int_equal(ledger_wait_ms(&other, NOW, &why), 0);
    l.name = S("c.example");
    for (int i = 0; i < 5; i++) {
        ledger_count(&l, LEDGER_CERTIFICATE, NOW);
    }
    assert_true(ledger_wait_ms(&l, NOW, &why) > DAY);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_drawn_moment_counts),
        cmocka_unit_test(a_ca_in_a_hurry_is_believed_more_and_more_slowly),
        cmocka_unit_test(windows_are_kept_in_the_store),
        cmocka_unit_test(now_in_the_window),
        cmocka_unit_test(buckets),
        cmocka_unit_test(domains),
        cmocka_unit_test(limits_bind_the_cas_that_have_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
