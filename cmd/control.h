/* The control interface: a Unix socket, 0600; up to 16 connections at a time, whose requests are
 * served one after the other. One request a connection: a line of words, then the
 * answer: "ok" or "error" on the first line, text for a person behind it. */
#ifndef CMD_CONTROL_H
#define CMD_CONTROL_H

#include "proxy/base/dstr.h"
#include "proxy/base/err.h"
#include "proxy/loop/loop.h"

struct control;

/* Serves requests on listen_fd (owned). handle gets the line and appends its text; its result says
 * ok or error. It may block for a while: this is the control thread. after() runs when the answer
 * has been sent; if it returns true the connection stays open until control_free, so that whoever
 * asked can wait for the end. */
struct control_events {
    bool (*handle)(void *ctx, struct slice line, struct dstr *answer);
    bool (*after)(void *ctx);
    void *ctx;
};

struct control *control_new(struct loop *l, int listen_fd, const struct control_events *events);
void control_free(struct control *c);

/* Sends a line to the caddis that listens at path and waits for the answer, at most timeout_ms.
 * False and err: nobody there, or it said error. The text is in answer either way. */
NODISCARD bool control_ask(const char *path, struct slice line, int64_t timeout_ms,
                           struct dstr *answer, struct err *err);

#endif
