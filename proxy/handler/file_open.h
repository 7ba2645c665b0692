/* Opening what a request names below a root: on a job's thread, because disks may wait.
 *
 * Nothing outside the root is reached: "..", absolute paths and, unless they are allowed, symbolic
 * links that lead out of it (openat2(2) with RESOLVE_BENEATH). Devices, pipes and sockets are no
 * files. */
#ifndef HANDLER_FILE_OPEN_H
#define HANDLER_FILE_OPEN_H

#include <sys/stat.h>

#include "proxy/base/slice.h"

#define FILE_ENCODINGS_MAX 4u
#define FILE_INDEXES_MAX 16u

struct file_wanted {
    const char *root;
    const char *path; /* below root, decoded and clean, begins with "/" */
    const char *indexes[FILE_INDEXES_MAX]; /* tried in a folder */
    unsigned index_count;
    const char *suffixes[FILE_ENCODINGS_MAX]; /* ".br": taken instead where it is there */
    unsigned suffix_count;
    bool (*hidden)(const void *ctx, const char *path); /* path: below root; NULL: nothing is */
    const void *ctx;
    bool follow_outside; /* symbolic links may lead out of the root */
    bool want_folder;    /* a folder without index is opened for listing */
};

struct file_found {
    int fd;       /* the caller's to close; -1: error */
    int error;    /* errno */
    struct stat st;
    int index;    /* of indexes, or -1 */
    int suffix;   /* of suffixes, or -1 */
    bool folder;
};

void file_open(const struct file_wanted *wanted, struct file_found *found);

#endif
