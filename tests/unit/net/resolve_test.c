/* The resolver, with the name servers (dns.h) replaced by a script: caching, TTLs, failures,
 * coalescing, cancelling at every moment, bounds. The clock of the table is real, so only what
 * happens within a few seconds is waited for. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "proxy/net/resolve.h"
#include "tests/unit/net/helper.h"

static atomic_int lookups;    /* questions so far */
static atomic_int last_octet; /* what is answered: 10.0.0.N; 0: nothing */
static atomic_int ttl_ms;
static atomic_bool gate_open; /* names that begin with "slow" wait for it */

struct dns *dns_new(struct loop *l, struct err *err UNUSED)
{
    return (struct dns *)(void *)l; /* nothing of it is looked at */
}

void dns_free(struct dns *d UNUSED)
{
}

/* On the resolver's thread. */
void dns_start(struct dns *d UNUSED, struct dns_query *q)
{
    struct addr a;
    char text[32];
    struct dns_srv srv = {.port = 81, .target = "a.example"};
    struct dns_answer answer = {.ttl_ms = atomic_load(&ttl_ms), .error = "timed out"};
    atomic_fetch_add(&lookups, 1);
    while (slice_starts(q->name, S("slow")) && !atomic_load(&gate_open)) {
        sched_yield();
    }
    int octet = atomic_load(&last_octet);
    (void)snprintf(text, sizeof(text), "10.0.%d.%d", q->servers.n ? 9 : 0, octet);
    if (slice_starts(q->name, S("bad"))) {
        answer.error = "name not known";
    } else if (octet) {
        assert_true(addr_parse_ip(slice_str(text), 0, &a));
        answer = (struct dns_answer){.addrs = &a, .srv = &srv, .count = 1, .ttl_ms = answer.ttl_ms};
    }
    q->done(q, &answer);
}

struct bench {
    struct fixture f;
    struct resolver *r;
    int left; /* answers to wait for */
};

struct query {
    struct resolve_request rq;
    struct bench *bench;
    int answers;
};

static void bench_init(struct bench *b)
{
    struct err err;
    fixture_init(&b->f);
    b->r = resolver_new(&err);
    b->left = 0;
    assert_non_null(b->r);
    atomic_store(&lookups, 0);
    atomic_store(&last_octet, 1);
    atomic_store(&ttl_ms, 60000);
    atomic_store(&gate_open, false);
}

static void bench_fini(struct bench *b)
{
    atomic_store(&gate_open, true);
    resolver_free(b->r);
    fixture_fini(&b->f);
}

static void on_done(struct resolve_request *rq)
{
    struct query *q = container_of(rq, struct query, rq);
    q->answers++;
    if (--q->bench->left == 0) {
        loop_stop(q->bench->f.loop);
    }
}

static void ask(struct bench *b, struct query *q, struct slice host)
{
    *q = (struct query){.bench = b, .rq = {.host = host, .port = 80, .done = on_done}};
    b->left++;
    resolve_start(b->r, b->f.loop, &q->rq);
    assert_int_equal(q->answers, 0); /* never from inside the call */
}

static void check(struct bench *b, struct slice host, const char *wanted)
{
    struct query q;
    char buf[ADDR_TEXT_BYTES];
    ask(b, &q, host);
    fixture_run(&b->f);
    assert_int_equal(q.answers, 1);
    assert_true(q.rq.count >= 1);
    assert_true(slice_eq(addr_text(&q.rq.addrs[0], buf), slice_str(wanted)));
}

static void check_fails(struct bench *b, struct slice host, const char *error)
{
    struct query q;
    ask(b, &q, host);
    fixture_run(&b->f);
    assert_int_equal(q.rq.count, 0);
    assert_string_equal(q.rq.error, error);
}

static void without_a_lookup(void **state UNUSED)
{
    struct bench b;
    bench_init(&b);
    check(&b, S("192.0.2.7"), "192.0.2.7:80");
    check(&b, S("::1"), "[::1]:80");
    check(&b, S("[2001:db8::1]"), "[2001:db8::1]:80");
    check(&b, S("localhost"), "127.0.0.1:80");
    check(&b, S("App.LocalHost."), "127.0.0.1:80");
    check_fails(&b, S(""), "name not known");
    check_fails(&b, S("a b"), "name not known");
    check_fails(&b, S("a\0b"), "name not known");
    check_fails(&b, S("[::1"), "name not known");
    assert_int_equal(atomic_load(&lookups), 0);
    bench_fini(&b);
}

static void answers_are_kept(void **state UNUSED)
{
    struct bench b;
    struct query q;
    bench_init(&b);
    ask(&b, &q, S("app.example"));
    fixture_run(&b.f);
    assert_int_equal(q.rq.count, 1); /* repetitions are gone */
    check(&b, S("APP.example"), "10.0.0.1:80");
    assert_int_equal(atomic_load(&lookups), 1);
    bench_fini(&b);
}

static void failures_say_why(void **state UNUSED)
{
    struct bench b;
    bench_init(&b);
    check_fails(&b, S("bad.example"), "name not known");
    check_fails(&b, S("bad.example"), "name not known");
    assert_int_equal(atomic_load(&lookups), 1); /* not asked again at once */
    atomic_store(&last_octet, 0);
    check_fails(&b, S("other.example"), "timed out");
    bench_fini(&b);
}

static void sleep_past_a_second(void)
{
    struct timespec t = {.tv_sec = 1, .tv_nsec = 50 * 1000 * 1000};
    nanosleep(&t, NULL);
}

static void forgetting_asks_again_and_keeps_the_old_for_bad_times(void **state UNUSED)
{
    struct bench b;
    bench_init(&b);
    check(&b, S("app.example"), "10.0.0.1:80");
    atomic_store(&last_octet, 2);
    /* Too soon: it has just been asked. */
    assert_false(resolver_forget(b.r, S("app.example"), S("")));
    check(&b, S("app.example"), "10.0.0.1:80");
    sleep_past_a_second();
    assert_true(resolver_forget(b.r, S("APP.example"), S("")));
    check(&b, S("app.example"), "10.0.0.2:80");
    sleep_past_a_second();
    atomic_store(&last_octet, 0);
    assert_true(resolver_forget(b.r, S("app.example"), S("")));
    check(&b, S("app.example"), "10.0.0.2:80"); /* asked, failed, kept */
    assert_int_equal(atomic_load(&lookups), 3);
    assert_false(resolver_forget(b.r, S("unknown.example"), S("")));
    bench_fini(&b);
}

/* A TTL of 0 counts as one second; when it is over (and the second of grace) the new answer is
 * waited for; while the name is used it is asked again before. */
static void the_ttl_is_kept(void **state UNUSED)
{
    struct bench b;
    bench_init(&b);
    atomic_store(&ttl_ms, 0);
    check(&b, S("app.example"), "10.0.0.1:80");
    check(&b, S("app.example"), "10.0.0.1:80");
    assert_int_equal(atomic_load(&lookups), 1);
    atomic_store(&last_octet, 2);
    sleep_past_a_second();
    check(&b, S("app.example"), "10.0.0.1:80"); /* not waited for, but asked */
    while (atomic_load(&lookups) < 2) {
        sched_yield();
    }
    sleep_past_a_second();
    sleep_past_a_second();
    atomic_store(&last_octet, 3);
    check(&b, S("app.example"), "10.0.0.3:80");
    assert_int_equal(atomic_load(&lookups), 3);
    bench_fini(&b);
}

static void a_greatest_age_goes_before_the_ttl(void **state UNUSED)
{
    struct bench b;
    struct query q = {.bench = &b};
    bench_init(&b);
    check(&b, S("app.example"), "10.0.0.1:80");
    atomic_store(&last_octet, 2);
    sleep_past_a_second();
    sleep_past_a_second();
    q.rq = (struct resolve_request){
        .host = S("app.example"), .port = 80, .max_age_ms = 500, .done = on_done};
    b.left++;
    resolve_start(b.r, b.f.loop, &q.rq);
    fixture_run(&b.f);
    assert_int_equal(q.rq.count, 1);
    assert_int_equal(ntohl(q.rq.addrs[0].u.in.sin_addr.s_addr) & 0xff, 2);
    assert_false(q.rq.cached);
    bench_fini(&b);
}

static void kinds_and_servers_are_told_apart(void **state UNUSED)
{
    static struct dns_srv srv[DNS_SRV_MAX];
    struct bench b;
    struct query q = {.bench = &b};
    char buf[ADDR_TEXT_BYTES];
    bench_init(&b);
    check(&b, S("app.example"), "10.0.0.1:80");
    q.rq = (struct resolve_request){
        .host = S("app.example"), .port = 80, .servers = S("192.0.2.53"), .done = on_done};
    b.left++;
    resolve_start(b.r, b.f.loop, &q.rq);
    fixture_run(&b.f);
    assert_true(slice_eq(addr_text(&q.rq.addrs[0], buf), S("10.0.9.1:80")));
    q.rq = (struct resolve_request){.host = S("app.example"), .srv = srv, .done = on_done};
    b.left++;
    resolve_start(b.r, b.f.loop, &q.rq);
    fixture_run(&b.f);
    assert_int_equal(q.rq.count, 1);
    assert_string_equal(srv[0].target, "a.example");
    assert_int_equal(srv[0].port, 81);
    check(&b, S("app.example"), "10.0.0.1:80");
    assert_int_equal(atomic_load(&lookups), 3);
    bench_fini(&b);
}

static void one_lookup_for_all_who_wait(void **state UNUSED)
{
    struct bench b;
    struct query q[20];
    bench_init(&b);
    for (size_t i = 0; i < ARRAY_LEN(q); i++) {
        ask(&b, &q[i], S("slow.example"));
    }
    b.left = 0;
    check(&b, S("192.0.2.1"), "192.0.2.1:80"); /* the loop goes on */
    atomic_store(&gate_open, true);
    b.left = ARRAY_LEN(q);
    fixture_run(&b.f);
    for (size_t i = 0; i < ARRAY_LEN(q); i++) {
        assert_int_equal(q[i].answers, 1);
        assert_int_equal(q[i].rq.count, 1);
    }
    assert_int_equal(atomic_load(&lookups), 1);
    bench_fini(&b);
}

static void too_many_lookups(void **state UNUSED)
{
    enum { COUNT = 80 }; /* of which 64 may be under way */
    struct bench b;
    static struct query q[COUNT];
    static char names[COUNT][32];
    int refused = 0;
    bench_init(&b);
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "slow%d.example", i);
        ask(&b, &q[i], slice_str(names[i]));
    }
    atomic_store(&gate_open, true);
    fixture_run(&b.f);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(q[i].answers, 1);
        if (q[i].rq.count == 0) {
            assert_string_equal(q[i].rq.error, "too many look-ups");
            refused++;
        }
    }
    assert_int_equal(refused, COUNT - 64);
    bench_fini(&b);
}

/* The table stays at its maximum, whatever is asked. */
static void many_names(void **state UNUSED)
{
    struct bench b;
    char name[32];
    bench_init(&b);
    for (int i = 0; i < 1500; i++) {
        (void)snprintf(name, sizeof(name), "n%d.example", i);
        check(&b, slice_str(name), "10.0.0.1:80");
    }
    check(&b, S("n1499.example"), "10.0.0.1:80");
    assert_int_equal(atomic_load(&lookups), 1500);
    check(&b, S("n0.example"), "10.0.0.1:80"); /* has had to go */
    assert_int_equal(atomic_load(&lookups), 1501);
    bench_fini(&b);
}

static void cancelling_before_and_after_the_answer_is_sent(void **state UNUSED)
{
    struct bench b;
    bench_init(&b);
    struct query *early = malloc(sizeof(*early));
    struct query *late = malloc(sizeof(*late));
    struct query *cached = malloc(sizeof(*cached));
    assert_true(early && late && cached);
    ask(&b, early, S("slow.example"));
    resolve_cancel(&early->rq);
    free(early); /* ASan watches from here on */
    ask(&b, late, S("slow.example"));
    atomic_store(&gate_open, true);
    while (atomic_load(&lookups) < 1) {
        sched_yield();
    }
    struct timespec t = {.tv_nsec =
                             20 * 1000 * 1000}; /* most likely sent by now; either is right */
    nanosleep(&t, NULL);
    resolve_cancel(&late->rq);
    resolve_cancel(&late->rq); /* harmless */
    free(late);
    b.left = 0;
    check(&b, S("slow.example"), "10.0.0.1:80");
    ask(&b, cached, S("slow.example"));
    resolve_cancel(&cached->rq);
    free(cached);
    b.left = 0;
    check(&b, S("127.0.0.1"), "127.0.0.1:80");
    bench_fini(&b);
}

enum { ROUNDS = 400 };

static void *hammer(void *arg)
{
    struct bench *shared = arg;
    struct bench b = {.r = shared->r};
    char name[32];
    fixture_init(&b.f);
    for (int i = 0; i < ROUNDS; i++) {
        struct query kept;
        struct query dropped;
        (void)snprintf(name, sizeof(name), "h%d.example", i % 50);
        ask(&b, &kept, slice_str(name));
        ask(&b, &dropped, slice_str(name));
        resolve_cancel(&dropped.rq);
        b.left--;
        fixture_run(&b.f);
        if (kept.answers != 1 || dropped.answers != 0) {
            abort();
        }
        (void)resolver_forget(b.r, slice_str(name), S(""));
    }
    fixture_fini(&b.f);
    return NULL;
}

static void several_loops_at_once(void **state UNUSED)
{
    struct bench b;
    pthread_t threads[3];
    bench_init(&b);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &b), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    bench_fini(&b);
}

/* What still waits is answered when the resolver ends. */
static void the_end_answers_those_who_wait(void **state UNUSED)
{
    struct bench b;
    struct query q[2];
    bench_init(&b);
    ask(&b, &q[0], S("slow1.example"));
    while (atomic_load(&lookups) < 1) {
        sched_yield();
    }
    ask(&b, &q[1], S("slow2.example"));
    atomic_store(&gate_open, true);
    resolver_free(b.r);
    fixture_run(&b.f);
    assert_int_equal(q[0].answers, 1);
    assert_int_equal(q[1].answers, 1);
    fixture_fini(&b.f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_lookup),
        cmocka_unit_test(answers_are_kept),
        cmocka_unit_test(failures_say_why),
        cmocka_unit_test(forgetting_asks_again_and_keeps_the_old_for_bad_times),
        cmocka_unit_test(the_ttl_is_kept),
        cmocka_unit_test(a_greatest_age_goes_before_the_ttl),
        cmocka_unit_test(kinds_and_servers_are_told_apart),
        cmocka_unit_test(one_lookup_for_all_who_wait),
        cmocka_unit_test(too_many_lookups),
        cmocka_unit_test(many_names),
        cmocka_unit_test(cancelling_before_and_after_the_answer_is_sent),
        cmocka_unit_test(several_loops_at_once),
        cmocka_unit_test(the_end_answers_those_who_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
