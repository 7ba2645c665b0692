/* Answers of name servers and of DNS providers: DNS messages, TSIG, Route 53's XML, records of
 * dns-persist-01. */
#include <stddef.h>
#include <stdint.h>

#include "acme/caa.h"
#include "acme/challenge_persist.h"
#include "acme/dns_update.h"
#include "acme/json.h"
#include "acme/xml_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void records(struct slice input)
{
    struct dns_message m;
    struct dns_record r;
    if (!dns_read(input, &m)) {
        return;
    }
    while (dns_next(&m, &r)) {
        char name[DNS_TEXT_BYTES], text[DNS_TEXT_MAX];
        must(strlen(r.name) < sizeof(r.name));
        if (dns_data_name(&m, &r, name)) {
            (void)dns_name_plain(slice_str(name));
        }
        (void)challenge_persist_fits(dns_text(&r, text), S("ca.example"), S("https://a"), true);
        (void)dns_text_is(&r, S("value"));
        struct dns_caa caa;
        struct slice ca = S("ca.example");
        if (dns_caa(&r, &caa)) {
            must(caa.tag.n + caa.value.n + 2 == r.data.n);
            (void)caa_allows(caa.value, &ca, 1, S("https://ca.example/a/1"));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = slice_of(data, size), rest = input, text;
    struct tsig_key key;
    struct tsig_mac mac = {.n = 32};
    struct err err;
    records(input);
    if (tsig_key_init(&key, S("key"), S("hmac-sha256"), S("MDEyMw=="), &err)) {
        must(!tsig_answer_ok(&key, input, 1, &mac, 1000000, &err) || size > 40);
        tsig_key_fini(&key);
    }
    while (xml_element(&rest, "Value", &text)) {
        (void)xml_quoted_is(text, S("value"));
    }
    cJSON_Delete(json_parse_object(input, &err));
    return 0;
}
