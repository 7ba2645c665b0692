/* Handshakes: versions, the choice of certificate, alerts, tickets, ALPN, deadlines, plain HTTP. */
#include "tests/unit/tls/rig.h"

static const struct slice http11[] = {S_INIT("h2"), S_INIT("http/1.1")};

static const char *echo_once(struct rig *r, const char *name, int version)
{
    SSL *ssl = rig_ssl(r, name, version, 0);
    CHECK(SSL_connect(ssl) == 1);
    CHECK(SSL_get_verify_result(ssl) == X509_V_OK);
    CHECK(rig_echoes(ssl, "hello"));
    CHECK(rig_echoes(ssl, "again"));
    CHECK(rig_goodbye(ssl));
    return NULL;
}

static const char *echo_13(struct rig *r)
{
    return echo_once(r, "A.test", TLS1_3_VERSION);
}

static const char *echo_12(struct rig *r)
{
    return echo_once(r, "a.test", TLS1_2_VERSION);
}

static void test_versions(void **state)
{
    (void)state;
    struct rig *r = rig_new(NULL, 0);
    rig_run(r, echo_13);
    assert_null(r->why);
    assert_true(slice_eq(r->info.version, S("tls1.3")));
    assert_string_equal(r->server_name, "a.test");
    assert_true(strncmp(r->cipher, "TLS_", 4) == 0);
    assert_int_equal(r->info.alpn.n, 0);
    assert_false(r->info.resumed);
    assert_false(r->info.stand_in);
    assert_true(r->ended);
    assert_int_equal(r->bytes, 10);
    rig_run(r, echo_12);
    assert_true(slice_eq(r->info.version, S("tls1.2")));
    assert_true(strncmp(r->cipher, "TLS_ECDHE_ECDSA_WITH_", 21) == 0);
    assert_true(r->ended);
    rig_free(r);
}

static const char *too_old(struct rig *r)
{
    SSL *ssl = rig_ssl(r, "a.test", TLS1_1_VERSION, 0);
    SSL_set_security_level(ssl, 0);
    CHECK(SSL_connect(ssl) != 1);
    rig_hang_up(ssl);
    return NULL;
}

static void test_too_old(void **state)
{
    (void)state;
    struct rig *r = rig_new(NULL, 0);
    rig_run(r, too_old);
    assert_int_equal(r->established, 0);
    assert_string_equal(r->why, "unsupported protocol");
    rig_free(r);
}

static const char *choices(struct rig *r)
{
    const struct {
        const char *name;
        const struct pki_pair *expected;
    } rows[] = {{"a.test", rig_a}, {"x.wild.test", rig_wild}, {NULL, rig_ip}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        SSL *ssl = rig_ssl(r, rows[i].name, 0, 0);
        CHECK(SSL_connect(ssl) == 1);
        CHECK(rig_peer_is(ssl, rows[i].expected));
        CHECK(rig_goodbye(ssl));
    }
    return NULL;
}

static void test_choice_by_name(void **state)
{
    (void)state;
    struct rig *r = rig_new(NULL, 0);
    rig_run(r, choices);
    assert_int_equal(r->established, 3);
    rig_free(r);
}

static const char *unknown_names(struct rig *r)
{
    static const char *const names[] = {"unknown.test", "wild.test", "a.b.wild.test"};
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            SSL *ssl = rig_ssl(r, names[i], version, 0);
            ERR_clear_error();
            CHECK(SSL_connect(ssl) != 1);
            CHECK(ERR_GET_REASON(ERR_peek_error()) == SSL_R_TLSV1_UNRECOGNIZED_NAME);
            rig_hang_up(ssl);
        }
    }
    ERR_clear_error();
    return NULL;
}

static void test_unknown_name(void **state)
{
    (void)state;
    struct rig *r = rig_new(NULL, 0);
    rig_run(r, unknown_names);
    assert_int_equal(r->accepted, 6);
    assert_int_equal(r->established, 0);
    assert_string_equal(r->why, "unknown server name");
    assert_int_equal(ERR_peek_error(), 0);
    rig_free(r);
}

static int sessions_seen;

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    (void)session;
    sessions_seen++;
    return 0;
}

static const char *stand_ins(struct rig *r)
{
    SSL_CTX_sess_set_new_cb(r->client_ctx, on_session);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL *ssl = rig_ssl(r, "waiting.test", version, 0);
        sessions_seen = 0;
        CHECK(SSL_connect(ssl) == 1);
        X509 *x = SSL_get1_peer_certificate(ssl);
        CHECK(x && X509_check_host(x, "waiting.test", 0, 0, NULL) == 1);
        CHECK(X509_verify(x, X509_get0_pubkey(x)) == 1);
        X509_free(x);
        CHECK(rig_echoes(ssl, "hello"));
        CHECK(version == TLS1_2_VERSION || sessions_seen == 0);
        CHECK(!SSL_SESSION_has_ticket(SSL_get_session(ssl)));
        CHECK(rig_goodbye(ssl));
    }
    return NULL;
}

static void test_stand_in(void **state)
{
    (void)state;
    struct rig *r = rig_new(NULL, 0);
    rig_run(r, stand_ins);
    assert_int_equal(r->established, 2);
    assert_true(r->info.stand_in);
    rig_free(r);
}

/* The client's session, from the callback (TLS 1.3 tickets come after the handshake). */
static SSL_SESSION *kept_session;

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(kept_session);
    kept_session = session;
    return 1;
}

static int resume_version;
static int rotations;

/* One connection that gets a ticket; the keys change; one that offers it. */
static const char *resume(struct rig *r)
{
    SSL_CTX_sess_set_new_cb(r->client_ctx, keep_session);
    SSL *ssl = rig_ssl(r, "a.test", resume_version, 0);
    CHECK(SSL_connect(ssl) == 1);
    CHECK(rig_echoes(ssl, "hello"));
    CHECK(rig_goodbye(ssl));
    CHECK(kept_session != NULL && SSL_SESSION_has_ticket(kept_session));
    for (int i = 0; i < rotations; i++) {
        tickets_rotate_now();
    }
    ssl = rig_ssl(r, "a.test", resume_version, 0);
    SSL_set_session(ssl, kept_session);
    CHECK(SSL_connect(ssl) == 1);
    CHECK(SSL_session_reused(ssl) == (rotations < 3));
    CHECK(rig_echoes(ssl, "hello"));
    CHECK(rig_goodbye(ssl));
    SSL_SESSION_free(kept_session);
    kept_session = NULL;
    return NULL;
}

static void test_tickets(void **state)
{
    (void)state;
    static const int counts[] = {0, 2, 3};
    struct rig *r = rig_new(NULL, 0);
    for (resume_version = TLS1_2_VERSION; resume_version <= TLS1_3_VERSION; resume_version++) {
        for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
            rotations = counts[i];
            rig_run(r, resume);
            assert_int_equal(r->info.resumed, rotations < 3);
            assert_string_equal(r->server_name, "a.test");
        }
    }
    rig_free(r);
}

/* The ticket does not wait for a request that is not there yet: a client with Nagle's algorithm
 * would wait for the acknowledgement that it carries. */
static const char *ticket_at_once(struct rig *r)
{
    SSL *ssl = rig_ssl(r, "a.test", TLS1_3_VERSION, 0);
    CHECK(SSL_connect(ssl) == 1);
    struct pollfd f = {.fd = SSL_get_fd(ssl), .events = POLLIN};
    CHECK(poll(&f, 1, 10000) == 1);
    CHECK(rig_goodbye(ssl));
    return NULL;
}

static void test_ticket_at_once(void **state)
{
    (void)state;
    struct rig *r = rig_new(NULL, 0);
    rig_run(r, ticket_at_once);
    rig_free(r);
}

static const char *swap_under_way(struct rig *r)
{
    struct pki_pair *fresh = pki_make("fresh", "DNS:a.test", 10, rig_ca);
    SSL *old = rig_ssl(r, "a.test", 0, 0);
    CHECK(SSL_connect(old) == 1);
    CHECK(rig_peer_is(old, rig_a) && rig_echoes(old, "before"));
    struct err err;
    CHECK(certs_install(r->certs, S("a.test"), slice_str(fresh->chain), slice_str(fresh->key),
                        &err));
    SSL *young = rig_ssl(r, "a.test", 0, 0);
    CHECK(SSL_connect(young) == 1);
    CHECK(rig_peer_is(young, fresh));
    CHECK(rig_echoes(old, "after") && rig_echoes(young, "after"));
    CHECK(rig_goodbye(old) && rig_goodbye(young));
    pki_free(fresh);
    return NULL;
}

static void test_swap(void **state)
{
    (void)state;
    struct rig *r = rig_new(NULL, 0);
    rig_run(r, swap_under_way);
    assert_int_equal(r->established, 2);
    rig_free(r);
}

static const char *alpn_ours_first(struct rig *r)
{
    SSL *ssl = rig_ssl(r, "a.test", 0, 0);
    static const unsigned char offer[] = "\010http/1.1\002h2\003foo";
    SSL_set_alpn_protos(ssl, offer, sizeof(offer) - 1);
    CHECK(SSL_connect(ssl) == 1);
    const unsigned char *p;
    unsigned n;
    SSL_get0_alpn_selected(ssl, &p, &n);
    CHECK(n == 2 && memcmp(p, "h2", 2) == 0);
    CHECK(rig_goodbye(ssl));
    return NULL;
}

static const char *alpn_none(struct rig *r)
{
    static const char *const offers[] = {"\012acme-tls/1", "\003foo\003bar"};
    for (size_t i = 0; i < ARRAY_LEN(offers); i++) {
        SSL *ssl = rig_ssl(r, "a.test", 0, 0);
        SSL_set_alpn_protos(ssl, (const unsigned char *)offers[i], (unsigned)strlen(offers[i]));
        ERR_clear_error();
        CHECK(SSL_connect(ssl) != 1);
        CHECK(ERR_GET_REASON(ERR_peek_error()) == SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
        rig_hang_up(ssl);
    }
    ERR_clear_error();
    return NULL;
}

static void test_alpn(void **state)
{
    (void)state;
    struct rig *r = rig_new(http11, ARRAY_LEN(http11));
    rig_run(r, alpn_ours_first);
    assert_string_equal(r->alpn, "h2");
    rig_run(r, alpn_none);
    assert_string_equal(r->why, "no application protocol in common");
    rig_run(r, echo_13); /* a client without ALPN */
    assert_null(r->why);
    rig_free(r);
}

static const char *plain_http(struct rig *r)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    char got[512] = {0};
    size_t n = 0;
    int fd = rig_dial(r, 0);
    CHECK(write(fd, request, sizeof(request) - 1) == (ssize_t)sizeof(request) - 1);
    for (ssize_t k; (k = read(fd, got + n, sizeof(got) - 1 - n)) > 0;) {
        n += (size_t)k;
    }
    close(fd);
    CHECK(strcmp(got, "HTTP/1.0 400 Bad Request\r\n\r\n"
                      "Client sent an HTTP request to an HTTPS server.\n") == 0);
    return NULL;
}

static void test_plain_http(void **state)
{
    (void)state;
    struct rig *r = rig_new(NULL, 0);
    rig_run(r, plain_http);
    assert_string_equal(r->why, TLS_PLAIN_HTTP);
    rig_free(r);
}

static const char *junk(struct rig *r)
{
    char buf[64];
    int fd = rig_dial(r, 0);
    CHECK(write(fd, "\026\003\001\377\377 junk", 10) == 10);
    while (read(fd, buf, sizeof(buf)) > 0) {
    }
    close(fd);
    close(rig_dial(r, 0)); /* and one that says nothing and goes */
    return NULL;
}

static void test_junk(void **state)
{
    (void)state;
    struct rig *r = rig_new(NULL, 0);
    rig_run(r, junk);
    assert_int_equal(r->accepted, 2);
    assert_int_equal(r->established, 0);
    rig_free(r);
}

static const char *silent(struct rig *r)
{
    char c;
    int fd = rig_dial(r, 0);
    CHECK(read(fd, &c, 1) == 0);
    close(fd);
    /* Half a ClientHello. */
    fd = rig_dial(r, 0);
    CHECK(write(fd, "\026\003\001\002\000\001\000", 7) == 7);
    CHECK(read(fd, &c, 1) == 0);
    close(fd);
    return NULL;
}

static void test_deadline(void **state)
{
    (void)state;
    struct rig *r = rig_new(NULL, 0);
    r->timeout_ms = 50;
    rig_run(r, silent);
    assert_int_equal(r->accepted, 2);
    assert_string_equal(r->why, "the TLS handshake took too long");
    rig_free(r);
}

static const char *byte_by_byte_hello(struct rig *r)
{
    /* A ClientHello in pieces: the BIO pair's bytes are carried by hand. */
    SSL *ssl = SSL_new(r->client_ctx);
    BIO *in = BIO_new(BIO_s_mem());
    BIO *out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, in, out);
    SSL_set_tlsext_host_name(ssl, "a.test");
    int fd = rig_dial(r, 0);
    char buf[4096];
    while (SSL_connect(ssl) != 1) {
        int n = BIO_read(out, buf, sizeof(buf));
        for (int i = 0; i < n; i++) {
            CHECK(write(fd, buf + i, 1) == 1);
            if (i % 16 == 0) {
                CHECK(poll(NULL, 0, 1) == 0);
            }
        }
        ssize_t got = read(fd, buf, sizeof(buf));
        CHECK(got > 0 && BIO_write(in, buf, (int)got) == got);
    }
    int n = BIO_read(out, buf, sizeof(buf));
    CHECK(n > 0 && write(fd, buf, (size_t)n) == n);
    CHECK(read(fd, buf, sizeof(buf)) >
          0); /* the ticket: unread it would turn the end into a reset */
    close(fd);
    SSL_free(ssl);
    return NULL;
}

static void test_slow_hello(void **state)
{
    (void)state;
    struct rig *r = rig_new(NULL, 0);
    rig_run(r, byte_by_byte_hello);
    assert_int_equal(r->established, 1);
    assert_int_equal(r->failure, STREAM_TRUNCATED);
    rig_free(r);
}

static void cancelled(void *ctx, struct stream *s, const char *why)
{
    (void)ctx;
    (void)s;
    (void)why;
    fail_msg("a cancelled handshake must not call back");
}

static void test_cancel(void **state)
{
    (void)state;
    struct rig *r = rig_new(NULL, 0);
    struct addr none = {.len = 0};
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    struct tls_accept *a = tls_accept_start(r->server, r->loop, pair[0], &none, &none, 1000, NULL,
                                            cancelled, NULL);
    assert_non_null(a);
    tls_accept_cancel(a);
    char c;
    assert_true(read(pair[1], &c, 1) <= 0 && errno != EAGAIN);
    close(pair[1]);
    rig_run(r, echo_13);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),     cmocka_unit_test(test_too_old),
        cmocka_unit_test(test_choice_by_name), cmocka_unit_test(test_unknown_name),
        cmocka_unit_test(test_stand_in),     cmocka_unit_test(test_tickets),
        cmocka_unit_test(test_ticket_at_once),
        cmocka_unit_test(test_swap),         cmocka_unit_test(test_alpn),
        cmocka_unit_test(test_plain_http),   cmocka_unit_test(test_junk),
        cmocka_unit_test(test_deadline),     cmocka_unit_test(test_slow_hello),
        cmocka_unit_test(test_cancel),
    };
    return cmocka_run_group_tests(tests, rig_group_set_up, rig_group_tear_down);
}
