/* JSON, written piece by piece; commas come by themselves. */
#ifndef CMD_JSON_OUT_H
#define CMD_JSON_OUT_H

#include "proxy/base/dstr.h"

struct json_out {
    struct dstr *out; /* borrowed */
    bool comma;       /* something stands in front on this level */
};

/* key NULL: an element of an array. bracket: '{' or '['; json_close takes its partner. */
void json_open(struct json_out *j, const char *key, char bracket);
void json_close(struct json_out *j, char bracket);
void json_text(struct json_out *j, const char *key, struct slice value);
void json_number(struct json_out *j, const char *key, int64_t value);
void json_bool(struct json_out *j, const char *key, bool value);

#endif
