/* AWS's own example of Signature Version 4 (get-vanilla of its test suite), and Route 53's XML. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "acme/sigv4.h"
#include "acme/xml_parse.h"

static void get_vanilla(void **state UNUSED)
{
    struct err err;
    struct dstr out;
    char time[SIGV4_TIME_BYTES];
    sigv4_time(INT64_C(1440938160000), time);
    assert_string_equal(time, "20150830T123600Z");
    struct sigv4 s = {.access_key_id = S("AKIDEXAMPLE"),
                      .secret_access_key = S("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
                      .region = S("us-east-1"),
                      .service = S("service"),
                      .time = time,
                      .method = "GET",
                      .host = S("example.amazonaws.com"),
                      .path = S("/"),
                      .query = S("")};
    dstr_init(&out, 4096);
    assert_true(sigv4_authorization(&s, &out, &err));
    assert_string_equal(
        out.p, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
               "SignedHeaders=host;x-amz-date, "
               "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    dstr_fini(&out);
}

static void xml(void **state UNUSED)
{
    struct slice doc = S("<A><N>one</N><N>two</N></A><N>cut"), text;
    assert_true(xml_element(&doc, "N", &text) && slice_eq(text, S("one")));
    assert_true(xml_element(&doc, "N", &text) && slice_eq(text, S("two")));
    assert_false(xml_element(&doc, "N", &text));
    assert_true(xml_quoted_is(S("\"v\""), S("v")) && xml_quoted_is(S("&quot;v&quot;"), S("v")));
    assert_false(xml_quoted_is(S("v"), S("v")) || xml_quoted_is(S("\"vw\""), S("v")));
    assert_false(xml_quoted_is(S("\""), S("")) || xml_quoted_is(S(""), S("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(get_vanilla), cmocka_unit_test(xml)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
