/* Inside file_server: what its files share. */
#ifndef HANDLER_FILE_SERVER_H
#define HANDLER_FILE_SERVER_H

#include "proxy/handler/file_open.h"
#include "proxy/handler/handler.h"
#include "proxy/loop/jobs.h"

enum file_sort { FILE_SORT_NAME_DIR_FIRST, FILE_SORT_NAME, FILE_SORT_SIZE, FILE_SORT_TIME };

struct file_server {
    struct template *root;   /* NULL: {vars.root}, else the working folder */
    struct template *status; /* NULL: 200, or that of the error being handled */
    const char *indexes[FILE_INDEXES_MAX];
    unsigned index_count;
    struct slice encodings[FILE_ENCODINGS_MAX]; /* precompressed: "br" */
    const char *suffixes[FILE_ENCODINGS_MAX];   /* ".br" */
    unsigned encoding_count;
    struct file_hidden *hidden;
    bool shows_dot_files;
    bool follows_outside;
    bool browses;
    bool reveals_symlinks;
    enum file_sort sort;
    bool sort_descending;
    unsigned list_max;
    bool not_canonical; /* disable_canonical_uris */
    bool passes;        /* pass_thru */
};

/* One request's look at the disk; in the exchange's arena. */
struct file_look {
    struct job job;
    struct exchange *ex; /* held until the job is done */
    const struct file_server *server;
    struct file_wanted wanted;
    struct file_found found;
    struct slice path; /* decoded, clean */
    unsigned order[FILE_ENCODINGS_MAX]; /* wanted.suffixes[i] is encodings[order[i]] */
    struct dstr listing; /* of a folder: the page, made by the job */
    bool json;           /* the client wants it as JSON */
    struct slice sort_query, order_query; /* ?sort=, ?order= */
};

/* Reads a `browse` block. */
NODISCARD bool file_browse_parse(struct build *b, const struct cf_directive *d,
                                 struct file_server *f);
/* On the job's thread: the folder found.fd as a page (or JSON) in look->listing. */
void file_browse_list(struct file_look *look);

#endif
