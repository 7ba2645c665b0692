/* Challenge answers from a shared folder: any bytes as JSON, and their first bytes as names. What
 * comes out is no longer than what went in, and a name is always one part of a key. */
#include <stdint.h>

#include "store/backend.h"
#include "store/json.h"
#include "store/names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"type", "token", "keyAuthorization"};
    struct slice doc = slice_of(data, size);
    struct arena a;
    arena_init(&a, (size_t)16 << 20);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct slice out;
        if (store_json_string(&a, doc, slice_str(names[i]), &out)) {
            must(out.n <= size && (out.p || out.n == 0));
        }
    }
    struct slice safe = store_safe_name(&a, slice_upto(doc, 200));
    must(safe.n > STORE_PART_MAX || store_key_valid(safe, false));
    struct slice ca = store_ca_name(&a, slice_upto(doc, 200));
    must(ca.n > STORE_PART_MAX || store_key_valid(ca, false));
    arena_fini(&a);
    return 0;
}
