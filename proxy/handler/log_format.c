/* Reading of log formats, and printing of lines that are rearranged; see log_format.h.
 *
 *     format console|json [{ time_format|time_key|level_key|message_key|name_key|level_format|
 *                            duration_format <value> ... }]
 *     format common|combined                (one line each, as other servers write them)
 *     format filter { wrap <format> ; [fields {] <path> <filter> ... [}] }    (log_filter.c)
 *     format append { wrap <format> ; [fields {] <key> <text> ... [}] } */
#include "proxy/handler/log_format.h"

#include <stdlib.h>
#include <stdio.h>
#include <time.h>

#include "proxy/base/clock.h"

/* ---- printing -------------------------------------------------------------------------------- */

void log_common_time(struct dstr *out, int64_t now_ms)
{
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm t;
    (void)localtime_r(&seconds, &t);
    long minutes = t.tm_gmtoff / 60;
    long east = minutes < 0 ? -minutes : minutes;
    dstr_printf(out, "%02d/%s/%04d:%02d:%02d:%02d %c%02ld%02ld", t.tm_mday, months[t.tm_mon],
                t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec, minutes < 0 ? '-' : '+',
                east / 60, east % 60);
}

/* The same in the system's time zone, with its distance from UTC ("+02:00"). */
static void local_date(int64_t now_ms, char date[CLOCK_RFC3339_BYTES], char zone[8])
{
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm t;
    (void)localtime_r(&seconds, &t);
    int minutes = (int)(t.tm_gmtoff / 60);
    unsigned east = (unsigned)(minutes < 0 ? -minutes : minutes);
    clock_rfc3339(now_ms + (int64_t)minutes * 60 * 1000, date);
    (void)snprintf(zone, 8, "%c%02u:%02u", minutes < 0 ? '-' : '+', east / 60 % 24, east % 60);
}

static cJSON *time_value(enum log_time form, int64_t now_ms, bool local)
{
    struct dstr text;
    char date[CLOCK_RFC3339_BYTES];
    char zone[8] = "Z";
    dstr_init(&text, 128);
    clock_rfc3339(now_ms, date);
    if (local) {
        local_date(now_ms, date, zone);
    }
    switch (form) {
    case TIME_SECONDS:
        return cJSON_CreateNumber((double)now_ms / 1000);
    case TIME_MS:
        return cJSON_CreateNumber((double)now_ms);
    case TIME_NS:
        dstr_printf(&text, "%lld000000", (long long)now_ms);
        break;
    case TIME_RFC3339:
        dstr_printf(&text, "%.19s.%03d%s", date, (int)(now_ms % 1000), zone);
        break;
    case TIME_WALL:
        dstr_printf(&text, "%.4s/%.2s/%.2s %.8s.%03d", date, date + 5, date + 8, date + 11,
                    (int)(now_ms % 1000));
        break;
    case TIME_COMMON:
        log_common_time(&text, now_ms);
        break;
    }
    cJSON *value = text.failed || !text.p ? NULL
                   : form == TIME_NS      ? cJSON_CreateRaw(text.p)
                                          : cJSON_CreateString(text.p);
    dstr_fini(&text);
    return value;
}

static cJSON *duration_value(enum log_duration form, int64_t us)
{
    struct dstr text;
    switch (form) {
    case DURATION_SECONDS:
        return cJSON_CreateNumber((double)us / 1e6);
    case DURATION_MS:
        return cJSON_CreateNumber((double)us / 1e3);
    case DURATION_NS:
        return cJSON_CreateNumber((double)us * 1e3);
    case DURATION_TEXT:
        break;
    }
    dstr_init(&text, 64);
    dstr_printf(&text, us < 1000 ? "%gµs" : us < 1000000 ? "%gms" : "%gs",
                us < 1000      ? (double)us
                : us < 1000000 ? (double)us / 1e3
                               : (double)us / 1e6);
    cJSON *value = text.p ? cJSON_CreateString(text.p) : NULL;
    dstr_fini(&text);
    return value;
}

static bool replace(cJSON *line, const char *key, cJSON *value)
{
    return !cJSON_HasObjectItem(line, key) || cJSON_ReplaceItemInObject(line, key, value);
}

static bool rename_key(cJSON *line, const char *from, const char *to)
{
    cJSON *item = to ? cJSON_DetachItemFromObjectCaseSensitive(line, from) : NULL;
    if (!item) {
        return true;
    }
    if (!to[0]) {
        cJSON_Delete(item);
        return true;
    }
    return cJSON_AddItemToObject(line, to, item);
}

static void print_console(struct dstr *out, cJSON *line, int64_t now_ms, bool local)
{
    static const char *const front[] = {"ts", "level", "logger", "msg"};
    cJSON *date = time_value(TIME_WALL, now_ms, local);
    for (size_t i = 0; i < ARRAY_LEN(front); i++) {
        cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(line, front[i]);
        const char *text = cJSON_GetStringValue(i == 0 ? date : item);
        dstr_append(out, i ? S("\t") : S(""));
        dstr_append(out, slice_str(text));
        cJSON_Delete(item);
    }
    dstr_byte(out, '\t');
    cJSON_Delete(date);
}

bool log_format_print(const struct log_format_config *f, cJSON *line, int64_t now_ms,
                      int64_t duration_us, struct dstr *out)
{
    const cJSON *level = cJSON_GetObjectItem(line, "level");
    const char *upper = level && cJSON_IsString(level) && level->valuestring[0] == 'e' ? "ERROR"
                                                                                       : "INFO";
    if ((f->duration != DURATION_SECONDS &&
         !replace(line, "duration", duration_value(f->duration, duration_us))) ||
        !log_filters_apply(f->filters, line) ||
        (f->level_upper && !replace(line, "level", cJSON_CreateString(upper)))) {
        return false;
    }
    if (f->encoding == ENCODE_CONSOLE) {
        print_console(out, line, now_ms, f->local_time);
    } else if ((f->time != TIME_SECONDS &&
                !replace(line, "ts", time_value(f->time, now_ms, f->local_time))) ||
               !rename_key(line, "level", f->level_key) || !rename_key(line, "ts", f->time_key) ||
               !rename_key(line, "msg", f->message_key) ||
               !rename_key(line, "logger", f->name_key)) {
        return false;
    }
    char *text = cJSON_PrintUnformatted(line);
    dstr_append(out, slice_str(text));
    dstr_byte(out, '\n');
    bool ok = text != NULL;
    cJSON_free(text);
    return ok;
}

/* ---- reading --------------------------------------------------------------------------------- */

static const char *own(struct build *b, struct slice text)
{
    const char *copy = arena_cstr(b->arena, text);
    must(copy);
    return copy;
}

static bool read_choice(struct build *b, const struct cf_token *t, const struct slice *names,
                        size_t count, unsigned *out)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq(names[i], t->text)) {
            *out = (unsigned)i;
            return true;
        }
    }
    struct cf_diag *d = cf_error(b->diags, t, "unknown format \"%.*s\"", SLICE_ARG(t->text));
    cf_did_you_mean(b->diags, d, t->text, names, count);
    return false;
}

static bool read_time(struct build *b, const struct cf_token *t, struct log_format_config *f)
{
    static const struct slice names[] = {
        S_INIT("unix_seconds_float"), S_INIT("unix_milli_float"), S_INIT("unix_nano"),
        S_INIT("iso8601"),            S_INIT("rfc3339"),          S_INIT("rfc3339_nano"),
        S_INIT("wall"),               S_INIT("wall_milli"),       S_INIT("wall_nano"),
        S_INIT("common_log")};
    static const enum log_time times[] = {TIME_SECONDS, TIME_MS,      TIME_NS,   TIME_RFC3339,
                                          TIME_RFC3339, TIME_RFC3339, TIME_WALL, TIME_WALL,
                                          TIME_WALL,    TIME_COMMON};
    unsigned i;
    bool ok = read_choice(b, t, names, ARRAY_LEN(names), &i);
    f->time = ok ? times[i] : TIME_SECONDS;
    return ok;
}

static bool read_duration(struct build *b, const struct cf_token *t, struct log_format_config *f)
{
    static const struct slice names[] = {S_INIT("seconds"), S_INIT("s"),      S_INIT("ms"),
                                         S_INIT("ns"),      S_INIT("nano"),   S_INIT("string")};
    static const enum log_duration durations[] = {DURATION_SECONDS, DURATION_SECONDS, DURATION_MS,
                                                  DURATION_NS,      DURATION_NS, DURATION_TEXT};
    unsigned i;
    bool ok = read_choice(b, t, names, ARRAY_LEN(names), &i);
    f->duration = ok ? durations[i] : DURATION_SECONDS;
    return ok;
}

/* The options of json and console. */
static bool read_option(struct build *b, const struct cf_directive *o, struct log_format_config *f)
{
    static const struct slice levels[] = {S_INIT("lower"), S_INIT("upper"), S_INIT("color")};
    const struct cf_token *value = o->args;
    unsigned level = 0;
    if (slice_eq(o->name.text, S("time_local"))) {
        f->rearranged = f->local_time = true;
        return expect_args(b, o, o->arg_count, 0, 0);
    }
    if (!expect_args(b, o, o->arg_count, 1, 1)) {
        return false;
    }
    if (slice_eq(o->name.text, S("stacktrace_key")) || slice_eq(o->name.text, S("caller_key")) ||
        slice_eq(o->name.text, S("line_ending"))) {
        cf_warning(b->diags, &o->name, "\"%.*s\" has no meaning in caddis and is left out",
                   SLICE_ARG(o->name.text));
        return true;
    }
    f->rearranged = true;
    if (slice_eq(o->name.text, S("time_format"))) {
        return read_time(b, value, f);
    }
    if (slice_eq(o->name.text, S("duration_format"))) {
        return read_duration(b, value, f);
    }
    if (slice_eq(o->name.text, S("level_format"))) {
        bool ok = read_choice(b, value, levels, ARRAY_LEN(levels), &level);
        f->level_upper = level > 0;
        return ok;
    }
    const char **key = slice_eq(o->name.text, S("level_key"))     ? &f->level_key
                       : slice_eq(o->name.text, S("time_key"))    ? &f->time_key
                       : slice_eq(o->name.text, S("message_key")) ? &f->message_key
                       : slice_eq(o->name.text, S("name_key"))    ? &f->name_key
                                                                  : NULL;
    if (!key) {
        cf_error(b->diags, &o->name, "a log format has no option \"%.*s\" in caddis (time_format,"
                 " duration_format, level_format, time_key, level_key, message_key, name_key)",
                 SLICE_ARG(o->name.text));
        return false;
    }
    *key = own(b, value->text);
    return true;
}

static bool read_added(struct build *b, const struct cf_directive *o, struct log_format_config *f)
{
    if (!expect_args(b, o, o->arg_count, 1, 1)) {
        return false;
    }
    struct log_added *added = ARENA_NEW(b->arena, struct log_added);
    must(added);
    struct cf_token value = o->args[0];
    value.text = arena_copy(b->arena, value.text); /* the log may outlive the document */
    added->key = arena_copy(b->arena, o->name.text);
    added->value = template_compile(b->arena, &value, b->diags);
    struct log_added **tail = &f->added;
    while (*tail) {
        tail = &(*tail)->next;
    }
    *tail = added;
    return added->value != NULL;
}

/* A line of filter or append. */
static bool read_field(struct build *b, const struct cf_directive *o, bool filter,
                       struct log_format_config *f)
{
    f->rearranged = true;
    if (!filter) {
        return read_added(b, o, f);
    }
    struct log_filter *one = log_filter_read(b, o);
    if (one) {
        log_filter_append(&f->filters, one);
    }
    return one != NULL;
}

static bool read_wrapper(struct build *b, const struct cf_directive *d, bool filter,
                         struct log_format_config *f)
{
    bool ok = true;
    bool any = false;
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        if (slice_eq(o->name.text, S("wrap"))) {
            ok = log_format_read(b, o, f) && ok;
        } else if (slice_eq(o->name.text, S("fields")) && o->has_block && !o->arg_count) {
            for (const struct cf_directive *x = o->children; x; x = x->next) {
                ok = read_field(b, x, filter, f) && ok;
                any = true;
            }
        } else {
            ok = read_field(b, o, filter, f) && ok;
            any = true;
        }
    }
    if (!any) {
        cf_error(b->diags, &d->name, "the format needs a block with fields");
    }
    return ok && any;
}

bool log_format_read(struct build *b, const struct cf_directive *d, struct log_format_config *f)
{
    static const struct slice names[] = {S_INIT("console"),  S_INIT("json"),   S_INIT("common"),
                                         S_INIT("combined"), S_INIT("filter"), S_INIT("append")};
    unsigned kind;
    if (!expect_args(b, d, d->arg_count, 1, 1) ||
        !read_choice(b, &d->args[0], names, ARRAY_LEN(names), &kind)) {
        return false;
    }
    if (kind >= 4) {
        return read_wrapper(b, d, kind == 4, f);
    }
    f->encoding = (enum log_encoding)kind;
    f->given = true;
    bool ok = true;
    if (kind >= ENCODE_COMMON) {
        return expect_no_block(b, d);
    }
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        ok = read_option(b, o, f) && ok;
    }
    return ok;
}
