/* The threads, with local names and a memory store: announcing, renewing, reconfiguring, a damaged
 * entry, a CA that cannot be reached, stopping. Waits are for events, with a generous bound. */
#include "acme/acme.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <pthread.h>
#include <time.h>

#include "acme/cert_check.h"
#include "proxy/base/clock.h"
#include "proxy/base/log.h"

#define BOUND_S 20

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int certificates, good_certificates;
static bool failed_status;

static void on_certificate(void *ctx, struct slice name, struct slice chain, struct slice key)
{
    (void)ctx;
    struct cert_facts facts;
    struct err err;
    bool good = cert_pair_matches(NULL, chain, key) &&
                cert_check(chain, NULL, &name, 1, CERT_NAMES_EXACT, &facts, &err);
    pthread_mutex_lock(&mutex);
    certificates++;
    good_certificates += good;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&mutex);
}

static void on_status(void *ctx, struct slice name, const struct acme_status *status)
{
    (void)ctx;
    (void)name;
    pthread_mutex_lock(&mutex);
    failed_status = failed_status || (!status->ready && status->last_error.n > 0 &&
                                      status->next_attempt_wall_ms > 0);
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&mutex);
}

static bool await_locked(const int *what, int count, const bool *flag)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += BOUND_S;
    int rc = 0;
    while (rc == 0 && !(flag ? *flag : *what >= count)) {
        rc = pthread_cond_timedwait(&cond, &mutex, &until);
    }
    return flag ? *flag : *what >= count;
}

static bool await(const int *what, int count, const bool *flag)
{
    pthread_mutex_lock(&mutex);
    bool ok = await_locked(what, count, flag);
    pthread_mutex_unlock(&mutex);
    return ok;
}

static struct store *store;
static struct challenge_table *table;

static int setup(void **state)
{
    (void)state;
    log_set_threshold(LOG_ERROR + 1);
    certificates = good_certificates = 0;
    failed_status = false;
    store = store_open_memory();
    table = challenge_table_new(store);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    challenge_table_free(table);
    store_close(store);
    return 0;
}

static struct acme *start(void)
{
    struct err err;
    const struct acme_callbacks callbacks = {.on_certificate = on_certificate,
                                             .on_status = on_status};
    struct acme *a = acme_start(store, table, &callbacks, &err);
    assert_non_null(a);
    return a;
}

static const struct acme_issuer local_issuer = {.kind = ACME_ISSUER_LOCAL};

static const struct acme_name local_names[] = {
    {.name = S_INIT("localhost"), .issuers = &local_issuer, .issuer_count = 1},
    {.name = S_INIT("127.0.0.1"), .issuers = &local_issuer, .issuer_count = 1},
    /* the first again */
    {.name = S_INIT("LOCALHOST"), .issuers = &local_issuer, .issuer_count = 1},
};

static void local_names_are_issued_and_found_again(void **state)
{
    (void)state;
    struct acme_config config = {.names = local_names, .name_count = 3};
    struct acme *a = start();
    acme_preload(a, &config);
    assert_int_equal(certificates, 0);
    acme_configure(a, &config);
    assert_true(await(&certificates, 2, NULL));
    assert_true(acme_stop(a, 5000));
    assert_int_equal(certificates, 2);
    a = start();
    acme_preload(a, &config);
    assert_int_equal(certificates, 5); /* one for each configured name, synchronously */
    assert_true(acme_stop(a, 5000));
    assert_int_equal(good_certificates, 5);
}

static void short_certificates_are_renewed(void **state)
{
    (void)state;
    struct acme_config config = {
        .names = local_names, .name_count = 1, .local_leaf_lifetime_ms = 5000};
    struct acme *a = start();
    acme_configure(a, &config);
    assert_true(await(&certificates, 3, NULL));
    assert_true(acme_stop(a, 5000));
    assert_int_equal(certificates, good_certificates);
}

static void a_damaged_entry_is_mended(void **state)
{
    (void)state;
    struct err err;
    struct acme_config config = {
        .names = local_names, .name_count = 1, .renew_interval_ms = 100};
    struct acme *a = start();
    acme_configure(a, &config);
    assert_true(await(&certificates, 1, NULL));
    assert_int_equal(store_put(store, S("certificates/local/localhost/localhost.crt"),
                               S("garbage"), &err),
                     STORE_OK);
    assert_true(await(&certificates, 2, NULL));
    assert_true(acme_stop(a, 5000));
    assert_int_equal(certificates, good_certificates);
}

static void an_unreachable_ca_holds_up_nobody(void **state)
{
    (void)state;
    /* Port 1 on loopback: refused at once. */
    const struct acme_issuer nobody = {.kind = ACME_ISSUER_ACME,
                                       .directory_url = S_INIT("https://127.0.0.1:1/dir")};
    const struct acme_name names[] = {
        {.name = S_INIT("example.com"), .issuers = &nobody, .issuer_count = 1},
        local_names[0],
    };
    struct acme_config config = {.names = names, .name_count = 2};
    struct acme *a = start();
    acme_configure(a, &config);
    assert_true(await(&certificates, 1, NULL));
    assert_true(await(NULL, 0, &failed_status));
    /* A reload in the middle, many times. */
    for (int i = 0; i < 50; i++) {
        config.name_count = (size_t)(i % 3);
        acme_configure(a, &config);
    }
    int64_t before = clock_mono_ms();
    assert_true(acme_stop(a, 5000));
    assert_true(clock_mono_ms() - before < 3000);
    assert_int_equal(certificates, good_certificates);
}

static void the_next_issuer_is_asked(void **state)
{
    (void)state;
    const struct acme_issuer issuers[] = {
        {.kind = ACME_ISSUER_ACME, .directory_url = S_INIT("https://127.0.0.1:1/dir")},
        {.kind = ACME_ISSUER_LOCAL},
    };
    const struct acme_name names[] = {
        {.name = S_INIT("example.com"), .issuers = issuers, .issuer_count = 2},
    };
    struct acme_config config = {.names = names, .name_count = 1};
    struct acme *a = start();
    acme_configure(a, &config);
    assert_true(await(&certificates, 1, NULL));
    assert_true(acme_stop(a, 5000));
    assert_int_equal(certificates, good_certificates);
    a = start();
    acme_preload(a, &config); /* found again, whoever signed it */
    assert_int_equal(certificates, 2);
    assert_true(acme_stop(a, 5000));
}

static void a_bad_root_file_is_said(void **state)
{
    (void)state;
    const struct acme_issuer rootless = {.kind = ACME_ISSUER_ACME,
                                         .directory_url = S_INIT("https://127.0.0.1:1/dir"),
                                         .root_files = {S_INIT("/nonexistent/ca.pem")},
                                         .root_file_count = 1};
    const struct acme_name names[] = {
        {.name = S_INIT("example.com"), .issuers = &rootless, .issuer_count = 1},
    };
    struct acme_config config = {.names = names, .name_count = 1};
    struct acme *a = start();
    acme_configure(a, &config);
    assert_true(await(NULL, 0, &failed_status));
    assert_true(acme_stop(a, 5000));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(local_names_are_issued_and_found_again),
        TEST(short_certificates_are_renewed),
        TEST(a_damaged_entry_is_mended),
        TEST(an_unreachable_ca_holds_up_nobody),
        TEST(the_next_issuer_is_asked),
        TEST(a_bad_root_file_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
