/* In: an address or its reverse name. Out: the other one, in the caller's buffer. */
#include "store/reverse_name.h"

#include <arpa/inet.h>
#include <stdio.h>

#define V4_SUFFIX ".in-addr.arpa"
#define V6_SUFFIX ".ip6.arpa"
#define V6_DIGITS 32

bool reverse_name_of(struct slice address, char out[REVERSE_NAME_BYTES])
{
    char text[INET6_ADDRSTRLEN];
    unsigned char ip[16];
    if (address.n == 0 || address.n >= sizeof(text)) {
        return false;
    }
    memcpy(text, address.p, address.n);
    text[address.n] = '\0';
    if (inet_pton(AF_INET, text, ip) == 1) {
        (void)snprintf(out, REVERSE_NAME_BYTES, "%u.%u.%u.%u" V4_SUFFIX, ip[3], ip[2], ip[1],
                       ip[0]);
        return true;
    }
    if (inet_pton(AF_INET6, text, ip) != 1) {
        return false;
    }
    for (size_t i = 0; i < V6_DIGITS; i++) {
        unsigned byte = ip[15 - i / 2];
        out[2 * i] = "0123456789abcdef"[i % 2 ? byte >> 4 : byte & 15];
        out[2 * i + 1] = '.';
    }
    memcpy(out + 2 * V6_DIGITS, V6_SUFFIX + 1, sizeof(V6_SUFFIX) - 1);
    return true;
}

static bool ends(struct slice name, struct slice suffix, struct slice *front)
{
    if (name.n <= suffix.n || !slice_eq(slice_from(name, name.n - suffix.n), suffix)) {
        return false;
    }
    *front = slice_upto(name, name.n - suffix.n);
    return true;
}

static bool v4_address(struct slice digits, char out[REVERSE_NAME_BYTES])
{
    uint64_t byte[4];
    struct slice part;
    for (size_t i = 0; i < 4; i++) {
        bool leading_zero = digits.n > 1 && digits.p[0] == '0' && digits.p[1] != '.';
        if (leading_zero || !slice_cut(&digits, '.', &part) || !slice_u64(part, 255, &byte[i])) {
            return false;
        }
    }
    if (digits.p) {
        return false; /* more than four */
    }
    (void)snprintf(out, REVERSE_NAME_BYTES, "%u.%u.%u.%u", (unsigned)byte[3], (unsigned)byte[2],
                   (unsigned)byte[1], (unsigned)byte[0]);
    return true;
}

static bool v6_address(struct slice digits, char out[REVERSE_NAME_BYTES])
{
    unsigned char ip[16] = {0};
    if (digits.n != 2 * V6_DIGITS - 1) {
        return false;
    }
    for (size_t i = 0; i < V6_DIGITS; i++) {
        const char *hex = "0123456789abcdef";
        const char *at = digits.p[2 * i] ? strchr(hex, digits.p[2 * i]) : NULL;
        if (!at || (i + 1 < V6_DIGITS && digits.p[2 * i + 1] != '.')) {
            return false;
        }
        unsigned value = (unsigned)(at - hex);
        ip[15 - i / 2] = (unsigned char)(ip[15 - i / 2] | (i % 2 ? value << 4 : value));
    }
    return inet_ntop(AF_INET6, ip, out, REVERSE_NAME_BYTES) != NULL;
}

bool reverse_name_address(struct slice name, char out[REVERSE_NAME_BYTES])
{
    struct slice front;
    if (ends(name, S(V4_SUFFIX), &front)) {
        return v4_address(front, out);
    }
    return ends(name, S(V6_SUFFIX), &front) && v6_address(front, out);
}
