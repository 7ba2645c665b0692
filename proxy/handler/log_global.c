/* See log_global.h. A site's log is reached by no logger of its own here: which global logs take
 * its lines is known when the Caddyfile has been read, so each of them becomes one more log of the
 * site, with the global one's sink, format and level. */
#include "proxy/handler/log_global.h"

#include "proxy/base/clock.h"
#include "proxy/base/mem.h"
#include "proxy/route/template.h"

#define EVENT_MAX_BYTES ((size_t)64 * 1024)

/* ---- include and exclude --------------------------------------------------------------------- */

/* The length of the longest of the names that the logger's begins with, dot by dot. */
static size_t longest(const struct slice *names, size_t count, struct slice logger)
{
    size_t best = 0;
    for (size_t i = 0; i < count; i++) {
        struct slice n = names[i];
        bool fits = slice_starts(logger, n) && (logger.n == n.n || logger.p[n.n] == '.');
        best = fits && n.n > best ? n.n : best;
    }
    return best;
}

bool log_accepts(const struct log_config *c, struct slice logger)
{
    size_t in = longest(c->include, c->include_count, logger);
    size_t ex = longest(c->exclude, c->exclude_count, logger);
    return in || !c->include_count ? !ex || in > ex : false;
}

/* ---- logs of sites --------------------------------------------------------------------------- */

static bool is_default(const struct log_config *c)
{
    return slice_eq(c->name, S("default"));
}

/* One of the same kind, for lines of this logger. */
static struct log_config *like(struct build *b, struct log_config *global, struct slice logger)
{
    struct log_config *c = log_config_new(b);
    c->logger = arena_copy(&c->arena, logger);
    c->name = c->logger;
    c->sink = global->sink ? log_sink_ref(global->sink) : NULL;
    c->format = global->format;
    c->level = global->level;
    c->sampling.interval_ms = global->sampling.interval_ms;
    c->sampling.first = global->sampling.first;
    c->sampling.thereafter = global->sampling.thereafter;
    atomic_fetch_add_explicit(&global->refs, 1, memory_order_relaxed);
    c->like = global; /* whose texts the format is made of */
    return c;
}

size_t log_globals_for(struct build *b, struct slice logger, bool own, struct log_config **out,
                       size_t max)
{
    size_t n = 0;
    for (const struct log_named *g = b->global_logs; g && n < max; g = g->next) {
        if (!(own && is_default(g->log)) && log_accepts(g->log, logger)) {
            out[n++] = like(b, g->log, logger);
        }
    }
    return n;
}

/* ---- events of our own ----------------------------------------------------------------------- */

static void make_line(const struct log_config *c, enum log_level level, const char *logger,
                      const char *msg, const struct log_field *fields, size_t count,
                      struct dstr *line)
{
    bool json = c->format.encoding != ENCODE_CONSOLE || c->format.rearranged;
    log_line(line, json ? LOG_JSON : LOG_CONSOLE, level, logger, msg, fields, count);
    if (!c->format.rearranged || line->failed) {
        return;
    }
    cJSON *tree = cJSON_ParseWithLength(line->p, line->n);
    for (const struct log_added *a = c->format.added; tree && a; a = a->next) {
        struct slice text = template_literal(a->value); /* others are about requests */
        char *key = mem_dup(a->key);
        char *value = text.p ? mem_dup(text) : NULL;
        if (value) {
            (void)cJSON_AddStringToObject(tree, key, value);
        }
        free(key);
        free(value);
    }
    dstr_reset(line);
    if (!tree || !log_format_print(&c->format, tree, clock_wall_ms(), 0, line)) {
        dstr_reset(line);
    }
    cJSON_Delete(tree);
}

void log_write_event(struct log_config *c, enum log_level level, const char *logger,
                     const char *msg, const struct log_field *fields, size_t count)
{
    if (!c->sink || level < c->level || !log_accepts(c, slice_str(logger)) ||
        !log_sampled(&c->sampling, clock_mono_us())) {
        return;
    }
    struct dstr line;
    dstr_init(&line, EVENT_MAX_BYTES);
    make_line(c, level, logger, msg, fields, count, &line);
    if (line.failed && line.p && line.n) {
        line.p[line.n - 1] = '\n';
    }
    if (line.n) {
        log_sink_write(c->sink, dstr_slice(&line));
    }
    dstr_fini(&line);
}
