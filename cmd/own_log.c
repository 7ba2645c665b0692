/* The program's own log; see own_log.h. One for the process, as base/log.h's state is. */
#include "cmd/own_log.h"

#include <unistd.h>

#include "proxy/handler/access_log.h"

static struct log_sink *held; /* counted: it may be used longer than its configuration */

static void discard(void *ctx, struct slice line)
{
    (void)ctx;
    (void)line;
}

void own_log_level(const struct config *c)
{
    log_set_threshold(c->own_log            ? c->own_log->level
                      : c->options->debug ? LOG_DEBUG
                                            : LOG_INFO);
}

void own_log_apply(const struct config *c, struct log_sink *usual)
{
    struct log_sink *before = held;
    struct log_sink *sink = c->own_log ? c->own_log->sink : usual;
    bool json = c->own_log ? c->own_log->format.encoding == ENCODE_JSON : !isatty(STDERR_FILENO);
    own_log_level(c);
    log_set_format(json ? LOG_JSON : LOG_CONSOLE);
    held = sink ? log_sink_ref(sink) : NULL;
    log_set_sink(sink ? log_sink_write : discard, sink);
    log_sink_unref(before);
}

void own_log_end(void)
{
    log_set_sink(NULL, NULL);
    log_sink_unref(held);
    held = NULL;
}
