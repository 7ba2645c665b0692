/* The server_name extension's parser: what it accepts is a host name in lower case. */
#include "proxy/tls/sni.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char name[SNI_NAME_MAX];
    size_t n = 0;
    if (sni_parse(slice_of(data, size), name, &n)) {
        must(n > 0 && n <= SNI_NAME_MAX && n + 5 <= size);
        for (size_t i = 0; i < n; i++) {
            must(name[i] > ' ' && name[i] < 127 && ascii_lower(name[i]) == name[i]);
        }
    }
    return 0;
}
