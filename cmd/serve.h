/* The server process: workers, the ACME thread, and this, the control thread, which reads
 * configurations, applies them, and obeys the parent and the control socket. */
#ifndef CMD_SERVE_H
#define CMD_SERVE_H

#include "cmd/binder.h"

struct serve_setup {
    const char *config_path; /* "-": standard input */
    const char *store_path;  /* default when the Caddyfile names none; NULL: paths.h's */
    const char *control_path; /* default when the Caddyfile names none; NULL: paths.h's */
    unsigned workers;        /* 0: one for each core */
    bool watch;              /* reload when a file of the configuration changes */
    bool environ;            /* print the environment first */
    int link;                /* to the parent; -1: --single, then binder is used directly */
    struct binder *binder;
};

/* Runs until told to stop; the process's exit status: 0, or 1 when it could not start. */
int serve_main(const struct serve_setup *setup);

#endif
