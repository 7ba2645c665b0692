/* nginx's configuration as a tree: directives with words and blocks. */
#ifndef CMD_IMPORT_NGINX_PARSE_H
#define CMD_IMPORT_NGINX_PARSE_H

#include "cmd/import/import.h"

#define NGINX_WORDS_MAX 512

struct nginx_directive {
    struct nginx_directive *next;
    struct slice *words; /* words[0] is the name; quotes and escapes resolved */
    size_t count;
    struct nginx_directive *children; /* of the block, in order */
    bool has_block;
    unsigned line;
};

/* In a's memory. False and err ("line 12: ...") for what is no nginx configuration. */
NODISCARD bool nginx_parse(struct arena *a, struct slice text, struct nginx_directive **out,
                           struct err *err);

#endif
