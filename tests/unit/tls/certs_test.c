/* The certificate table: choice by name, replacement, stand-ins, the user's own, threads; and the
 * parsing of server names. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/net/addr.h"
#include "proxy/tls/cert.h"
#include "proxy/tls/certs.h"
#include "proxy/tls/sni.h"
#include "tests/unit/tls/pki.h"

static struct pki_pair *ca;

static int set_up(void **state)
{
    (void)state;
    ca = pki_make("test CA", NULL, 100, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pki_free(ca);
    return 0;
}

static void configure(struct certs *c, const char *default_name, const char *const *names)
{
    struct slice list[16];
    size_t n = 0;
    for (; names[n]; n++) {
        list[n] = slice_str(names[n]);
    }
    certs_configure(c, list, n, slice_str(default_name));
}
#define CONFIGURE(c, dflt, ...) configure(c, dflt, (const char *const[]){__VA_ARGS__, NULL})

static bool install(struct certs *c, const char *name, const struct pki_pair *p)
{
    struct err err = {{0}};
    bool ok = certs_install(c, slice_str(name), slice_str(p->chain), slice_str(p->key), &err);
    assert_true(ok || err.text[0]);
    return ok;
}

static struct cert_source *source(const struct pki_pair *p)
{
    struct err err;
    struct cert_source *s = cert_source_new(slice_str(p->chain), slice_str(p->key), &err);
    assert_non_null(s);
    return s;
}

static bool is_pair(struct slice chain, struct slice key)
{
    struct cert_source *s = cert_source_new(chain, key, NULL);
    cert_source_unref(s);
    return s != NULL;
}

static bool named_in(const struct cert *c, const char *name)
{
    return X509_check_host(c->leaf, name, 0, 0, NULL) == 1 ||
           X509_check_ip_asc(c->leaf, name, 0) == 1;
}

/* Is what the table answers name with this pair's certificate? p NULL: nothing; */
static bool answers(struct certs *c, const char *name, const struct pki_pair *p)
{
    struct cert *got = certs_choose(c, slice_str(name), NULL);
    bool same = p ? got && !got->stand_in && X509_cmp(got->leaf, p->x) == 0 : got == NULL;
    cert_unref(got);
    return same;
}

static bool stands_in(struct certs *c, const char *name)
{
    struct cert *got = certs_choose(c, slice_str(name), NULL);
    bool yes = got && got->stand_in && named_in(got, name);
    cert_unref(got);
    return yes;
}

static void test_names(void **state)
{
    (void)state;
    struct certs *c = certs_new();
    struct pki_pair *a = pki_make("a", "DNS:a.test", 10, ca);
    struct pki_pair *w = pki_make("w", "DNS:*.a.test", 10, ca);
    CONFIGURE(c, "", "a.test", "*.A.test", "b.test");
    assert_true(install(c, "A.test", a));
    assert_true(install(c, "*.a.test", w));
    assert_true(install(c, "elsewhere.test", a));
    assert_true(answers(c, "a.test", a));
    assert_true(answers(c, "x.a.test", w));
    assert_true(answers(c, "y.x.a.test", NULL));
    assert_true(answers(c, "elsewhere.test", NULL));
    assert_true(answers(c, ".a.test", NULL));
    assert_true(stands_in(c, "b.test"));
    assert_true(answers(c, "", NULL));
    /* Replacing, and dropping what is not configured any more. */
    assert_true(install(c, "a.test", w));
    assert_true(answers(c, "a.test", w));
    CONFIGURE(c, "a.test", "a.test");
    assert_true(answers(c, "a.test", w));
    assert_true(answers(c, "x.a.test", NULL));
    assert_true(answers(c, "", w));
    certs_free(c);
    pki_free(a);
    pki_free(w);
}

static void test_no_server_name(void **state)
{
    (void)state;
    struct certs *c = certs_new();
    struct pki_pair *ip = pki_make("ip", "IP:127.0.0.1", 10, ca);
    struct pki_pair *d = pki_make("d", "DNS:d.test", 10, ca);
    struct addr local;
    CONFIGURE(c, "d.test", "127.0.0.1", "d.test");
    assert_true(install(c, "127.0.0.1", ip));
    assert_true(install(c, "d.test", d));
    assert_true(addr_parse_ip(S("127.0.0.1"), 443, &local));
    struct cert *got = certs_choose(c, S(""), &local);
    assert_non_null(got);
    assert_int_equal(X509_cmp(got->leaf, ip->x), 0);
    cert_unref(got);
    assert_true(addr_parse_ip(S("127.0.0.2"), 443, &local));
    got = certs_choose(c, S(""), &local);
    assert_non_null(got);
    assert_int_equal(X509_cmp(got->leaf, d->x), 0);
    cert_unref(got);
    certs_free(c);
    pki_free(ip);
    pki_free(d);
}

static void test_states(void **state)
{
    (void)state;
    struct certs *c = certs_new();
    struct pki_pair *w = pki_make("w", "DNS:*.a.test", 10, ca);
    struct dstr why;
    dstr_init(&why, 4096);
    CONFIGURE(c, "", "x.a.test", "*.a.test");
    certs_set_status(c, S("x.a.test"), S("first"));
    certs_set_status(c, S("x.a.test"), S("asking the CA"));
    certs_set_status(c, S("unknown.test"), S("nothing"));
    assert_int_equal(certs_state(c, S("x.a.test"), &why), CERTS_WAITING);
    assert_string_equal(why.p, "asking the CA");
    assert_int_equal(certs_state(c, S("y.a.test"), NULL), CERTS_WAITING);
    assert_int_equal(certs_state(c, S("a.test"), NULL), CERTS_UNKNOWN);
    assert_true(stands_in(c, "x.a.test"));
    assert_true(stands_in(c, "z.a.test")); /* the wildcard's stand-in */
    /* A wildcard that is ready is better than a stand-in. */
    assert_true(install(c, "*.a.test", w));
    assert_int_equal(certs_state(c, S("x.a.test"), NULL), CERTS_READY);
    assert_true(answers(c, "x.a.test", w));
    dstr_fini(&why);
    certs_free(c);
    pki_free(w);
}

static void test_stand_in(void **state)
{
    (void)state;
    struct certs *c = certs_new();
    CONFIGURE(c, "", "s.test", "10.1.2.3", "::1");
    struct cert *one = certs_choose(c, S("s.test"), NULL);
    struct cert *two = certs_choose(c, S("s.test"), NULL);
    assert_non_null(one);
    assert_ptr_equal(one, two); /* made once */
    assert_int_equal(X509_verify(one->leaf, one->key), 1);
    assert_true(stands_in(c, "10.1.2.3"));
    assert_true(stands_in(c, "::1"));
    /* It goes when the certificate comes, and lives on where it is still in use. */
    struct pki_pair *s = pki_make("s", "DNS:s.test", 10, ca);
    assert_true(install(c, "s.test", s));
    assert_true(answers(c, "s.test", s));
    assert_true(named_in(one, "s.test"));
    cert_unref(one);
    cert_unref(two);
    assert_null(cert_stand_in(S("a,DNS:evil")));
    assert_null(cert_stand_in(S("")));
    certs_free(c);
    pki_free(s);
}

static void test_own(void **state)
{
    (void)state;
    struct certs *c = certs_new();
    struct pki_pair *w = pki_make("w", "DNS:*.a.test,DNS:a.test", 10, ca);
    struct pki_pair *b = pki_make("b", "DNS:b.a.test", 10, ca);
    struct pki_pair *acme = pki_make("acme", "DNS:c.a.test", 10, ca);
    CONFIGURE(c, "", "a.test", "b.a.test", "c.a.test", "*.a.test", "other.test");
    struct certs_own own[] = {{S("b.a.test"), source(b)}, {S("A.test"), source(w)}};
    certs_set_own(c, own, 2);
    assert_true(answers(c, "a.test", w));
    assert_true(answers(c, "b.a.test", b)); /* named for it: not replaced by the wildcard */
    assert_true(answers(c, "c.a.test", w));
    assert_true(answers(c, "zz.a.test", w));
    assert_true(stands_in(c, "other.test"));
    assert_true(install(c, "c.a.test", acme)); /* of no use: the user's own covers it */
    assert_true(answers(c, "c.a.test", w));
    assert_int_equal(certs_state(c, S("zz.a.test"), NULL), CERTS_READY);
    /* After a reload that no longer has it, what was brought meanwhile serves; where there is
     * nothing, it stays until there is another. */
    CONFIGURE(c, "", "a.test", "c.a.test");
    assert_true(answers(c, "zz.a.test", w)); /* covered, configured or not */
    certs_set_own(c, NULL, 0);
    assert_true(answers(c, "zz.a.test", NULL));
    assert_true(answers(c, "c.a.test", acme));
    assert_true(answers(c, "a.test", w));
    assert_true(install(c, "a.test", acme));
    assert_true(answers(c, "a.test", acme));
    cert_source_unref(own[0].source);
    cert_source_unref(own[1].source);
    certs_free(c);
    pki_free(w);
    pki_free(b);
    pki_free(acme);
}

/* As many are decoded as are allowed, those asked for last; what has gone is decoded again. */
static void test_decoded(void **state)
{
    (void)state;
    enum { COUNT = CERT_DECODED_MAX + 10 };
    struct pki_pair *a = pki_make("a", "DNS:a.test,IP:10.0.0.1", 10, ca);
    size_t before = cert_decoded_count();
    struct cert_source **all = calloc(COUNT, sizeof(struct cert_source *));
    assert_non_null(all);
    for (size_t i = 0; i < COUNT; i++) {
        all[i] = source(a);
    }
    assert_int_equal(cert_decoded_count(), before); /* not before one is used */
    struct cert *first = cert_source_get(all[0]);
    struct cert *kept = cert_source_get(all[0]);
    assert_ptr_equal(first, kept);
    assert_int_equal(sk_X509_num(first->chain), 1);
    for (size_t i = 0; i < COUNT; i++) {
        struct cert *c = cert_source_get(all[i]);
        assert_non_null(c);
        assert_ptr_equal(sk_X509_value(c->chain, 0), sk_X509_value(first->chain, 0)); /* shared */
        cert_unref(c);
    }
    assert_int_equal(cert_decoded_count(), CERT_DECODED_MAX);
    struct cert *again = cert_source_get(all[0]);
    assert_ptr_not_equal(again, first);
    assert_int_equal(X509_cmp(again->leaf, a->x), 0);
    assert_true(cert_source_eq(all[0], all[1]));
    assert_true(cert_source_covers(all[0], S("A.TEST")) &&
                cert_source_covers(all[0], S("10.0.0.1")) &&
                !cert_source_covers(all[0], S("b.test")));
    cert_unref(again);
    cert_unref(first);
    cert_unref(kept);
    for (size_t i = 0; i < COUNT; i++) {
        cert_source_unref(all[i]);
    }
    assert_int_equal(cert_decoded_count(), before);
    free(all);
    pki_free(a);
}

static void test_bad_pairs(void **state)
{
    (void)state;
    struct pki_pair *a = pki_make("a", "DNS:a.test", 10, ca);
    struct pki_pair *b = pki_make("b", "DNS:b.test", 10, ca);
    struct slice chain = slice_str(a->chain);
    struct slice key = slice_str(a->key);
    struct certs *c = certs_new();
    struct err err;
    CONFIGURE(c, "", "a.test");
    assert_true(is_pair(chain, key));
    assert_false(is_pair(chain, slice_str(b->key)));
    assert_false(is_pair(S(""), key));
    assert_false(is_pair(chain, S("")));
    assert_false(is_pair(S("junk"), key));
    assert_false(is_pair(slice_upto(chain, chain.n - 200), key));
    assert_false(is_pair(chain, slice_upto(key, key.n / 2)));
    assert_false(certs_install(c, S("a.test"), chain, slice_str(b->key), &err));
    assert_non_null(strstr(err.text, "do not belong together"));
    assert_true(stands_in(c, "a.test"));
    /* An encrypted key is an error, not a question on the terminal. */
    BIO *bio = BIO_new(BIO_s_mem());
    char locked[4096];
    PEM_write_bio_PKCS8PrivateKey(bio, a->pkey, EVP_aes_128_cbc(), "pw", 2, NULL, NULL);
    pki_text(bio, locked, sizeof(locked));
    assert_false(certs_install(c, S("a.test"), chain, slice_str(locked), &err));
    certs_free(c);
    pki_free(a);
    pki_free(b);
}

/* ---- threads: run under TSan as well --------------------------------------------------------- */

static atomic_bool stop_readers;

static void *reader(void *arg)
{
    struct certs *c = arg;
    size_t seen = 0;
    while (!atomic_load(&stop_readers) || seen < 100) {
        struct cert *a = certs_choose(c, S("a.test"), NULL);
        struct cert *b = certs_choose(c, S("x.b.test"), NULL);
        seen += a != NULL && X509_get0_notAfter(a->leaf) != NULL;
        (void)certs_state(c, S("a.test"), NULL);
        cert_unref(a);
        cert_unref(b);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct certs *c = certs_new();
    struct pki_pair *p[2] = {pki_make("1", "DNS:a.test", 10, ca),
                             pki_make("2", "DNS:a.test", 10, ca)};
    CONFIGURE(c, "", "a.test", "*.b.test");
    atomic_store(&stop_readers, false);
    pthread_t t[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&t[i], NULL, reader, c), 0);
    }
    for (int i = 0; i < 60; i++) {
        assert_true(install(c, "a.test", p[i & 1]));
        certs_set_status(c, S("*.b.test"), S("waiting"));
        if (i % 4 == 1) {
            CONFIGURE(c, "", "a.test", "c.test");
        } else {
            CONFIGURE(c, "", "a.test", "*.b.test");
        }
    }
    atomic_store(&stop_readers, true);
    for (int i = 0; i < 2; i++) {
        pthread_join(t[i], NULL);
    }
    assert_true(answers(c, "a.test", p[1]));
    certs_free(c);
    pki_free(p[0]);
    pki_free(p[1]);
}

static void test_sni(void **state)
{
    (void)state;
    char name[SNI_NAME_MAX];
    size_t n = 0;
    assert_true(sni_parse(S("\0\011\0\0\006A.Test"), name, &n));
    assert_true(slice_eq(slice_of(name, n), S("a.test")));
    assert_true(sni_parse(S("\0\012\0\0\007a.test."), name, &n));
    assert_true(slice_eq(slice_of(name, n), S("a.test")));
    assert_false(sni_parse(S(""), name, &n));
    assert_false(sni_parse(S("\0\003\0\0\0"), name, &n));
    assert_false(sni_parse(S("\0\004\0\0\001."), name, &n));
    assert_false(sni_parse(S("\0\011\0\0\005a.test"), name, &n));
    assert_false(sni_parse(S("\0\010\0\0\006a.test"), name, &n));
    assert_false(sni_parse(S("\0\011\001\0\006a.test"), name, &n));
    assert_false(sni_parse(S("\0\011\0\0\006a.te\0t"), name, &n));
    assert_false(sni_parse(S("\0\011\0\0\006a.te/t"), name, &n));
    char big[5 + 300];
    memset(big, 'a', sizeof(big));
    memcpy(big, "\001\057\0\001\054", 5); /* 303, 300 */
    assert_false(sni_parse(slice_of(big, sizeof(big)), name, &n));
    memcpy(big, "\001\002\0\0\377", 5); /* 258, 255: the longest */
    assert_true(sni_parse(slice_of(big, 5 + 255), name, &n));
    assert_int_equal(n, 255);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),     cmocka_unit_test(test_no_server_name),
        cmocka_unit_test(test_states),    cmocka_unit_test(test_stand_in),
        cmocka_unit_test(test_own),       cmocka_unit_test(test_bad_pairs),
        cmocka_unit_test(test_decoded),
        cmocka_unit_test(test_threads),   cmocka_unit_test(test_sni),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
