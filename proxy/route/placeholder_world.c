/* Placeholders of the world around a request: environment, machine, clock, and whether caddis is
 * about to end. ({file./path} is read when the configuration is: see template.c.) */
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/route/placeholder.h"
#include "proxy/route/shutdown.h"

static atomic_int_least64_t shutdown_at_ms; /* 0: not planned */

void shutdown_announce(int64_t at_mono_ms)
{
    atomic_store(&shutdown_at_ms, at_mono_ms);
}

static struct slice env(struct exchange *ex, struct slice arg)
{
    char *name = arena_cstr(&ex->arena, arg);
    return name ? slice_str(getenv(name)) : S("");
}

static struct slice hostname(struct exchange *ex, struct slice arg)
{
    char buf[256];
    (void)arg;
    if (gethostname(buf, sizeof(buf) - 1) != 0) {
        return S("");
    }
    buf[sizeof(buf) - 1] = '\0';
    return arena_copy(&ex->arena, slice_str(buf));
}

static struct slice slash(struct exchange *ex, struct slice arg)
{
    (void)ex;
    (void)arg;
    return S("/");
}

static struct slice os(struct exchange *ex, struct slice arg)
{
    (void)ex;
    (void)arg;
    return S("linux");
}

static struct slice working_folder(struct exchange *ex, struct slice arg)
{
    char buf[4096];
    (void)arg;
    return arena_copy(&ex->arena, slice_str(getcwd(buf, sizeof(buf))));
}

/* Go's names for the common ones, as Caddy's. */
static struct slice arch(struct exchange *ex, struct slice arg)
{
    struct utsname u;
    (void)arg;
    if (uname(&u) != 0) {
        return S("");
    }
    struct slice machine = slice_str(u.machine);
    return slice_eq(machine, S("x86_64"))    ? S("amd64")
           : slice_eq(machine, S("aarch64")) ? S("arm64")
                                             : arena_copy(&ex->arena, machine);
}

static bool local_time(struct tm *tm)
{
    time_t t = (time_t)(clock_wall_ms() / 1000);
    return localtime_r(&t, tm) != NULL;
}

static struct slice now(struct exchange *ex, struct slice arg)
{
    char date[32];
    char zone[64];
    struct tm tm;
    (void)arg;
    if (!local_time(&tm) || !strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm) ||
        !strftime(zone, sizeof(zone), "%z %Z", &tm)) {
        return S("");
    }
    return arena_printf(&ex->arena, "%s.%03u %s", date, (unsigned)(clock_wall_ms() % 1000), zone);
}

static struct slice now_http(struct exchange *ex, struct slice arg)
{
    char date[CLOCK_HTTP_DATE_BYTES];
    (void)arg;
    clock_http_date(clock_wall_ms(), date);
    return arena_copy(&ex->arena, slice_str(date));
}

static struct slice now_common_log(struct exchange *ex, struct slice arg)
{
    char buf[64];
    struct tm tm;
    (void)arg;
    size_t n = local_time(&tm) ? strftime(buf, sizeof(buf), "%d/%b/%Y:%H:%M:%S %z", &tm) : 0;
    return arena_copy(&ex->arena, slice_of(buf, n));
}

static struct slice now_year(struct exchange *ex, struct slice arg)
{
    char buf[16];
    struct tm tm;
    (void)arg;
    size_t n = local_time(&tm) ? strftime(buf, sizeof(buf), "%Y", &tm) : 0;
    return arena_copy(&ex->arena, slice_of(buf, n));
}

static struct slice now_unix(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return arena_printf(&ex->arena, "%lld", (long long)(clock_wall_ms() / 1000));
}

static struct slice now_unix_ms(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return arena_printf(&ex->arena, "%lld", (long long)clock_wall_ms());
}

static struct slice shutting_down(struct exchange *ex, struct slice arg)
{
    (void)ex;
    (void)arg;
    return atomic_load(&shutdown_at_ms) ? S("true") : S("false");
}

static struct slice until_shutdown(struct exchange *ex, struct slice arg)
{
    int64_t at = atomic_load(&shutdown_at_ms);
    (void)arg;
    return at ? arena_printf(&ex->arena, "%.3fs", (double)(at - clock_mono_ms()) / 1e3) : S("");
}

static const struct placeholder rows[] = {
    {.name = "env.", .value = env},
    {.name = "system.hostname", .value = hostname},
    {.name = "system.slash", .value = slash},
    {.name = "system.os", .value = os},
    {.name = "system.arch", .value = arch},
    {.name = "system.wd", .value = working_folder},
    {.name = "time.now", .value = now},
    {.name = "time.now.http", .value = now_http},
    {.name = "time.now.common_log", .value = now_common_log},
    {.name = "time.now.year", .value = now_year},
    {.name = "time.now.unix", .value = now_unix},
    {.name = "time.now.unix_ms", .value = now_unix_ms},
    {.name = "http.shutting_down", .value = shutting_down},
    {.name = "http.time_until_shutdown", .value = until_shutdown},
};

const struct placeholder_table placeholders_of_world = {rows, ARRAY_LEN(rows)};
