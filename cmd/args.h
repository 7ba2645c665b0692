/* The command line: --name value, --name=value, -n value, -xyz for the flags -x -y -z, and what is
 * left over. */
#ifndef CMD_ARGS_H
#define CMD_ARGS_H

#include "proxy/base/slice.h"

enum arg_kind { ARG_FLAG, ARG_TEXT, ARG_NUMBER, ARG_TEXTS, ARG_NOT_HERE /* Caddy's */ };

#define ARG_TEXTS_MAX 16
#define ARG_NUMBER_MAX (1 << 20)

struct arg_texts {
    const char *items[ARG_TEXTS_MAX];
    size_t count;
};

struct arg {
    const char *name;
    char letter; /* 0: none */
    enum arg_kind kind;
    void *out; /* bool *, const char **, unsigned *, struct arg_texts * */
    const char *help; /* of ARG_NOT_HERE: why not */
    const char *value; /* what stands behind the name in help; NULL: FILE, or N for numbers */
};

/* Parses argv[0..argc) behind the command's name. *rest is set to the first word that is no option
 * (there may be one at most: max_rest). False after a message on stderr. */
NODISCARD bool args_parse(const char *command, const struct arg *table, size_t count, int argc,
                          char **argv, const char **rest);
/* The options, a line each. */
void args_help(const struct arg *table, size_t count);

#endif
