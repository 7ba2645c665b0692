/* Serving a configuration that a command has made up instead of a file. */
#ifndef CMD_QUICK_H
#define CMD_QUICK_H

#include "proxy/base/dstr.h"

/* A word of a Caddyfile, quoted so that it is one word whatever is in it. */
void quick_word(struct dstr *out, struct slice word);
/* Runs until it is stopped, as `caddis run` does. The exit status. text must stay. */
int quick_serve(struct slice text);

#endif
