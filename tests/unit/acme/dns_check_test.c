/* Looking for a record: the zone's own name servers are found through a resolver and asked; CNAMEs
 * are followed; `resolvers` are asked alone. One scripted server over UDP plays them all. */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "acme/dns_check.h"

static struct server {
    pthread_t thread;
    int fd;
    uint16_t port;
    char address[32];
    atomic_bool has_value; /* the TXT record is there */
    atomic_int texts;      /* questions for TXT records */
} server;

static void answer(struct dstr *out, unsigned type, struct slice data)
{
    dns_put_u16(out, 0xc00c); /* the question's name */
    dns_put_u16(out, type);
    dns_put_u16(out, DNS_IN);
    dns_put_u32(out, 1);
    dns_put_u16(out, (unsigned)data.n);
    dstr_append(out, data);
    out->p[7]++;
}

static void put_answers(struct dstr *out, unsigned type, struct slice name)
{
    static const char soa[] = "\2ns\7example\0\1h\7example\0\0\0\0\1\0\0\0\1\0\0\0\1"
                              "\0\0\0\1\0\0\0\1";
    bool apex = slice_starts(name, S("\7example"));
    bool delegated = slice_starts(name, S("\3old"));
    if (type == DNS_CNAME && delegated) {
        answer(out, DNS_CNAME, slice_of("\3new\7example", 13));
    } else if (type == DNS_SOA && apex) {
        answer(out, DNS_SOA, slice_of(soa, sizeof(soa) - 1));
    } else if (type == DNS_NS && apex) {
        answer(out, DNS_NS, slice_of("\2ns\7example", 12));
    } else if (type == DNS_A && slice_starts(name, S("\2ns"))) {
        answer(out, DNS_A, slice_of("\177\0\0\1", 4));
    } else if (type == DNS_TXT) {
        atomic_fetch_add(&server.texts, 1);
        answer(out, DNS_TXT, S("\5other"));
        if (atomic_load(&server.has_value)) {
            answer(out, DNS_TXT, S("\5value"));
        }
    } else if (type == DNS_SOA) {
        /* The zone of a name in it: in the authority section. */
        must(dns_put_name(out, S("example")));
        dns_put_u16(out, DNS_SOA);
        dns_put_u16(out, DNS_IN);
        dns_put_u32(out, 1);
        dns_put_u16(out, sizeof(soa) - 1);
        dstr_append(out, slice_of(soa, sizeof(soa) - 1));
        out->p[9]++;
    }
}

static void *serve(void *arg)
{
    (void)arg;
    for (;;) {
        char buf[512];
        struct sockaddr_in from;
        socklen_t from_n = sizeof(from);
        ssize_t n = recvfrom(server.fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &from_n);
        if (n < 18) {
            return NULL; /* the end: an empty message */
        }
        size_t end = strlen(buf + 12) + 12 + 5;
        struct dstr out;
        dstr_init(&out, 4096);
        dstr_append(&out, slice_of(buf, end));
        out.p[2] = (char)0x84;
        memset(out.p + 6, 0, 6);
        put_answers(&out, (unsigned)(unsigned char)buf[end - 3], slice_of(buf + 12, end - 17));
        (void)sendto(server.fd, out.p, out.n, 0, (struct sockaddr *)&from, from_n);
        dstr_fini(&out);
    }
}

static int setup(void **state UNUSED)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    server.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server.fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(getsockname(server.fd, (struct sockaddr *)&a, &n), 0);
    server.port = ntohs(a.sin_port);
    (void)snprintf(server.address, sizeof(server.address), "127.0.0.1:%u", server.port);
    assert_int_equal(pthread_create(&server.thread, NULL, serve, NULL), 0);
    return 0;
}

static int teardown(void **state UNUSED)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(server.port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    (void)sendto(server.fd, "", 0, 0, (struct sockaddr *)&a, sizeof(a));
    pthread_join(server.thread, NULL);
    close(server.fd);
    return 0;
}

static struct stop stop;
static struct acme_dns dns;

static struct dns_check check_with(bool resolvers)
{
    dns = (struct acme_dns){.provider = S("exec"), .propagation_timeout_ms = 1};
    dns.resolvers = resolvers ? slice_str(server.address) : S("");
    return (struct dns_check){.dns = &dns,
                              .stop = &stop,
                              .system = slice_str(server.address),
                              .port = server.port};
}

static void the_zones_own_servers(void **state UNUSED)
{
    struct err err;
    struct dns_check c = check_with(false);
    stop_init(&stop);
    atomic_store(&server.has_value, false);
    assert_false(dns_visible(&c, S("_acme-challenge.example"), S("value"), &err));
    assert_non_null(strstr(err.text, "ns.example has other values"));
    assert_false(dns_await(&c, S("_acme-challenge.example"), S("value"), &err));
    assert_non_null(strstr(err.text, "_acme-challenge.example is not visible"));
    atomic_store(&server.has_value, true);
    assert_true(dns_visible(&c, S("_acme-challenge.example"), S("value"), &err));
    assert_true(dns_await(&c, S("_acme-challenge.example"), S("value"), &err));
    /* A zone that nobody knows is told. */
    assert_false(dns_visible(&c, S("_acme-challenge.elsewhere"), S("value"), &err));
    assert_non_null(strstr(err.text, "the zone of"));
    stop_fini(&stop);
}

static void resolvers_instead(void **state UNUSED)
{
    struct err err;
    struct dns_check c = check_with(true);
    stop_init(&stop);
    c.port = 9;
    c.system = S("127.0.0.1:9");
    atomic_store(&server.has_value, true);
    assert_true(dns_visible(&c, S("_acme-challenge.elsewhere"), S("value"), &err));
    int asked = atomic_load(&server.texts);
    dns.propagation_timeout_ms = -1;
    assert_true(dns_await(&c, S("_acme-challenge.example"), S("no such value"), &err));
    assert_int_equal(atomic_load(&server.texts), asked);
    stop_fini(&stop);
}

static void aliases(void **state UNUSED)
{
    char out[DNS_TEXT_BYTES];
    struct dns_check c = check_with(true);
    stop_init(&stop);
    dns_follow(&c, S("old.example"), out);
    assert_string_equal(out, "new.example");
    dns_follow(&c, S("a.example"), out);
    assert_string_equal(out, "a.example");
    stop_request(&stop); /* then nothing is asked and nothing waited for */
    dns_follow(&c, S("old.example"), out);
    assert_string_equal(out, "old.example");
    struct err err;
    dns.propagation_timeout_ms = 1000000;
    assert_false(dns_await(&c, S("a.example"), S("x"), &err));
    stop_fini(&stop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_zones_own_servers),
                                       cmocka_unit_test(resolvers_instead),
                                       cmocka_unit_test(aliases)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
