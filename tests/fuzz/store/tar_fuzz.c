/* Archives that somebody hands to `caddis storage import`: bounded, never more than was there. */
#include <stdint.h>

#include "store/backend.h"
#include "store/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static ssize_t read_rest(void *ctx, char *at, size_t n, struct err *err UNUSED)
{
    struct slice *rest = ctx;
    size_t take = rest->n < n ? rest->n : n;
    if (take) {
        memcpy(at, rest->p, take);
    }
    *rest = slice_from(*rest, take);
    return (ssize_t)take;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = slice_of(data, size);
    struct tar_reader r = {read_rest, &rest};
    struct dstr name, value;
    struct err err = {.text = ""};
    enum tar_kind kind;
    enum tar_result result;
    size_t bytes = 0;
    dstr_init(&name, TAR_NAME_MAX);
    dstr_init(&value, STORE_VALUE_MAX);
    while ((result = tar_next(&r, &name, &kind, &value, &err)) == TAR_ENTRY) {
        bytes += value.n;
        must(value.n <= STORE_VALUE_MAX && name.n <= TAR_NAME_MAX && bytes <= size);
        must(kind == TAR_VALUE || value.n == 0);
    }
    must((result == TAR_FAILED) == (err.text[0] != '\0'));
    dstr_fini(&name);
    store_wipe(&value);
    return 0;
}
