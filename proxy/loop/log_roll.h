/* Rolling of log files: the full one gets a name with the time in it, old ones are deleted, and
 * those that wait are compressed, a piece at a time. Only for the log writer's thread.
 *
 *     access.log -> access-2026-01-02T15-04-05.000.log -> access-2026-01-02T15-04-05.000.log.gz */
#ifndef LOOP_LOG_ROLL_H
#define LOOP_LOG_ROLL_H

#include "proxy/loop/log_roll_time.h"

/* Of a log file; all 0: never rolled, mode 0600. */
struct log_file_options {
    unsigned mode;       /* 0: 0600 */
    uint64_t roll_bytes; /* a file that would get larger is rolled; 0: not by size */
    int64_t roll_ms;     /* one that was opened so long ago is; 0: not by time */
    unsigned keep;       /* rolled files; 0: any number */
    int64_t keep_ms;     /* how long; 0: for ever */
    bool compress;
    bool local_time; /* in the name, and of times; else UTC */
    struct log_roll_times times; /* one is, too, at these */
    char stamp[LOG_STAMP_BYTES]; /* log_roll_time.h; empty: LOG_STAMP */
};

/* Renames path. False: it could not be (errno). */
NODISCARD bool log_roll_rename(const char *path, const struct log_file_options *o);
/* Deletes what is beyond keep and keep_ms, and begins to compress a rolled file if there is one to
 * be and nothing else is being compressed. False: there is more to do, come again. */
bool log_roll_tidy(const char *path, const struct log_file_options *o);
/* Compresses the next piece. False: nothing is being compressed. */
bool log_roll_step(void);
/* Gives up what is being compressed; it stays as it was. */
void log_roll_stop(void);

#endif
