/* log [<name>] {
 *     hostnames <host>...          (of the site's; default: all)
 *     no_hostname                  (only for requests that log_name gives it)
 *     output stderr|stdout|discard
 *     output file <path> { mode 0600; roll_disabled; roll_size 100MiB; roll_keep 10;
 *                          roll_keep_for 90d; roll_interval <duration>; roll_minutes <0-59>...;
 *                          roll_at <hh:mm>...; backup_time_format 2006-01-02T15-04-05.000;
 *                          roll_uncompressed; roll_local_time }
 *     output net <address> { dial_timeout 10s; soft_start }
 *     format ...                   (log_format.c)
 *     level  DEBUG|INFO|WARN|ERROR (a line is an error where the status is 5xx, else info)
 *     sampling { interval 1s; first 100; thereafter 100 }
 * }
 *
 * An access log of the site, one line a request; off unless this directive is there, and it may be
 * there several times. Default: stderr, console on a terminal and JSON elsewhere. A file is made
 * 0600 (folders that are missing: 0700), rolled, and opened again on reload and when it was
 * renamed. Another machine is never waited for. Authorization, Cookie and Set-Cookie values are not
 * written. A log without a name and with nothing about the log in its block goes where the global
 * option log says that everything goes, or to stderr. log_global.h has that option. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "proxy/handler/directives.h"
#include "proxy/handler/log_global.h"

#define ROLL_BYTES ((uint64_t)100 << 20)
#define ROLL_KEEP 10
#define ROLL_KEEP_MS ((int64_t)90 * 24 * 3600 * 1000)
#define DIAL_TIMEOUT_MS (10 * 1000)
#define SAMPLING_FIRST 100
#define SAMPLING_THEREAFTER 100

struct log_draft {
    struct build *b;
    struct log_config *config;
    struct site_log *use;
    const char *target;        /* NULL: discard */
    const struct cf_token *at; /* where the target is written, or the directive */
    bool is_net;
    struct log_file_options file;
    int64_t dial_timeout_ms;
    bool soft_start;
};

typedef bool log_option_fn(struct log_draft *draft, const struct cf_directive *o);

struct log_option {
    struct slice name;
    log_option_fn *read;
};

static bool read_options(struct log_draft *draft, const char *what,
                         const struct cf_directive *first, const struct log_option *table,
                         size_t count)
{
    struct slice names[24];
    bool ok = true;
    for (const struct cf_directive *o = first; o; o = o->next) {
        size_t i = 0;
        while (i < count && !slice_eq(table[i].name, o->name.text)) {
            names[i] = table[i].name;
            i++;
        }
        if (i < count) {
            ok = table[i].read(draft, o) && ok;
            continue;
        }
        struct cf_diag *d = cf_error(draft->b->diags, &o->name, "%s has no option \"%.*s\" in"
                                     " caddis", what, SLICE_ARG(o->name.text));
        cf_did_you_mean(draft->b->diags, d, o->name.text, names, count);
        ok = false;
    }
    return ok;
}

static bool read_duration(struct log_draft *draft, const struct cf_directive *o, int64_t *out)
{
    if (!expect_args(draft->b, o, o->arg_count, 1, 1)) {
        return false;
    }
    if (!cf_parse_duration(o->args[0].text, out)) {
        cf_error(draft->b->diags, &o->args[0], "\"%.*s\" is no duration such as 30s or 90d",
                 SLICE_ARG(o->args[0].text));
        return false;
    }
    return true;
}

static bool read_number(struct log_draft *draft, const struct cf_directive *o, unsigned *out)
{
    uint64_t v = 0;
    if (!expect_args(draft->b, o, o->arg_count, 1, 1)) {
        return false;
    }
    if (!slice_u64(o->args[0].text, 1000000000, &v)) {
        cf_error(draft->b->diags, &o->args[0], "\"%.*s\" is no number",
                 SLICE_ARG(o->args[0].text));
        return false;
    }
    *out = (unsigned)v;
    return true;
}

/* ---- output ---------------------------------------------------------------------------------- */

static bool file_mode(struct log_draft *draft, const struct cf_directive *o)
{
    unsigned mode = 0;
    if (!expect_args(draft->b, o, o->arg_count, 1, 1)) {
        return false;
    }
    struct slice text = o->args[0].text;
    bool ok = text.n >= 3 && text.n <= 4;
    for (size_t i = 0; i < text.n && ok; i++) {
        ok = text.p[i] >= '0' && text.p[i] <= '7';
        mode = mode * 8 + (unsigned)(text.p[i] - '0');
    }
    if (!ok || mode > 0777 || !(mode & 0200)) {
        cf_error(draft->b->diags, &o->args[0], "\"%.*s\" is no mode such as 0640 with which we can"
                 " write", SLICE_ARG(text));
        return false;
    }
    draft->file.mode = mode;
    return true;
}

static bool file_roll_size(struct log_draft *draft, const struct cf_directive *o)
{
    if (!expect_args(draft->b, o, o->arg_count, 1, 1)) {
        return false;
    }
    struct slice text = o->args[0].text;
    uint64_t plain;
    bool ok = cf_parse_size(text, &draft->file.roll_bytes) && draft->file.roll_bytes > 0;
    if (ok && slice_u64(text, 1000000, &plain)) {
        draft->file.roll_bytes = plain << 20; /* a bare number is of MiB, as in Caddy */
    }
    if (!ok) {
        cf_error(draft->b->diags, &o->args[0], "\"%.*s\" is no size such as 100MiB",
                 SLICE_ARG(text));
    }
    return ok;
}

static bool file_roll_disabled(struct log_draft *draft, const struct cf_directive *o)
{
    draft->file.roll_bytes = 0;
    return expect_args(draft->b, o, o->arg_count, 0, 0);
}

static bool file_roll_keep(struct log_draft *draft, const struct cf_directive *o)
{
    return read_number(draft, o, &draft->file.keep);
}

static bool file_roll_keep_for(struct log_draft *draft, const struct cf_directive *o)
{
    return read_duration(draft, o, &draft->file.keep_ms);
}

static bool file_roll_interval(struct log_draft *draft, const struct cf_directive *o)
{
    return read_duration(draft, o, &draft->file.roll_ms);
}

static bool file_roll_uncompressed(struct log_draft *draft, const struct cf_directive *o)
{
    draft->file.compress = false;
    return expect_args(draft->b, o, o->arg_count, 0, 0);
}

static bool file_roll_local_time(struct log_draft *draft, const struct cf_directive *o)
{
    draft->file.local_time = true;
    return expect_args(draft->b, o, o->arg_count, 0, 0);
}

/* roll_minutes 0 30 */
static bool file_roll_minutes(struct log_draft *draft, const struct cf_directive *o)
{
    bool ok = expect_args(draft->b, o, o->arg_count, 1, 60);
    for (size_t i = 0; i < o->arg_count && ok; i++) {
        uint64_t minute = 0;
        ok = slice_u64(o->args[i].text, 59, &minute);
        draft->file.times.minutes |= (uint64_t)1 << minute;
        if (!ok) {
            cf_error(draft->b->diags, &o->args[i], "\"%.*s\" is no minute from 0 to 59",
                     SLICE_ARG(o->args[i].text));
        }
    }
    return ok;
}

/* roll_at 00:00 12:00 */
static bool file_roll_at(struct log_draft *draft, const struct cf_directive *o)
{
    struct log_roll_times *t = &draft->file.times;
    bool ok = expect_args(draft->b, o, o->arg_count, 1, LOG_ROLL_AT_MAX - t->at_count);
    for (size_t i = 0; i < o->arg_count && ok; i++) {
        struct slice minute = o->args[i].text;
        struct slice hour;
        uint64_t h = 0;
        uint64_t m = 0;
        ok = slice_cut(&minute, ':', &hour) && slice_u64(hour, 23, &h) && minute.n == 2 &&
             slice_u64(minute, 59, &m);
        if (!ok) {
            cf_error(draft->b->diags, &o->args[i], "\"%.*s\" is no time of day such as 00:00",
                     SLICE_ARG(o->args[i].text));
        } else {
            t->at[t->at_count++] = (uint16_t)(h * 60 + m);
        }
    }
    return ok;
}

static bool file_backup_time_format(struct log_draft *draft, const struct cf_directive *o)
{
    if (!expect_args(draft->b, o, o->arg_count, 1, 1)) {
        return false;
    }
    struct slice layout = o->args[0].text;
    if (!log_stamp_valid(layout)) {
        struct cf_diag *d = cf_error(draft->b->diags, &o->args[0], "\"%.*s\" is no layout in which"
                                     " the names of rolled files sort by their time",
                                     SLICE_ARG(layout));
        if (d) {
            d->hint = S("from the year to the second: 2006-01-02T15-04-05 or 20060102150405");
        }
        return false;
    }
    memcpy(draft->file.stamp, layout.p, layout.n);
    draft->file.stamp[layout.n] = '\0';
    return true;
}

static const struct log_option file_options[] = {
    {S_INIT("mode"), file_mode},
    {S_INIT("roll_size"), file_roll_size},
    {S_INIT("roll_disabled"), file_roll_disabled},
    {S_INIT("roll_keep"), file_roll_keep},
    {S_INIT("roll_keep_for"), file_roll_keep_for},
    {S_INIT("roll_interval"), file_roll_interval},
    {S_INIT("roll_minutes"), file_roll_minutes},
    {S_INIT("roll_at"), file_roll_at},
    {S_INIT("backup_time_format"), file_backup_time_format},
    {S_INIT("roll_uncompressed"), file_roll_uncompressed},
    {S_INIT("roll_local_time"), file_roll_local_time},
};

static bool net_dial_timeout(struct log_draft *draft, const struct cf_directive *o)
{
    return read_duration(draft, o, &draft->dial_timeout_ms);
}

static bool net_soft_start(struct log_draft *draft, const struct cf_directive *o)
{
    draft->soft_start = true;
    return expect_args(draft->b, o, o->arg_count, 0, 0);
}

static const struct log_option net_options[] = {
    {S_INIT("dial_timeout"), net_dial_timeout},
    {S_INIT("soft_start"), net_soft_start},
};

/* Makes the folders above a file; what cannot be made shows when the file is opened. */
static void make_folders(struct slice path)
{
    char folder[4096];
    for (size_t i = 1; i < path.n && i < sizeof(folder); i++) {
        if (path.p[i] == '/') {
            memcpy(folder, path.p, i);
            folder[i] = '\0';
            (void)mkdir(folder, 0700);
        }
    }
}

static bool option_output(struct log_draft *draft, const struct cf_directive *o)
{
    static const struct slice kinds[] = {S_INIT("stderr"), S_INIT("stdout"), S_INIT("discard"),
                                         S_INIT("file"), S_INIT("net")};
    struct build *b = draft->b;
    size_t kind = 0;
    if (!expect_args(b, o, o->arg_count, 1, SIZE_MAX)) {
        return false;
    }
    while (kind < ARRAY_LEN(kinds) && !slice_eq(o->args[0].text, kinds[kind])) {
        kind++;
    }
    if (kind == ARRAY_LEN(kinds)) {
        struct cf_diag *d = cf_error(b->diags, &o->args[0], "unknown log output \"%.*s\" (stderr,"
                                     " stdout, discard, file PATH, net ADDRESS)",
                                     SLICE_ARG(o->args[0].text));
        cf_did_you_mean(b->diags, d, o->args[0].text, kinds, ARRAY_LEN(kinds));
        return false;
    }
    size_t want = kind >= 3 ? 2 : 1;
    if (!expect_args(b, o, o->arg_count, want, want)) {
        return false;
    }
    draft->at = &o->args[o->arg_count - 1];
    draft->is_net = kind == 4;
    draft->target = kind == 2 ? NULL : draft->at->text.p;
    if (kind == 3) {
        make_folders(draft->at->text);
        return read_options(draft, "output file", o->children, file_options,
                            ARRAY_LEN(file_options));
    }
    return kind == 4 ? read_options(draft, "output net", o->children, net_options,
                                    ARRAY_LEN(net_options))
                     : expect_no_block(b, o);
}

/* ---- the other options ----------------------------------------------------------------------- */

static bool option_format(struct log_draft *draft, const struct cf_directive *o)
{
    return log_format_read(draft->b, o, &draft->config->format);
}

static bool option_level(struct log_draft *draft, const struct cf_directive *o)
{
    static const struct slice names[] = {S_INIT("DEBUG"), S_INIT("INFO"), S_INIT("WARN"),
                                         S_INIT("ERROR")};
    if (!expect_args(draft->b, o, o->arg_count, 1, 1)) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_eq_case(o->args[0].text, names[i])) {
            draft->config->level = (enum log_level)i;
            return true;
        }
    }
    cf_error(draft->b->diags, &o->args[0], "the level is DEBUG, INFO, WARN or ERROR");
    return false;
}

static bool sampling_interval(struct log_draft *draft, const struct cf_directive *o)
{
    return read_duration(draft, o, &draft->config->sampling.interval_ms);
}

static bool sampling_first(struct log_draft *draft, const struct cf_directive *o)
{
    return read_number(draft, o, &draft->config->sampling.first);
}

static bool sampling_thereafter(struct log_draft *draft, const struct cf_directive *o)
{
    return read_number(draft, o, &draft->config->sampling.thereafter);
}

static bool option_sampling(struct log_draft *draft, const struct cf_directive *o)
{
    static const struct log_option options[] = {
        {S_INIT("interval"), sampling_interval},
        {S_INIT("first"), sampling_first},
        {S_INIT("thereafter"), sampling_thereafter},
    };
    struct log_sampling *s = &draft->config->sampling;
    s->interval_ms = 1000;
    s->first = SAMPLING_FIRST;
    s->thereafter = SAMPLING_THEREAFTER;
    return expect_args(draft->b, o, o->arg_count, 0, 0) &&
           read_options(draft, "sampling", o->children, options, ARRAY_LEN(options));
}

static bool option_hostnames(struct log_draft *draft, const struct cf_directive *o)
{
    struct site_log *use = draft->use;
    if (!expect_args(draft->b, o, o->arg_count, 1, 1000)) {
        return false;
    }
    use->hosts = ARENA_ARRAY(draft->b->arena, struct slice, o->arg_count);
    must(use->hosts);
    for (size_t i = 0; i < o->arg_count; i++) {
        use->hosts[i] = arena_lower(draft->b->arena, o->args[i].text);
    }
    use->host_count = o->arg_count;
    return true;
}

static bool option_no_hostname(struct log_draft *draft, const struct cf_directive *o)
{
    draft->use->no_hostname = true;
    return expect_args(draft->b, o, o->arg_count, 0, 0);
}

/* Names of loggers, "http.log.access.*" being the same as without its end. */
static bool read_loggers(struct log_draft *draft, const struct cf_directive *o,
                         const struct slice **names, size_t *count)
{
    struct arena *a = &draft->config->arena;
    struct slice *all = ARENA_ARRAY(a, struct slice, *count + o->arg_count + 1);
    must(all);
    for (size_t i = 0; i < *count; i++) {
        all[i] = (*names)[i];
    }
    for (size_t i = 0; i < o->arg_count; i++) {
        struct slice name = o->args[i].text;
        name = slice_upto(name, name.n - (slice_ends(name, S(".*")) ? 2 : 0));
        all[(*count)++] = arena_copy(a, name);
    }
    *names = all;
    return expect_args(draft->b, o, o->arg_count, 1, 1000);
}

static bool option_include(struct log_draft *draft, const struct cf_directive *o)
{
    return read_loggers(draft, o, &draft->config->include, &draft->config->include_count);
}

static bool option_exclude(struct log_draft *draft, const struct cf_directive *o)
{
    return read_loggers(draft, o, &draft->config->exclude, &draft->config->exclude_count);
}

static const struct log_option options[] = {
    {S_INIT("output"), option_output},       {S_INIT("format"), option_format},
    {S_INIT("level"), option_level},         {S_INIT("sampling"), option_sampling},
    {S_INIT("hostnames"), option_hostnames}, {S_INIT("no_hostname"), option_no_hostname},
};

/* ---- the whole ------------------------------------------------------------------------------- */

static void log_release(void *instance)
{
    log_config_unref(instance);
}

static const struct handler_ops log_ops = {.name = "log", .release = log_release};

static bool open_sink(struct log_draft *draft)
{
    struct err err;
    struct log_config *c = draft->config;
    if (!draft->target) {
        return true;
    }
    c->sink = draft->is_net ? log_sink_open_net(slice_str(draft->target),
                                                draft->soft_start ? 0 : draft->dial_timeout_ms,
                                                &err)
                            : log_sink_open_file(draft->target, &draft->file, &err);
    if (!c->sink) {
        struct cf_diag *d = cf_error(draft->b->diags, draft->at, "the log cannot be opened: %s",
                                     err.text);
        if (d && draft->is_net) {
            d->hint = S("with soft_start in its block it may come later");
        }
    }
    return c->sink != NULL;
}

static void format_by_default(struct log_config *c)
{
    if (!c->format.given) {
        c->format.encoding = isatty(STDERR_FILENO) ? ENCODE_CONSOLE : ENCODE_JSON;
    }
}

/* Does the block say anything of the log itself, and not only whose requests it is for? */
static bool says_something(const struct cf_directive *d)
{
    const struct cf_directive *o = d->children;
    while (o && (slice_eq(o->name.text, S("hostnames")) ||
                 slice_eq(o->name.text, S("no_hostname")))) {
        o = o->next;
    }
    return o != NULL;
}

static bool may_be_name(struct build *b, const struct cf_token *t)
{
    for (size_t i = 0; i < t->text.n; i++) {
        if ((unsigned char)t->text.p[i] <= ' ' || strchr("\"\\", t->text.p[i])) {
            cf_error(b->diags, t, "a log's name is one word without quotes");
            return false;
        }
    }
    return true;
}

/* The texts of the configuration's log are made in its own arena, because lines are written after
 * the configuration may be gone. */
static bool read_log(struct log_draft *draft, const struct cf_directive *d,
                     const struct cf_token *args, size_t count)
{
    struct build *b = draft->b;
    struct log_config *c = draft->config;
    struct arena *outer = b->arena;
    b->arena = &c->arena;
    bool ok = read_options(draft, "\"log\"", d->children, options, ARRAY_LEN(options)) &&
              (!count || may_be_name(b, &args[0]));
    c->name = count ? arena_copy(b->arena, args[0].text)
                    : arena_printf(b->arena, "log%u", b->log_count++);
    c->logger = arena_printf(b->arena, "http.log.access.%.*s", SLICE_ARG(c->name));
    b->arena = outer;
    format_by_default(c);
    return ok && open_sink(draft);
}

static bool global_format(struct log_draft *draft, const struct cf_directive *o)
{
    if (!option_format(draft, o)) {
        return false;
    }
    if (draft->config->format.encoding > ENCODE_JSON) {
        cf_error(draft->b->diags, &o->name, "a global log has lines of many kinds, so its format is"
                 " console or json; common and combined are for the logs of sites");
        return false;
    }
    return true;
}

/* Registered in b, so that it is released with the configuration. */
struct log_config *log_config_new(struct build *b)
{
    struct build_release *r = ARENA_NEW(b->arena, struct build_release);
    must(r);
    struct log_config *c = mem_zalloc(sizeof(*c));
    atomic_init(&c->refs, 1);
    arena_init(&c->arena, ARENA_NO_MAX);
    *r = (struct build_release){b->releases, &log_ops, c};
    b->releases = r;
    return c;
}

static struct log_draft draft_of(struct build *b, const struct cf_directive *d,
                                 struct log_config *c)
{
    return (struct log_draft){
        .b = b,
        .config = c,
        .target = "stderr",
        .at = &d->name,
        .file = {.roll_bytes = ROLL_BYTES,
                 .keep = ROLL_KEEP,
                 .keep_ms = ROLL_KEEP_MS,
                 .compress = true},
        .dial_timeout_ms = DIAL_TIMEOUT_MS,
    };
}

static void read_global(struct build *b, const struct cf_directive *d, enum log_level level)
{
    static const struct log_option global_options[] = {
        {S_INIT("output"), option_output},   {S_INIT("format"), global_format},
        {S_INIT("level"), option_level},     {S_INIT("sampling"), option_sampling},
        {S_INIT("include"), option_include}, {S_INIT("exclude"), option_exclude},
    };
    struct log_config *c = log_config_new(b);
    struct log_draft draft = draft_of(b, d, c);
    struct arena *outer = b->arena;
    c->level = level;
    b->arena = &c->arena;
    bool ok = read_options(&draft, "the global option log", d->children, global_options,
                           ARRAY_LEN(global_options));
    c->name = d->arg_count ? arena_copy(b->arena, d->args[0].text) : S("default");
    b->arena = outer;
    format_by_default(c);
    if (ok && open_sink(&draft)) {
        struct log_named *named = ARENA_NEW(b->arena, struct log_named);
        must(named);
        bool first = slice_eq(c->name, S("default")) || !b->global_logs;
        struct log_named **at = first ? &b->global_logs : &b->global_logs->next;
        *named = (struct log_named){*at, c};
        *at = named;
    }
}

void log_read_globals(struct build *b, const struct cf_directive *const *all, size_t count,
                      enum log_level level)
{
    for (size_t i = 0; i < count; i++) {
        read_global(b, all[i], level);
    }
}

static void add_log(struct build *b, const struct site_log *like, struct log_config *c)
{
    struct site_log *use = ARENA_NEW(b->arena, struct site_log);
    must(use);
    *use = *like;
    use->log = c;
    use->next = NULL;
    struct site_log **tail = &b->site->logs;
    while (*tail) {
        tail = &(*tail)->next;
    }
    *tail = use;
}

static bool has_default(const struct build *b)
{
    return b->global_logs && slice_eq(b->global_logs->log->name, S("default"));
}

/* A site's log that says nothing: as in Caddy its lines go where all else goes. */
static bool log_by_default(struct log_draft *draft, const struct cf_directive *d)
{
    struct log_config *c = draft->config;
    c->name = c->logger = S("http.log.access");
    format_by_default(c);
    if (!read_options(draft, "\"log\"", d->children, options, ARRAY_LEN(options)) ||
        (!has_default(draft->b) && !open_sink(draft))) {
        return false;
    }
    if (!has_default(draft->b)) {
        add_log(draft->b, draft->use, c);
    }
    return true;
}

bool log_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
               size_t count, struct handler *out)
{
    (void)out;
    struct site_log use = {.no_hostname = false};
    struct log_config *more[GLOBAL_LOGS_MAX];
    bool own = count > 0 || says_something(d);
    if (!expect_args(b, d, count, 0, 1)) {
        return false;
    }
    struct log_config *c = log_config_new(b);
    struct log_draft draft = draft_of(b, d, c);
    c->level = LOG_DEBUG;
    draft.use = &use;
    if (own ? !read_log(&draft, d, args, count) : !log_by_default(&draft, d)) {
        return false;
    }
    if (own) {
        struct log_named *named = ARENA_NEW(b->arena, struct log_named);
        must(named);
        *named = (struct log_named){b->logs, c};
        b->logs = named;
        add_log(b, &use, c);
    }
    size_t n = log_globals_for(b, c->logger, own, more, GLOBAL_LOGS_MAX);
    for (size_t i = 0; i < n; i++) {
        add_log(b, &use, more[i]);
    }
    return true;
}
