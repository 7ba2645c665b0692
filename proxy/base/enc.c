/* base64, base64url, hexadecimal, percent-encoding; see enc.h. */
#include "proxy/base/enc.h"

#define LETTERS_AND_DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static void base64(struct dstr *out, struct slice bytes, const char b64[65], bool pad)
{
    const unsigned char *p = (const unsigned char *)bytes.p;
    for (size_t i = 0; i < bytes.n; i += 3) {
        size_t left = bytes.n - i;
        unsigned v = (unsigned)p[i] << 16;
        v |= left > 1 ? (unsigned)p[i + 1] << 8 : 0;
        v |= left > 2 ? p[i + 2] : 0;
        char quad[4] = {b64[v >> 18], b64[(v >> 12) & 63], b64[(v >> 6) & 63], b64[v & 63]};
        size_t n = left > 2 ? 4 : left + 1;
        if (pad) {
            memset(quad + n, '=', 4 - n);
            n = 4;
        }
        dstr_append(out, slice_of(quad, n));
    }
}

void enc_base64(struct dstr *out, struct slice bytes)
{
    base64(out, bytes, LETTERS_AND_DIGITS "+/", true);
}

void enc_base64url(struct dstr *out, struct slice bytes)
{
    base64(out, bytes, LETTERS_AND_DIGITS "-_", false);
}

static int b64_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (ascii_is_digit(c)) {
        return c - '0' + 52;
    }
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

bool enc_base64url_decode(struct arena *a, struct slice text, struct slice *out)
{
    if (text.n % 4 == 1) {
        return false;
    }
    char *p = arena_alloc(a, text.n / 4 * 3 + 3);
    if (!p) {
        return false;
    }
    size_t n = 0;
    unsigned acc = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < text.n; i++) {
        int v = b64_value(text.p[i]);
        if (v < 0) {
            return false;
        }
        acc = (acc << 6) | (unsigned)v;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            p[n++] = (char)(unsigned char)(acc >> bits);
            acc &= (1u << bits) - 1;
        }
    }
    *out = slice_of(p, n);
    return acc == 0;
}

bool enc_base64_decode(struct arena *a, struct slice text, struct slice *out)
{
    size_t padding = 0;
    while (padding < 2 && padding < text.n && text.p[text.n - 1 - padding] == '=') {
        padding++;
    }
    if (text.n % 4 != 0) {
        return false;
    }
    text.n -= padding;
    char *url = arena_alloc(a, text.n + 1);
    for (size_t i = 0; url && i < text.n; i++) {
        char c = text.p[i];
        if (c == '-' || c == '_') {
            return false;
        }
        url[i] = c == '+' ? '-' : c == '/' ? '_' : c;
    }
    return url && enc_base64url_decode(a, slice_of(url, text.n), out);
}

void enc_hex(struct dstr *out, struct slice bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.n; i++) {
        unsigned char c = (unsigned char)bytes.p[i];
        char pair[2] = {digits[c >> 4], digits[c & 15]};
        dstr_append(out, slice_of(pair, 2));
    }
}

bool enc_percent_decode(struct arena *a, struct slice text, struct slice *out)
{
    if (slice_find(text, '%') == SLICE_NPOS) {
        *out = text;
        return true;
    }
    char *p = arena_alloc(a, text.n);
    if (!p) {
        return false;
    }
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] != '%') {
            p[n++] = text.p[i];
            continue;
        }
        int hi = i + 2 < text.n ? ascii_hex_value(text.p[i + 1]) : -1;
        int lo = i + 2 < text.n ? ascii_hex_value(text.p[i + 2]) : -1;
        if (hi < 0 || lo < 0) {
            return false;
        }
        p[n++] = (char)(unsigned char)(hi * 16 + lo);
        i += 2;
    }
    *out = slice_of(p, n);
    return true;
}
