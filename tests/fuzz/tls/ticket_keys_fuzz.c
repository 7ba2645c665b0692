/* Ticket keys out of a shared store: what is accepted comes out the same when written again. */
#include <stdint.h>

#include "proxy/base/attr.h"
#include "proxy/tls/ticket_keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ticket_keys keys, again;
    static const char nothing[1];
    struct slice text = slice_of(size ? (const char *)data : nothing, size);
    if (!ticket_keys_parse(text, &keys)) {
        must(keys.count == 0);
        return 0;
    }
    struct dstr out;
    dstr_init(&out, TICKET_KEYS_TEXT_MAX);
    ticket_keys_write(&keys, &out);
    must(!out.failed && ticket_keys_parse(dstr_slice(&out), &again) &&
         memcmp(&keys, &again, sizeof(keys)) == 0);
    must(ticket_keys_renew(&keys, (int64_t)1 << 40) && keys.count > 0 &&
         keys.count <= TICKET_KEYS_MAX && !ticket_keys_due(&keys, (int64_t)1 << 40));
    dstr_fini(&out);
    return 0;
}
