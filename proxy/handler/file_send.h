/* A response body made of texts and parts of an open file, read piece by piece as the client takes
 * it: what is in the page cache on the loop's thread, what is not by a job. Large parts for a plain
 * socket go through a pipe, filled by a job, and are not copied. */
#ifndef HANDLER_FILE_SEND_H
#define HANDLER_FILE_SEND_H

#include "proxy/http/exchange.h"

struct file_part {
    struct slice text; /* sent first; lives as long as the exchange; may be empty */
    uint64_t offset;   /* then length bytes of the file from here */
    uint64_t length;
};

/* Becomes the producer of ex->res_body, whose head is already in ex->res; call exchange_respond
 * afterwards. Takes fd whatever happens; parts live as long as the exchange. A file that got
 * shorter meanwhile aborts the body (END_INTERNAL), so that the client can tell. False: memory. */
NODISCARD bool file_send_start(struct exchange *ex, int fd, const struct file_part *parts,
                               unsigned count);

#endif
