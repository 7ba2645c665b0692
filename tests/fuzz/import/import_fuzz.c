/* Any bytes as a configuration of another server; the first byte chooses which. */
#include "cmd/import/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static import_format *const formats[] = {import_nginx, import_apache, import_traefik,
                                             import_pyserve};
    struct import i;
    struct err err;
    struct dstr out;
    if (n == 0 || n > 65536) {
        return 0;
    }
    import_init(&i, S("x"));
    dstr_init(&out, 2 * IMPORT_TEXT_MAX);
    if (formats[data[0] % ARRAY_LEN(formats)](&i, slice_of(data + 1, n - 1), &err)) {
        import_write(&i, &out);
    }
    dstr_fini(&out);
    import_fini(&i);
    return 0;
}
