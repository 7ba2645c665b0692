/* Apache's configuration as a tree: directives with words, and sections. */
#ifndef CMD_IMPORT_APACHE_PARSE_H
#define CMD_IMPORT_APACHE_PARSE_H

#include "cmd/import/import.h"

#define APACHE_WORDS_MAX 256

struct apache_directive {
    struct apache_directive *next;
    struct slice *words; /* words[0]: the name, or the section's ("VirtualHost") */
    size_t count;
    bool is_section;
    struct apache_directive *children;
    unsigned line;
};

/* In a's memory. False and err ("line 12: ...") for what is no Apache configuration. */
NODISCARD bool apache_parse(struct arena *a, struct slice text, struct apache_directive **out,
                            struct err *err);

#endif
