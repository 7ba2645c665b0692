/* Conditional and range requests for a known representation: RFC 9110 sections 13 and 14. Pure. */
#ifndef HANDLER_FILE_CONDITIONS_H
#define HANDLER_FILE_CONDITIONS_H

#include "proxy/http/message.h"

#define FILE_RANGES_MAX 16u /* more than that are answered with the whole */

struct file_range {
    uint64_t first;
    uint64_t length;
};

struct file_facts {
    struct slice etag;      /* with its quotes, or empty */
    int64_t modified_s;     /* since 1970; 0: not known */
    uint64_t size;          /* bytes */
};

/* 200, 206 (ranges is filled in), 304, 412 or 416. */
int file_conditions(const struct request *req, const struct file_facts *facts,
                    struct file_range *ranges, unsigned *count);

#endif
