/* Parsing of the server_name extension. See sni.h. */
#include "proxy/tls/sni.h"

static bool name_byte(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c) || c == '-' || c == '.' || c == '_' || c == ':';
}

static size_t read_u16(const char *p)
{
    return (size_t)(unsigned char)p[0] << 8 | (unsigned char)p[1];
}

bool sni_parse(struct slice extension, char name[SNI_NAME_MAX], size_t *n)
{
    /* list length (2), type (1, host_name is 0), name length (2), name. Other types were never
     * defined; a second entry is not allowed. */
    if (extension.n < 5 || read_u16(extension.p) != extension.n - 2 || extension.p[2] != 0 ||
        read_u16(extension.p + 3) != extension.n - 5) {
        return false;
    }
    struct slice host = slice_from(extension, 5);
    if (slice_ends(host, S("."))) {
        host.n--;
    }
    if (host.n == 0 || host.n > SNI_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < host.n; i++) {
        if (!name_byte(host.p[i])) {
            return false;
        }
        name[i] = ascii_lower(host.p[i]);
    }
    *n = host.n;
    return true;
}
