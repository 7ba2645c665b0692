/* c-ares on a loop against a name server of our own (UDP on loopback, on the same loop): addresses,
 * aliases, TTLs, SRV, failures, silence, what servers are, the end in the middle. */
#include "proxy/net/dns.h"
#include "tests/unit/net/helper.h"

#define ANSWER_MAX 512

/* The first letters of the name asked for say what the server does. */
struct server {
    struct watch watch;
    int fd;
    unsigned asked;
    char servers[64];
};

struct bench {
    struct fixture f;
    struct server server;
    struct dns *dns;
    int calls;
    unsigned count;
    int64_t ttl_ms;
    char text[ADDR_TEXT_BYTES]; /* the first address or target */
    char last[ADDR_TEXT_BYTES];
    char error[64];
};

struct query {
    struct dns_query q;
    struct bench *bench;
};

static size_t put16(unsigned char *p, unsigned v)
{
    p[0] = (unsigned char)(v >> 8);
    p[1] = (unsigned char)(v & 0xff);
    return 2;
}

/* A record for the name of the question. */
static size_t put_record(unsigned char *p, unsigned type, unsigned ttl, const void *data, size_t n)
{
    unsigned char *start = p;
    p += put16(p, 0xc00c);
    p += put16(p, type);
    p += put16(p, 1);
    p += put16(p, 0);
    p += put16(p, ttl);
    p += put16(p, (unsigned)n);
    memcpy(p, data, n);
    return (size_t)(p + n - start);
}

static size_t put_srv(unsigned char *p, unsigned priority, const char *label)
{
    unsigned char data[64];
    size_t n = put16(data, priority);
    n += put16(data + n, 10);
    n += put16(data + n, 8000 + priority);
    data[n++] = (unsigned char)strlen(label);
    memcpy(data + n, label, strlen(label) + 1);
    return put_record(p, 33, 60, data, n + strlen(label) + 1);
}

static bool begins(const unsigned char *label, const char *with)
{
    return strncmp((const char *)label + 1, with, strlen(with)) == 0;
}

/* What the server says; 0: nothing. */
static size_t answer(unsigned char *p, size_t n, unsigned char out[ANSWER_MAX])
{
    static const unsigned char v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
    const unsigned char *name = p + 12;
    size_t question = 12 + strlen((const char *)name) + 1;
    assert_true(n >= question + 4);
    unsigned type = p[question + 1];
    n = question + 4;
    memcpy(out, p, n);
    out[2] = 0x81; /* a response, recursion desired */
    out[3] = 0x80;
    memset(out + 6, 0, 6);
    if (begins(name, "silent") || (begins(name, "swallow") && type == 28)) {
        return 0;
    }
    if (begins(name, "broken")) {
        out[3] = 0x82; /* SERVFAIL */
    } else if (begins(name, "none")) {
        out[3] = 0x83; /* NXDOMAIN */
    } else if (type == 1 && !begins(name, "six")) {
        out[7] = 2;
        n += put_record(out + n, 1, 7, "\x0a\0\0\x01", 4);
        n += put_record(out + n, 1, 9, "\x0a\0\0\x02", 4);
    } else if (type == 28 && !begins(name, "four")) {
        out[7] = 1;
        n += put_record(out + n, 28, 30, v6, sizeof(v6));
    } else if (type == 33) {
        out[7] = 3;
        n += put_srv(out + n, 5, "third");
        n += put_srv(out + n, 1, "first");
        n += put_srv(out + n, 2, "second");
    }
    return n;
}

static void on_question(struct watch *w, unsigned events UNUSED)
{
    struct server *s = container_of(w, struct server, watch);
    unsigned char in[ANSWER_MAX] = {0};
    unsigned char out[ANSWER_MAX];
    struct addr from = {.len = sizeof(from.u)};
    ssize_t got = recvfrom(s->fd, in, sizeof(in) - 1, MSG_DONTWAIT, &from.u.sa, &from.len);
    if (got > 16) {
        s->asked++;
        size_t n = answer(in, (size_t)got, out);
        if (n) {
            assert_int_equal(sendto(s->fd, out, n, 0, &from.u.sa, from.len), n);
        }
    }
}

static void bench_init(struct bench *b)
{
    struct err err;
    struct addr a;
    char buf[ADDR_TEXT_BYTES];
    *b = (struct bench){.calls = 0};
    fixture_init(&b->f);
    assert_true(addr_parse_ip(S("127.0.0.1"), 0, &a));
    b->server.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(b->server.fd, &a.u.sa, a.len), 0);
    sock_local(b->server.fd, &a);
    (void)snprintf(b->server.servers, sizeof(b->server.servers), "%.*s",
                   SLICE_ARG(addr_text(&a, buf)));
    watch_init(&b->server.watch, b->f.loop, b->server.fd, on_question);
    watch_set(&b->server.watch, WATCH_READ);
    b->dns = dns_new(b->f.loop, &err);
    assert_non_null(b->dns);
}

static void bench_fini(struct bench *b)
{
    dns_free(b->dns);
    watch_fini(&b->server.watch);
    close(b->server.fd);
    fixture_fini(&b->f);
}

static void on_done(struct dns_query *q, const struct dns_answer *a)
{
    struct bench *b = container_of(q, struct query, q)->bench;
    char buf[ADDR_TEXT_BYTES];
    b->calls++;
    b->count = a->count;
    b->ttl_ms = a->ttl_ms;
    b->text[0] = b->last[0] = '\0';
    (void)snprintf(b->error, sizeof(b->error), "%s", a->error ? a->error : "");
    if (a->count && a->addrs) {
        (void)snprintf(b->text, sizeof(b->text), "%.*s",
                       SLICE_ARG(addr_host_text(&a->addrs[0], buf)));
        (void)snprintf(b->last, sizeof(b->last), "%.*s",
                       SLICE_ARG(addr_host_text(&a->addrs[a->count - 1], buf)));
    } else if (a->count) {
        (void)snprintf(b->text, sizeof(b->text), "%.64s:%u", a->srv[0].target, a->srv[0].port);
        (void)snprintf(b->last, sizeof(b->last), "%.64s:%u", a->srv[a->count - 1].target,
                       a->srv[a->count - 1].port);
    }
    loop_stop(b->f.loop);
}

static void start(struct bench *b, struct query *q, enum dns_kind kind, const char *name)
{
    *q = (struct query){.bench = b,
                        .q = {.kind = kind,
                              .name = slice_str(name),
                              .servers = slice_str(b->server.servers),
                              .done = on_done}};
    dns_start(b->dns, &q->q);
}

static void ask(struct bench *b, enum dns_kind kind, const char *name)
{
    struct query q;
    int before = b->calls;
    start(b, &q, kind, name);
    if (b->calls == before) {
        fixture_run(&b->f);
    }
    assert_int_equal(b->calls, before + 1);
}

static void addresses(void **state UNUSED)
{
    struct bench b;
    bench_init(&b);
    ask(&b, DNS_ADDRS, "both.example");
    assert_int_equal(b.count, 3);
    assert_string_equal(b.text, "2001:db8::1"); /* IPv6 first */
    assert_int_equal(b.ttl_ms, 7000);           /* the least */
    ask(&b, DNS_ADDRS, "four.example");
    assert_int_equal(b.count, 2);
    assert_int_equal(b.ttl_ms, 7000);
    ask(&b, DNS_ADDRS, "six.example");
    assert_int_equal(b.count, 1);
    assert_int_equal(b.ttl_ms, 30000);
    unsigned asked = b.server.asked;
    ask(&b, DNS_ADDRS, "six.example");
    assert_true(b.server.asked > asked); /* nothing is remembered down here */
    bench_fini(&b);
}

static void services(void **state UNUSED)
{
    struct bench b;
    bench_init(&b);
    ask(&b, DNS_SRV, "_http._tcp.example");
    assert_int_equal(b.count, 3);
    assert_string_equal(b.text, "first:8001"); /* by priority */
    assert_string_equal(b.last, "third:8005");
    ask(&b, DNS_SRV, "none.example");
    assert_int_equal(b.count, 0);
    assert_string_equal(b.error, "name not known");
    bench_fini(&b);
}

static void failures(void **state UNUSED)
{
    struct bench b;
    bench_init(&b);
    ask(&b, DNS_ADDRS, "none.example");
    assert_int_equal(b.count, 0);
    assert_string_equal(b.error, "name not known");
    ask(&b, DNS_ADDRS, "broken.example");
    assert_int_equal(b.count, 0);
    assert_string_not_equal(b.error, "name not known");
    assert_string_not_equal(b.error, "");
    bench_fini(&b);
}

/* A server that swallows questions for AAAA costs a quarter of a second, not all the tries. */
static void half_an_answer(void **state UNUSED)
{
    struct bench b;
    bench_init(&b);
    int64_t began_ms = clock_mono_ms();
    ask(&b, DNS_ADDRS, "swallow.example");
    assert_int_equal(b.count, 2);
    assert_true(clock_mono_ms() - began_ms < 700); /* the first try alone takes 800 ms */
    bench_fini(&b);
}

/* /etc/hosts has localhost everywhere. */
static void hosts(void **state UNUSED)
{
    struct bench b;
    bench_init(&b);
    ask(&b, DNS_ADDRS, "localhost");
    assert_true(b.count >= 1);
    assert_int_equal(b.server.asked, 0);
    assert_int_equal(b.ttl_ms, 5000);
    bench_fini(&b);
}

static void the_end_in_the_middle(void **state UNUSED)
{
    struct bench b;
    struct query q[2];
    bench_init(&b);
    start(&b, &q[0], DNS_ADDRS, "silent.example");
    start(&b, &q[1], DNS_SRV, "silent2.example");
    assert_int_equal(b.calls, 0);
    dns_free(b.dns);
    b.dns = NULL;
    assert_int_equal(b.calls, 2);
    assert_string_equal(b.error, "shutting down");
    bench_fini(&b);
}

/* More lists of servers than there may be channels: idle ones go. */
static void many_servers(void **state UNUSED)
{
    struct bench b;
    char port[16];
    bench_init(&b);
    (void)snprintf(port, sizeof(port), "%s", strchr(b.server.servers, ':'));
    for (int i = 0; i < 40; i++) {
        (void)snprintf(b.server.servers, sizeof(b.server.servers), "127.0.0.1%s,127.0.1.%d", port,
                       i);
        ask(&b, DNS_ADDRS, "four.example");
        assert_int_equal(b.count, 2);
    }
    bench_fini(&b);
}

static void what_servers_are(void **state UNUSED)
{
    static const char *const good[] = {"10.0.0.53", "10.0.0.53:5353", "::1", "[::1]", "[::1]:53",
                                       "10.0.0.53,[::1]:53"};
    static const char *const bad[] = {"", ",", "10.0.0.53,", "name", "name:53", "10.0.0.53:",
                                      "10.0.0.53:0", "10.0.0.53:99999", "[::1", "[::1]53", "[]",
                                      "10.0.0.53 "};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (!dns_servers_valid(slice_str(good[i]))) {
            fail_msg("refused: %s", good[i]);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (dns_servers_valid(slice_str(bad[i]))) {
            fail_msg("taken: %s", bad[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(services),
        cmocka_unit_test(failures),
        cmocka_unit_test(half_an_answer),
        cmocka_unit_test(hosts),
        cmocka_unit_test(the_end_in_the_middle),
        cmocka_unit_test(many_servers),
        cmocka_unit_test(what_servers_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
