/* A certificate chain as a CA (or a damaged store) gives it, and a private key after a line of
 * '='. */
#include "acme/cert_check.h"
#include "acme/key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice pem = slice_of(data, size), key = {NULL, 0};
    size_t at = slice_find_slice(pem, S("\n=====\n"));
    if (at != SLICE_NPOS) {
        key = slice_from(pem, at + 7);
        pem = slice_upto(pem, at + 1);
    }
    struct err err;
    struct cert_facts facts;
    const struct slice names[] = {S_INIT("example.com"), S_INIT("127.0.0.1")};
    if (cert_check(pem, NULL, names, 1, CERT_NAMES_INCLUDE, &facts, &err)) {
        bool usable = cert_dates_ok(&facts, 1795000000000, &err);
        must(!usable || facts.not_after_ms > 1795000000000);
    }
    /* What is exactly these names also includes them. */
    if (cert_check(pem, NULL, names, 2, CERT_NAMES_EXACT, &facts, &err)) {
        must(cert_check(pem, NULL, names, 2, CERT_NAMES_INCLUDE, &facts, &err));
    }
    (void)cert_pair_matches(NULL, pem, key);
    return 0;
}
