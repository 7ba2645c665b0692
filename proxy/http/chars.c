/* The table of proxy/http/chars.h. Bits: 1 token, 2 request target, 4 host name. */
#include "proxy/http/chars.h"

enum {
    T = CHAR_TOKEN,
    R = CHAR_TARGET,
    H = CHAR_HOST,
};

const unsigned char http_char_class[256] = {
    ['0' ... '9'] = T | R | H, ['A' ... 'Z'] = T | R | H, ['a' ... 'z'] = T | R | H,
    ['-'] = T | R | H, ['.'] = T | R | H, ['_'] = T | R | H, ['~'] = T | R | H,
    ['!'] = T | R | H, ['$'] = T | R | H, ['&'] = T | R | H, ['\''] = T | R | H,
    ['*'] = T | R | H, ['+'] = T | R | H,
    ['('] = R | H, [')'] = R | H, [','] = R | H, [';'] = R | H, ['='] = R | H,
    ['%'] = T | R, ['^'] = T | R, ['`'] = T | R, ['|'] = T | R, ['#'] = T,
    ['"'] = R, ['/'] = R, [':'] = R, ['<'] = R, ['>'] = R, ['?'] = R, ['@'] = R,
    ['['] = R, ['\\'] = R, [']'] = R, ['{'] = R, ['}'] = R,
};
