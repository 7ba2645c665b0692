/* Signed updates: the message, keys, and answers that are none. The real server is in the tests
 * end to end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "acme/dns_update.h"

#define SECRET "MDEyMzQ1Njc4OWFiY2RlZg==" /* "0123456789abcdef" */

static void keys(void **state UNUSED)
{
    struct tsig_key k;
    struct err err;
    assert_true(tsig_key_init(&k, S("key."), S("HMAC-SHA256."), S(SECRET), &err));
    assert_int_equal(k.secret_n, 16);
    assert_memory_equal(k.secret, "0123456789abcdef", 16);
    assert_string_equal(k.algorithm, "hmac-sha256");
    assert_true(slice_eq(k.name, S("key")));
    tsig_key_fini(&k);
    assert_false(tsig_key_init(&k, S("key"), S("hmac-md5"), S(SECRET), &err));
    assert_false(tsig_key_init(&k, S("key"), S("hmac-sha512"), S("no base64"), &err));
    assert_false(tsig_key_init(&k, S("key"), S("hmac-sha512"), S(""), &err));
    assert_false(tsig_key_init(&k, S("a b"), S("hmac-sha512"), S(SECRET), &err));
}

static void an_update(void **state UNUSED)
{
    struct dstr msg;
    dstr_init(&msg, 4096);
    assert_true(
        dns_put_update(&msg, 1, S("example"), S("_acme-challenge.example"), S("v"), true, 60));
    static const char expected[] = "\0\1\x28\0\0\1\0\0\0\1\0\0"
                                   "\7example\0\0\6\0\1"
                                   "\17_acme-challenge\7example\0\0\20\0\1\0\0\0\74\0\2\1v";
    assert_int_equal(msg.n, sizeof(expected) - 1);
    assert_memory_equal(msg.p, expected, msg.n);
    dstr_fini(&msg);
}

static void answers(void **state UNUSED)
{
    struct tsig_key k;
    struct err err;
    struct dstr msg;
    struct tsig_mac mac;
    dstr_init(&msg, 4096);
    assert_true(tsig_key_init(&k, S("key"), S("hmac-sha256"), S(SECRET), &err));
    assert_true(dns_put_update(&msg, 9, S("example"), S("a.example"), S("v"), false, 60));
    size_t bare = msg.n;
    assert_true(tsig_sign(&k, &msg, 1000000, &mac));
    assert_true(msg.n > bare && mac.n == 32 && msg.p[11] == 1);
    /* A request is no answer; an unsigned answer is not believed; a refusal is told in words. */
    assert_false(tsig_answer_ok(&k, dstr_slice(&msg), 9, &mac, 1000000, &err));
    assert_non_null(strstr(err.text, "no answer"));
    assert_false(tsig_answer_ok(&k, S("\0\11\xa8\0\0\0\0\0\0\0\0\0"), 9, &mac, 1000000, &err));
    assert_non_null(strstr(err.text, "not signed"));
    assert_false(tsig_answer_ok(&k, S("\0\11\xa8\5\0\0\0\0\0\0\0\0"), 9, &mac, 1000000, &err));
    assert_non_null(strstr(err.text, "REFUSED"));
    assert_false(tsig_answer_ok(&k, S("\0\10\xa8\0\0\0\0\0\0\0\0\0"), 9, &mac, 1000000, &err));
    /* Our own signature is not one over an answer. */
    msg.p[2] = (char)0xa8;
    assert_false(tsig_answer_ok(&k, dstr_slice(&msg), 9, &mac, 1000000, &err));
    assert_non_null(strstr(err.text, "not signed"));
    tsig_key_fini(&k);
    dstr_fini(&msg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(keys), cmocka_unit_test(an_update),
                                       cmocka_unit_test(answers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
