/* TLS towards origins, against this folder's own server on the same loop. */
#include "tests/unit/tls/rig.h"

struct attempt {
    struct rig *r;
    struct stream *s;
    bool done;
    char why[256];
    char got[64];
    size_t have;
    ssize_t end;
    char alpn[32];
};

static char ca_path[] = "/tmp/caddis-tls-ca-XXXXXX";

static void attempt_over(struct attempt *a)
{
    a->done = true;
    a->r->script_over = true;
    rig_maybe_stop(a->r);
}

static void client_event(struct stream *s, unsigned events)
{
    struct attempt *a = s->owner;
    (void)events;
    ssize_t n = stream_read(s, a->got + a->have, sizeof(a->got) - a->have);
    if (n > 0) {
        a->have += (size_t)n;
        if (a->have == 5) {
            stream_shutdown_write(s); /* the echo then ends too */
        }
    } else if (n != STREAM_AGAIN) {
        a->end = n;
        stream_close(s, false);
        attempt_over(a);
    }
}

static void connected(void *ctx, struct stream *s, const char *why)
{
    struct attempt *a = ctx;
    if (!s) {
        (void)snprintf(a->why, sizeof(a->why), "%s", why);
        attempt_over(a);
        return;
    }
    a->s = s;
    (void)snprintf(a->alpn, sizeof(a->alpn), "%.*s", SLICE_ARG(s->tls->alpn));
    s->owner = a;
    s->on_event = client_event;
    struct iovec iov = {(char *)(uintptr_t)"hello", 5};
    must(stream_writev(s, &iov, 1, false) == 5);
    stream_want(s, STREAM_READ);
}

static struct stream *plain_stream(struct rig *r)
{
    struct addr none = {.len = 0};
    int fd = rig_dial(r, 0);
    must(BIO_socket_nbio(fd, 1) == 1);
    struct stream *s = tcp_stream_new(r->loop, fd, &none, &none);
    must(s);
    return s;
}

static struct attempt attempt(struct rig *r, const struct tls_client_config *config,
                              const char *host)
{
    struct attempt a = {.r = r, .end = 1};
    struct err err;
    struct tls_client *t = tls_client_new(config, &err);
    must(t);
    struct tls_connect *c = tls_connect_start(t, plain_stream(r), slice_str(host), S(""), 10000,
                                              connected, &a);
    must(c);
    tls_client_unref(t); /* the attempt has its own reference */
    r->script_over = false;
    loop_run(r->loop);
    must(a.done);
    return a;
}

static bool worked(const struct attempt *a)
{
    return a->why[0] == '\0' && a->have == 5 && memcmp(a->got, "hello", 5) == 0 && a->end == 0;
}

static void test_verification(void **state)
{
    (void)state;
    struct rig *r = rig_new(NULL, 0);
    struct tls_client_config with_ca = {.ca_file = slice_str(ca_path)};
    struct attempt a = attempt(r, &with_ca, "a.test");
    assert_string_equal(a.why, "");
    assert_true(worked(&a));
    assert_string_equal(r->server_name, "a.test");
    a = attempt(r, &with_ca, "x.wild.test");
    assert_true(worked(&a));
    /* By address: no SNI, the certificate's address is compared. */
    a = attempt(r, &with_ca, "127.0.0.1");
    assert_true(worked(&a));
    assert_string_equal(r->server_name, "");
    a = attempt(r, &with_ca, "127.0.0.2");
    assert_string_equal(a.why, "IP address mismatch");
    /* The system's roots do not know this CA. */
    struct tls_client_config system_roots = {0};
    a = attempt(r, &system_roots, "a.test");
    assert_string_equal(a.why, "self-signed certificate in certificate chain");
    struct tls_client_config insecure = {.insecure_skip_verify = true};
    a = attempt(r, &insecure, "a.test");
    assert_true(worked(&a));
    /* Another name: for SNI and for the comparison. */
    struct tls_client_config named = {.ca_file = slice_str(ca_path), .server_name = S("a.test")};
    a = attempt(r, &named, "127.0.0.1");
    assert_true(worked(&a));
    assert_string_equal(r->server_name, "a.test");
    a = attempt(r, &with_ca, "nobody.test");
    assert_string_equal(a.why, "tlsv1 unrecognized name");
    a = attempt(r, &with_ca, "waiting.test"); /* the stand-in */
    assert_string_equal(a.why, "self-signed certificate");
    assert_int_equal(ERR_peek_error(), 0);
    rig_free(r);
}

static void test_wrong_name_and_expired(void **state)
{
    (void)state;
    struct rig *r = rig_new(NULL, 0);
    struct err err;
    struct tls_client_config with_ca = {.ca_file = slice_str(ca_path)};
    assert_true(certs_install(r->certs, S("a.test"), slice_str(rig_wild->chain),
                              slice_str(rig_wild->key), &err));
    struct attempt a = attempt(r, &with_ca, "a.test");
    assert_string_equal(a.why, "hostname mismatch");
    struct pki_pair *old = pki_make("old", "DNS:a.test", -1, rig_ca);
    assert_true(certs_install(r->certs, S("a.test"), slice_str(old->chain), slice_str(old->key),
                              &err));
    a = attempt(r, &with_ca, "a.test");
    assert_string_equal(a.why, "certificate has expired");
    pki_free(old);
    rig_free(r);
}

static void test_alpn(void **state)
{
    (void)state;
    static const struct slice ours[] = {S_INIT("http/1.1")};
    struct rig *r = rig_new(ours, 1);
    static const struct slice both[] = {S_INIT("h2"), S_INIT("http/1.1")};
    struct tls_client_config config = {
        .ca_file = slice_str(ca_path), .alpn = both, .alpn_count = 2};
    struct attempt a = attempt(r, &config, "a.test");
    assert_true(worked(&a));
    assert_string_equal(a.alpn, "http/1.1");
    rig_free(r);
}

static void test_bad_config(void **state)
{
    (void)state;
    struct err err = {{0}};
    struct tls_client_config config = {.ca_file = S("/nonexistent/ca.pem")};
    assert_null(tls_client_new(&config, &err));
    assert_non_null(strstr(err.text, "/nonexistent/ca.pem"));
}

static void not_called(void *ctx, struct stream *s, const char *why)
{
    (void)ctx;
    (void)s;
    (void)why;
    fail_msg("a cancelled attempt must not call back");
}

static void test_no_tls_there(void **state)
{
    (void)state;
    struct rig *r = rig_new(NULL, 0);
    struct tls_client_config config = {0};
    struct err err;
    int pair[2];
    struct addr none = {.len = 0};
    struct attempt a = {.r = r};
    struct tls_client *t = tls_client_new(&config, &err);
    assert_non_null(t);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    assert_int_equal(write(pair[1], "HTTP/1.1 400 no\r\n\r\n", 19), 19);
    struct stream *s = tcp_stream_new(r->loop, pair[0], &none, &none);
    assert_non_null(tls_connect_start(t, s, S("a.test"), S(""), 5000, connected, &a));
    r->script_over = false;
    loop_run(r->loop);
    assert_string_equal(a.why, "the other side speaks no TLS (wrong version number)");
    close(pair[1]);
    /* And one that is given up before it began. */
    struct tls_connect *c = tls_connect_start(t, plain_stream(r), S("a.test"), S(""), 5000,
                                              not_called, NULL);
    assert_non_null(c);
    tls_connect_cancel(c);
    tls_client_unref(t);
    struct tls_client_config with_ca = {.ca_file = slice_str(ca_path)};
    a = attempt(r, &with_ca, "a.test");
    assert_true(worked(&a));
    rig_free(r);
}

static int set_up(void **state)
{
    rig_group_set_up(state);
    int fd = mkstemp(ca_path);
    must(fd >= 0 && write(fd, rig_ca->chain, strlen(rig_ca->chain)) > 0);
    close(fd);
    return 0;
}

static int tear_down(void **state)
{
    (void)unlink(ca_path);
    return rig_group_tear_down(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verification), cmocka_unit_test(test_wrong_name_and_expired),
        cmocka_unit_test(test_alpn),         cmocka_unit_test(test_bad_config),
        cmocka_unit_test(test_no_tls_there),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
