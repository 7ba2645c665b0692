/* Everything a CA can say in JSON. The first byte picks the message. */
#include "acme/message.h"
#include "acme/schedule.h"
#include "acme/zerossl.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct slice body = slice_of(data + 1, size - 1);
    struct arena a;
    struct err err;
    arena_init(&a, (size_t)4 << 20);
    struct directory directory;
    struct order_message order;
    struct authz_message authz;
    struct problem problem;
    struct schedule schedule;
    switch (data[0]) {
    case 'd':
        if (message_directory(&a, body, &directory, &err)) {
            must(message_url_ok(directory.new_order) && message_url_ok(directory.new_nonce));
        }
        break;
    case 'o':
        if (message_order(&a, body, &order, &err)) {
            must(order.status != STATUS_UNKNOWN && message_url_ok(order.finalize));
            for (size_t i = 0; i < order.authorization_count; i++) {
                must(message_url_ok(order.authorizations[i]));
            }
        }
        break;
    case 'z':
        if (message_authz(&a, body, &authz, &err)) {
            must(authz.challenge_count <= MESSAGE_CHALLENGES_MAX);
            for (size_t i = 0; i < authz.challenge_count; i++) {
                must(message_url_ok(authz.challenges[i].url));
            }
        }
        break;
    case 's':
        if (schedule_read(body, &schedule)) {
            (void)schedule_heal(&schedule, 1795000000000);
            must(schedule_wait_ms(&schedule, 1795000000000, false) <= RETRY_AFTER_MAX_MS);
        }
        break;
    case 'w': {
        struct renewal_message window;
        if (message_renewal(&a, body, &window, &err)) {
            must(window.start_ms > 0 && window.start_ms < window.end_ms);
        }
        break;
    }
    case 'l': {
        struct slice links[MESSAGE_ALTERNATES_MAX];
        size_t count = message_alternates(&a, body, links);
        for (size_t i = 0; i < count; i++) {
            must(message_url_ok(links[i]));
        }
        break;
    }
    case 'e': {
        struct slice id, mac;
        if (zerossl_parse(&a, body, &id, &mac, &err)) {
            must(id.n > 0 && mac.n > 0);
        }
        break;
    }
    case 'r':
        must(schedule_parse_retry_after(body, 1795000000000) <= RETRY_AFTER_MAX_MS);
        break;
    default:
        problem_parse(body, 400, &problem);
        must(problem.text[0] != '\0' && strlen(problem.text) < sizeof(problem.text));
        for (const char *p = problem.text; *p; p++) {
            must((unsigned char)*p >= 0x20 && *p != 0x7f);
        }
    }
    arena_fini(&a);
    return 0;
}
