/* caddis certs, and caddis renew NAME: what the running caddis says of its certificates, and making
 * it get another one now. With --dry-run the whole order is made here, at the CA's test directory,
 * while the caddis that serves the same storage answers the challenge. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <time.h>

#include "cmd/at_ca.h"
#include "cmd/commands.h"
#include "cmd/control.h"
#include "proxy/base/clock.h"

#define ANSWER_MAX ((size_t)16 << 20)
#define ANSWER_TIMEOUT_MS (20 * 1000)
/* How long a renewal is waited for; it goes on by itself afterwards. */
#define RENEW_WAIT_MS (3 * 60 * 1000)
#define LOOK_MS 300

static struct {
    const char *config;
    const char *address;
    bool json;
    bool dry_run;
} args;

static const struct arg certs_table[] = {
    {"json", 0, ARG_FLAG, &args.json, "as JSON", NULL},
    {"config", 'c', ARG_TEXT, &args.config,
     "the Caddyfile (default: Caddyfile in this folder)", NULL},
    {"address", 0, ARG_TEXT, &args.address,
     "the control socket, if not the one the Caddyfile names", "PATH"},
};

static const struct arg renew_table[] = {
    {"dry-run", 0, ARG_FLAG, &args.dry_run,
     "make a whole order at the CA's test directory and keep nothing", NULL},
    {"config", 'c', ARG_TEXT, &args.config,
     "the Caddyfile (default: Caddyfile in this folder)", NULL},
    {"address", 0, ARG_TEXT, &args.address,
     "the control socket, if not the one the Caddyfile names", "PATH"},
};

static bool ask(struct slice line, struct dstr *answer, struct err *err)
{
    struct arena a;
    arena_init(&a, ARENA_NO_MAX);
    bool ok = control_ask(control_path(&a, args.config, args.address), line, ANSWER_TIMEOUT_MS,
                          answer, err);
    arena_fini(&a);
    return ok;
}

int certs_command(const struct command *self, int argc, char **argv)
{
    struct dstr answer;
    struct err err;
    if (!args_parse(self->name, certs_table, ARRAY_LEN(certs_table), argc, argv, NULL)) {
        return 1;
    }
    dstr_init(&answer, ANSWER_MAX);
    bool ok = ask(args.json ? S("certs-json") : S("certs"), &answer, &err);
    (void)fwrite(answer.p ? answer.p : "", 1, answer.n, ok ? stdout : stderr);
    if (!ok) {
        (void)fprintf(stderr, "caddis certs: %s\n", err.text);
    }
    dstr_fini(&answer);
    return ok ? 0 : 1;
}

/* What certs-json says of one name. */
struct state {
    bool busy;
    char not_before[32], not_after[32], issuer[512], next_at[32], error[2048];
};

static void keep(const cJSON *obj, const char *key, char *out, size_t cap)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(obj, key);
    (void)snprintf(out, cap, "%s", cJSON_IsString(v) ? v->valuestring : "");
}

static bool look(struct slice name, struct state *out, struct err *err)
{
    struct dstr answer, line;
    dstr_init(&answer, ANSWER_MAX);
    dstr_init(&line, 1024);
    dstr_printf(&line, "certs-json %.*s", SLICE_ARG(name));
    bool ok = ask(dstr_slice(&line), &answer, err);
    if (ok) {
        cJSON *list = cJSON_ParseWithLength(answer.p, answer.n);
        const cJSON *obj = cJSON_GetArrayItem(list, 0);
        ok = cJSON_IsObject(obj) || err_set(err, "%.*s is not looked after any more",
                                            SLICE_ARG(name));
        out->busy = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(obj, "busy"));
        keep(obj, "not_before", out->not_before, sizeof(out->not_before));
        keep(obj, "not_after", out->not_after, sizeof(out->not_after));
        keep(obj, "issuer", out->issuer, sizeof(out->issuer));
        keep(obj, "next_at", out->next_at, sizeof(out->next_at));
        keep(obj, "last_error", out->error, sizeof(out->error));
        cJSON_Delete(list);
    }
    dstr_fini(&line);
    dstr_fini(&answer);
    return ok;
}

/* Waits until the name rests with nothing due for it. */
static bool settle(struct slice name, struct state *out, struct err *err)
{
    int64_t end = clock_mono_ms() + RENEW_WAIT_MS;
    for (;;) {
        int64_t next = 0;
        struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
        (void)nanosleep(&pause, NULL);
        if (!look(name, out, err)) {
            return false;
        }
        bool planned = clock_parse_rfc3339(slice_str(out->next_at), &next) &&
                       next > clock_wall_ms() + 1000;
        if (!out->busy && planned) {
            return true;
        }
        if (clock_mono_ms() > end) {
            return err_set(err, "no certificate has come so far; caddis goes on trying (see caddis"
                           " certs)%s%s", out->error[0] ? ": " : "", out->error);
        }
    }
}

static bool renew(struct slice name, struct err *err)
{
    struct dstr answer, line;
    struct state before = {.busy = false}, after = {.busy = false};
    dstr_init(&answer, ANSWER_MAX);
    dstr_init(&line, 1024);
    dstr_printf(&line, "renew %.*s", SLICE_ARG(name));
    bool known = look(name, &before, err);
    bool ok = ask(dstr_slice(&line), &answer, err);
    (void)fwrite(answer.p ? answer.p : "", 1, answer.n, stderr);
    dstr_fini(&line);
    dstr_fini(&answer);
    if (!ok || !known || !settle(name, &after, err)) {
        return false;
    }
    if (after.error[0]) {
        return err_set(err, "%s\nThe next attempt is at %s.", after.error, after.next_at);
    }
    printf("%.*s has a %scertificate of %s until %s\n", SLICE_ARG(name),
           strcmp(before.not_before, after.not_before) == 0 ? "" : "new ", after.issuer,
           after.not_after);
    return true;
}

int renew_command(const struct command *self, int argc, char **argv)
{
    const char *name = NULL;
    struct err err;
    if (!args_parse(self->name, renew_table, ARRAY_LEN(renew_table), argc, argv, &name)) {
        return 1;
    }
    if (!name) {
        (void)fprintf(stderr, "caddis renew: which name? caddis renew example.com\n");
        return 1;
    }
    bool ok = args.dry_run ? at_ca_dry_run(self->name, args.config, slice_str(name), &err)
                           : renew(slice_str(name), &err);
    if (!ok) {
        (void)fprintf(stderr, "caddis renew: %s\n", err.text);
    }
    return ok ? 0 : 1;
}

void certs_help(void)
{
    args_help(certs_table, ARRAY_LEN(certs_table));
}

void renew_help(void)
{
    args_help(renew_table, ARRAY_LEN(renew_table));
}
