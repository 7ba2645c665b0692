/* Log files written by one background thread, so that a slow disk or a full pipe never holds up a
 * loop. Lines go into a bounded buffer a sink (4 MiB); what does not fit is dropped, counted, and
 * the count is written as a line of its own when there is room again. A file is opened again when
 * the file at its path is another one (rotated away) and at log_sinks_reopen(); it is rolled where
 * its options say so (log_roll.h). */
#ifndef LOOP_LOG_WRITER_H
#define LOOP_LOG_WRITER_H

#include "proxy/base/err.h"
#include "proxy/loop/log_roll.h"

struct log_sink; /* counted */

/* Starts the thread; once a process. */
NODISCARD bool log_writer_start(struct err *err);
/* Writes out what is buffered (at most timeout_ms) and ends the thread. */
void log_writer_stop(int64_t timeout_ms);

/* "stderr", "stdout" or a path (created 0600, folders not made, O_APPEND). Sinks are shared: the
 * same target gives the same sink with one more reference. NULL with the reason. */
struct log_sink *log_sink_open(const char *target, struct err *err);
/* The same for a file with options: those of whoever opens it first hold. */
struct log_sink *log_sink_open_file(const char *path, const struct log_file_options *o,
                                    struct err *err);
/* Another machine (log_net.h has the forms of an address). While it cannot be reached lines wait in
 * the buffer and it is tried again every second. dial_timeout_ms: whoever is not there within that
 * time is an error (this may block); 0: is not asked for now. */
struct log_sink *log_sink_open_net(struct slice address, int64_t dial_timeout_ms, struct err *err);
struct log_sink *log_sink_ref(struct log_sink *s);
void log_sink_unref(struct log_sink *s);
/* Any thread; never blocks. lines ends with a newline. Has log_set_sink's form. */
void log_sink_write(void *sink, struct slice lines);
/* All files are opened again before the next write. */
void log_sinks_reopen(void);

#endif
