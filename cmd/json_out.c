/* Writing JSON; see json_out.h. */
#include "cmd/json_out.h"

#include <inttypes.h>

static void begin(struct json_out *j, const char *key)
{
    if (j->comma) {
        dstr_byte(j->out, ',');
    }
    if (key) {
        dstr_json(j->out, slice_str(key));
        dstr_byte(j->out, ':');
    }
    j->comma = true;
}

void json_open(struct json_out *j, const char *key, char bracket)
{
    begin(j, key);
    dstr_byte(j->out, bracket);
    j->comma = false;
}

void json_close(struct json_out *j, char bracket)
{
    dstr_byte(j->out, bracket);
    j->comma = true;
}

void json_text(struct json_out *j, const char *key, struct slice value)
{
    begin(j, key);
    dstr_json(j->out, value);
}

void json_number(struct json_out *j, const char *key, int64_t value)
{
    begin(j, key);
    dstr_printf(j->out, "%" PRId64, value);
}

void json_bool(struct json_out *j, const char *key, bool value)
{
    begin(j, key);
    dstr_append(j->out, value ? S("true") : S("false"));
}
