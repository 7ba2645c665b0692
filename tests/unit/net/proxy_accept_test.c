/* Taking the PROXY header off a real connection: whole, in pieces, from Unix sockets, with every
 * policy, late, cut short. */
#include "proxy/net/proxy_accept.h"
#include "tests/unit/net/helper.h"

#define LINE "PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n"

struct bench {
    struct fixture f;
    int ours;
    int theirs;
    struct proxy_accept *accept;
    int calls;
    char why[64];
    char source[ADDR_TEXT_BYTES];
    struct timer step; /* sends the next byte */
    struct slice left;
    size_t piece;
};

static void connect_tcp(struct bench *b)
{
    struct addr a;
    struct addr peer;
    bool pending;
    int listening = listen_on(S("127.0.0.1"), &a);
    b->theirs = sock_connect(&a, NULL, &pending);
    assert_true(b->theirs >= 0);
    do {
        b->ours = sock_accept(listening, &peer);
    } while (b->ours < 0 && errno == EAGAIN);
    assert_true(b->ours >= 0);
    close(listening);
}

static void connect_unix(struct bench *b)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    b->ours = fds[0];
    b->theirs = fds[1];
}

static void on_done(void *ctx, const struct addr *source, const struct addr *destination UNUSED,
                    const char *why)
{
    struct bench *b = ctx;
    char buf[ADDR_TEXT_BYTES];
    b->calls++;
    b->accept = NULL;
    (void)snprintf(b->why, sizeof(b->why), "%s", why ? why : "");
    (void)snprintf(b->source, sizeof(b->source), "%.*s", SLICE_ARG(addr_text(source, buf)));
    loop_stop(b->f.loop);
}

static void on_step(struct timer *t)
{
    struct bench *b = container_of(t, struct bench, step);
    struct slice now = slice_upto(b->left, b->piece);
    assert_int_equal(send(b->theirs, now.p, now.n, 0), now.n);
    b->left = slice_from(b->left, now.n);
    if (b->left.n) {
        assert_true(timer_set(&b->step, 2));
    }
}

static void begin(struct bench *b, bool unix_socket, enum proxy_trust trust, int64_t timeout_ms)
{
    *b = (struct bench){.calls = 0};
    fixture_init(&b->f);
    if (unix_socket) {
        connect_unix(b);
    } else {
        connect_tcp(b);
    }
    timer_init(&b->step, b->f.loop, on_step);
    b->accept = proxy_accept_start(b->f.loop, b->ours, trust, timeout_ms, on_done, b);
    assert_non_null(b->accept);
    assert_int_equal(b->calls, 0);
}

static void end(struct bench *b)
{
    timer_fini(&b->step);
    close(b->ours);
    close(b->theirs);
    fixture_fini(&b->f);
}

/* Sends, runs, and sees what is left in the socket. */
static void run(struct bench *b, struct slice bytes, size_t piece, const char *why,
                const char *source, struct slice rest)
{
    char buf[256];
    b->left = bytes;
    b->piece = piece;
    assert_true(timer_set(&b->step, 1));
    fixture_run(&b->f);
    assert_int_equal(b->calls, 1);
    assert_string_equal(b->why, why);
    if (*why) {
        return;
    }
    assert_string_equal(b->source, source);
    assert_int_equal(sock_peek(b->ours, buf, sizeof(buf)), rest.n ? (ssize_t)rest.n : -1);
    assert_memory_equal(buf, rest.p, rest.n);
}

static void with_header(bool unix_socket, size_t piece, enum proxy_trust trust, const char *why,
                        const char *source)
{
    struct bench b;
    begin(&b, unix_socket, trust, DEADLINE_MS);
    run(&b, S(LINE "GET"), piece, why, source, S("GET"));
    end(&b);
}

static void policies(void **state UNUSED)
{
    with_header(false, 100, PROXY_USE, "", "192.0.2.1:40000");
    with_header(false, 100, PROXY_REQUIRE, "", "192.0.2.1:40000");
    with_header(false, 100, PROXY_IGNORE, "", "-");
    with_header(false, 100, PROXY_REJECT, "a PROXY header from a peer that may not send one", "");
}

static void policies_without_a_header(void **state UNUSED)
{
    static const struct {
        enum proxy_trust trust;
        const char *why;
    } cases[] = {{PROXY_USE, ""},
                 {PROXY_IGNORE, ""},
                 {PROXY_REJECT, ""},
                 {PROXY_REQUIRE, "there is no PROXY header"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bench b;
        begin(&b, false, cases[i].trust, DEADLINE_MS);
        run(&b, S("POST / HTTP"), 100, cases[i].why, "-", S("POST / HTTP"));
        end(&b);
    }
}

/* The last byte of the header and the first one behind it come apart: nothing of what follows may
 * be waited for. */
static void byte_by_byte(void **state UNUSED)
{
    struct bench b;
    begin(&b, false, PROXY_REQUIRE, DEADLINE_MS);
    run(&b, S(LINE), 1, "", "192.0.2.1:40000", S(""));
    end(&b);
    with_header(true, 7, PROXY_REQUIRE, "", "192.0.2.1:40000");
}

static void malformed(void **state UNUSED)
{
    struct bench b;
    begin(&b, false, PROXY_USE, DEADLINE_MS);
    run(&b, S("PROXY TCP4 x\r\n"), 100, "the PROXY line has malformed addresses", "", S(""));
    end(&b);
}

static void too_slow(void **state UNUSED)
{
    struct bench b;
    begin(&b, false, PROXY_USE, 50);
    run(&b, S("PROXY TCP4"), 100, "the PROXY header took too long", "", S(""));
    end(&b);
    begin(&b, true, PROXY_USE, 50);
    run(&b, S("PROXY TCP4"), 100, "the PROXY header took too long", "", S(""));
    end(&b);
}

static void silence(void **state UNUSED)
{
    static const char *const whys[] = {"", "no PROXY header came in time"};
    enum proxy_trust trusts[] = {PROXY_USE, PROXY_REQUIRE};
    for (size_t i = 0; i < ARRAY_LEN(trusts); i++) {
        struct bench b;
        begin(&b, false, trusts[i], 50);
        fixture_run(&b.f);
        assert_int_equal(b.calls, 1);
        assert_string_equal(b.why, whys[i]);
        end(&b);
    }
}

static void cut_short(void **state UNUSED)
{
    for (int unix_socket = 0; unix_socket < 2; unix_socket++) {
        struct bench b;
        begin(&b, unix_socket, PROXY_USE, DEADLINE_MS);
        assert_int_equal(send(b.theirs, "PROXY TCP4", 10, 0), 10);
        shutdown(b.theirs, SHUT_WR);
        fixture_run(&b.f);
        assert_string_equal(b.why, "closed inside the PROXY header");
        end(&b);
        begin(&b, unix_socket, PROXY_USE, DEADLINE_MS);
        shutdown(b.theirs, SHUT_WR);
        fixture_run(&b.f);
        assert_string_equal(b.why, "closed before the PROXY header");
        end(&b);
    }
}

static void cancelled(void **state UNUSED)
{
    struct bench b;
    begin(&b, false, PROXY_USE, DEADLINE_MS);
    proxy_accept_cancel(b.accept);
    end(&b);
}

static void trust(void **state UNUSED)
{
    struct cidr allow;
    struct cidr deny;
    struct addr a;
    assert_true(cidr_parse(S("10.0.0.0/8"), &allow) && cidr_parse(S("10.1.0.0/16"), &deny));
    struct proxy_policy p = {&allow, 1, &deny, 1, PROXY_SKIP, 1000};
    assert_true(addr_parse_ip(S("10.2.0.1"), 1, &a));
    assert_int_equal(proxy_policy_trust(&p, &a), PROXY_USE);
    assert_true(addr_parse_ip(S("::ffff:10.2.0.1"), 1, &a));
    assert_int_equal(proxy_policy_trust(&p, &a), PROXY_USE);
    assert_true(addr_parse_ip(S("10.1.0.1"), 1, &a));
    assert_int_equal(proxy_policy_trust(&p, &a), PROXY_REJECT);
    assert_true(addr_parse_ip(S("11.1.0.1"), 1, &a));
    assert_int_equal(proxy_policy_trust(&p, &a), PROXY_SKIP);
    assert_true(addr_unix(S("/run/x"), &a));
    assert_int_equal(proxy_policy_trust(&p, &a), PROXY_USE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(policies),
        cmocka_unit_test(policies_without_a_header),
        cmocka_unit_test(byte_by_byte),
        cmocka_unit_test(malformed),
        cmocka_unit_test(too_slow),
        cmocka_unit_test(silence),
        cmocka_unit_test(cut_short),
        cmocka_unit_test(cancelled),
        cmocka_unit_test(trust),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
