/* DNS messages: written, read, and what is no message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "acme/dns_parse.h"

static struct dstr text;

static int setup(void **state UNUSED)
{
    dstr_init(&text, DNS_MESSAGE_MAX);
    return 0;
}

static int teardown(void **state UNUSED)
{
    dstr_fini(&text);
    return 0;
}

/* A question for "a.example" and, behind it, records with pointers to its name at 12. */
static void begin(unsigned answers)
{
    dstr_reset(&text);
    assert_true(dns_put_question(&text, 7, S("a.example"), DNS_TXT, true));
    text.p[2] = (char)0x80;
    text.p[7] = (char)answers;
}

static void record(unsigned type, struct slice data)
{
    dns_put_u16(&text, 0xc00c);
    dns_put_u16(&text, type);
    dns_put_u16(&text, DNS_IN);
    dns_put_u32(&text, 60);
    dns_put_u16(&text, (unsigned)data.n);
    dstr_append(&text, data);
}

static void a_question(void **state UNUSED)
{
    assert_true(dns_put_question(&text, 0x1234, S("A.example"), DNS_TXT, false));
    assert_int_equal(text.n, 12 + 11 + 4);
    assert_memory_equal(text.p, "\x12\x34\0\0\0\1\0\0\0\0\0\0\1a\7example\0\0\20\0\1", text.n);
}

static void texts(void **state UNUSED)
{
    struct dns_message m;
    struct dns_record r;
    char out[DNS_TEXT_MAX];
    begin(2);
    record(DNS_TXT, S("\3abc\2de"));
    record(DNS_TXT, S("\5abcde"));
    assert_true(dns_read(dstr_slice(&text), &m) && m.response && m.id == 7);
    for (int i = 0; i < 2; i++) {
        assert_true(dns_next(&m, &r));
        assert_string_equal(r.name, "a.example");
        assert_true(r.section == DNS_ANSWER && r.ttl == 60 && r.type == DNS_TXT);
        assert_true(dns_text_is(&r, S("abcde")));
        assert_false(dns_text_is(&r, S("abcd")) || dns_text_is(&r, S("abcdef")));
        assert_true(slice_eq(dns_text(&r, out), S("abcde")));
    }
    assert_false(dns_next(&m, &r));
}

static void names_in_data(void **state UNUSED)
{
    struct dns_message m;
    struct dns_record r;
    char out[DNS_TEXT_BYTES];
    begin(1);
    record(DNS_CNAME, S("\3WwW\xc0\x0e")); /* "www" and then "example" */
    assert_true(dns_read(dstr_slice(&text), &m) && dns_next(&m, &r));
    assert_true(dns_data_name(&m, &r, out));
    assert_string_equal(out, "www.example");
}

static void what_is_broken(void **state UNUSED)
{
    struct dns_message m;
    struct dns_record r;
    char out[DNS_TEXT_BYTES];
    assert_false(dns_read(S("short"), &m));
    /* A pointer to itself, and one forward. */
    begin(1);
    record(DNS_CNAME, S("\xc0\x27"));
    assert_true(dns_read(dstr_slice(&text), &m) && dns_next(&m, &r));
    assert_false(dns_data_name(&m, &r, out));
    /* A name that leaves its data; a length beyond the message; a record cut off. */
    begin(1);
    record(DNS_CNAME, S("\77abc"));
    assert_true(dns_read(dstr_slice(&text), &m) && dns_next(&m, &r));
    assert_false(dns_data_name(&m, &r, out));
    begin(2);
    record(DNS_TXT, S("\3abc"));
    assert_true(dns_read(slice_upto(dstr_slice(&text), text.n - 1), &m));
    assert_false(dns_next(&m, &r));
    begin(2);
    record(DNS_TXT, S("\3abc"));
    assert_true(dns_read(dstr_slice(&text), &m) && dns_next(&m, &r));
    assert_false(dns_next(&m, &r));
    /* A string longer than its record. */
    begin(1);
    record(DNS_TXT, S("\11abc"));
    assert_true(dns_read(dstr_slice(&text), &m) && dns_next(&m, &r));
    assert_false(dns_text_is(&r, S("abc")));
}

static void caa(void **state UNUSED)
{
    struct dns_message m;
    struct dns_record r;
    struct dns_caa got;
    begin(1);
    record(DNS_CAA, slice_of("\200\5issueca.example", 17));
    assert_true(dns_read(dstr_slice(&text), &m) && dns_next(&m, &r) && dns_caa(&r, &got));
    assert_true(got.critical && slice_eq(got.tag, S("issue")));
    assert_true(slice_eq(got.value, S("ca.example")));
    r.data = slice_of("\0\5iss", 5); /* a tag longer than the record */
    assert_false(dns_caa(&r, &got));
    r.data = slice_of("\0\0x", 3);
    assert_false(dns_caa(&r, &got));
    r.data = slice_of("\0", 1);
    assert_false(dns_caa(&r, &got));
}

static void names(void **state UNUSED)
{
    assert_true(dns_name_plain(S("_acme-challenge.example.com")));
    assert_false(dns_name_plain(S("")) || dns_name_plain(S("a..b")) || dns_name_plain(S(".a")));
    assert_false(dns_name_plain(S("a.")) || dns_name_plain(S("a b")) || dns_name_plain(S("a\"b")));
    assert_false(dns_name_plain(S("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")));
    assert_false(dns_put_name(&text, S("a/b")));
    assert_int_equal(text.n, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(a_question), TEST(texts), TEST(names_in_data),
                                       TEST(what_is_broken), TEST(caa), TEST(names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
