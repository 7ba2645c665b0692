/* on_certificate PROGRAM: a program of the owner's that runs whenever a certificate has changed, to
 * tell others (a mail server, a monitor). On a thread of its own, one run at a time. */
#ifndef CMD_HOOK_H
#define CMD_HOOK_H

#include "proxy/base/err.h"
#include "proxy/base/slice.h"

struct hook;

/* Starts the thread, with no program to run. NULL and err on failure. */
struct hook *hook_start(struct err *err);
/* The program from now on; empty: none. */
void hook_program(struct hook *h, struct slice program);
/* A certificate changed: the program is run soon as `PROGRAM name certificate key`, with the same
 * in CADDIS_NAME, CADDIS_CERTIFICATE and CADDIS_KEY. Returns at once; any thread. The paths are
 * empty when the storage has none. At most HOOK_QUEUE_MAX names wait; a name that waits already is
 * not queued again. */
#define HOOK_QUEUE_MAX 1024
void hook_run(struct hook *h, struct slice name, struct slice certificate, struct slice key);
/* Ends the thread; what waits is dropped, a program that runs is left to itself. */
void hook_stop(struct hook *h);

#endif
