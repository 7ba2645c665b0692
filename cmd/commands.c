/* caddis stop, reload, validate, environ: the short ones. */
#include "cmd/commands.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/control.h"
#include "cmd/doctor.h"
#include "cmd/envfile.h"
#include "cmd/explain.h"
#include "cmd/load.h"
#include "cmd/look_origins.h"
#include "cmd/paths.h"
#include "cmd/text_file.h"
#include "proxy/server/storage.h"

#define TEXT_MAX ((size_t)1 << 20)
/* A reload may have to read a large configuration. */
#define ANSWER_TIMEOUT_MS (60 * 1000)

static struct {
    const char *config;
    const char *adapter;
    const char *address;
    bool force;
    bool online;
    struct arg_texts envfiles;
} args;

static const struct arg table[] = {
    {"config", 'c', ARG_TEXT, &args.config,
     "the Caddyfile (default: Caddyfile in this folder)", NULL},
    {"adapter", 'a', ARG_TEXT, &args.adapter, "caddyfile, which is the default", "NAME"},
    {"address", 0, ARG_TEXT, &args.address,
     "the control socket, if not the one the Caddyfile names", "PATH"},
    {"force", 'f', ARG_FLAG, &args.force, "accepted; a reload always reads everything again", NULL},
};

static const struct arg validate_table[] = {
    {"online", 0, ARG_FLAG, &args.online,
     "look at origins, names, ports, store and CAs too (all but the first as caddis doctor)", NULL},
    {"config", 'c', ARG_TEXT, &args.config,
     "the Caddyfile (default: Caddyfile in this folder; - is stdin)", NULL},
    {"adapter", 'a', ARG_TEXT, &args.adapter, "caddyfile, which is the default", "NAME"},
    {"envfile", 0, ARG_TEXTS, &args.envfiles,
     "a file of NAME=value lines to put in the environment", NULL},
};

bool adapter_allowed(const char *command, const char *adapter)
{
    if (!adapter || slice_eq(slice_str(adapter), S("caddyfile")) || adapter[0] == '\0') {
        return true;
    }
    (void)fprintf(stderr, "caddis %s: the only adapter is caddyfile, not \"%s\"\n", command,
                  adapter);
    return false;
}

const char *config_or_default(const char *command, const char *config)
{
    if (config) {
        return config;
    }
    if (access(PATHS_CADDYFILE, F_OK) == 0) {
        return PATHS_CADDYFILE;
    }
    (void)fprintf(stderr,
                  "caddis %s: there is no Caddyfile in this folder; name one with --config FILE.\n"
                  "One line is enough:  example.com { reverse_proxy localhost:8000 }\n",
                  command);
    return NULL;
}

bool envfiles_load(const char *command, const struct arg_texts *files)
{
    for (size_t i = 0; i < files->count; i++) {
        struct err err;
        if (!envfile_load(files->items[i], &err)) {
            (void)fprintf(stderr, "caddis %s: %s\n", command, err.text);
            return false;
        }
    }
    return true;
}

static void free_document(void *document)
{
    cf_free(document);
}

void places_of(struct arena *a, const char *config, struct places *out, struct dstr *mistakes)
{
    struct slice folder = slice_str(paths_store(a));
    struct slice admin = S("");
    struct cf_diags diags;
    cf_diags_init(&diags);
    *out = (struct places){.store = storage_of_folder(a, folder)};
    config = config ? config : PATHS_CADDYFILE;
    if (access(config, R_OK) == 0) {
        struct cf_options options = {0};
        struct cf_document *doc = cf_parse_file(config, &options, &diags);
        const struct options *o = options_read(a, doc->options, &diags);
        admin = arena_copy(a, o->admin_path);
        out->store_is_named = o->storage != NULL;
        out->store = o->storage ? o->storage : out->store;
        arena_on_fini(a, free_document, doc); /* the settings' texts are in it */
    }
    if (mistakes && diags.errors) {
        cf_diags_print(&diags, mistakes);
    }
    cf_diags_fini(&diags);
    out->control = admin.n ? admin.p : paths_control(a, paths_socket_folder(a, out->store));
}

const char *control_path(struct arena *a, const char *config, const char *address)
{
    if (address) {
        struct slice path = slice_str(address);
        return arena_cstr(a, slice_starts(path, S("unix/")) ? slice_from(path, 5) : path);
    }
    struct places places;
    places_of(a, config, &places, NULL);
    return places.control;
}

/* Sends a request to the running caddis and prints what it says. */
static int ask(const char *command, struct slice line)
{
    struct arena a;
    struct dstr answer;
    struct err err;
    arena_init(&a, ARENA_NO_MAX);
    dstr_init(&answer, TEXT_MAX);
    bool ok = control_ask(control_path(&a, args.config, args.address), line, ANSWER_TIMEOUT_MS,
                          &answer, &err);
    (void)fwrite(answer.p ? answer.p : "", 1, answer.n, stderr);
    if (!ok) {
        (void)fprintf(stderr, "caddis %s: %s\n", command, err.text);
    }
    dstr_fini(&answer);
    arena_fini(&a);
    return ok ? 0 : 1;
}

int stop_command(const struct command *self, int argc, char **argv)
{
    if (!args_parse(self->name, table, ARRAY_LEN(table), argc, argv, NULL)) {
        return 1;
    }
    return ask(self->name, S("stop"));
}

int reload_command(const struct command *self, int argc, char **argv)
{
    char full[PATH_MAX];
    if (!args_parse(self->name, table, ARRAY_LEN(table), argc, argv, NULL) ||
        !adapter_allowed(self->name, args.adapter)) {
        return 1;
    }
    args.config = config_or_default(self->name, args.config);
    if (!args.config) {
        return 1;
    }
    if (!realpath(args.config, full)) {
        (void)fprintf(stderr, "caddis reload: %s: %s\n", args.config, strerror(errno));
        return 1;
    }
    struct arena a;
    arena_init(&a, ARENA_NO_MAX);
    int status = ask(self->name, arena_printf(&a, "reload %s", full));
    if (status == 0) {
        (void)fprintf(stderr, "reloaded %s\n", full);
    }
    arena_fini(&a);
    return status;
}

/* A last line without its end is worth no note. */
static struct slice without_end(struct slice text)
{
    while (text.n && text.p[text.n - 1] == '\n') {
        text.n--;
    }
    return text;
}

/* Blocks on one line are ours and meant so: a file that has them is left alone. */
static void mention_format(const char *path)
{
    struct err err;
    struct cf_diags diags;
    struct dstr before, after;
    bool compact = false;
    dstr_init(&before, TEXT_MAX);
    dstr_init(&after, 2 * TEXT_MAX);
    cf_diags_init(&diags);
    if (text_file_read(path, &before, &err) &&
        cf_format(slice_str(path), dstr_slice(&before), &after, &compact, &diags) && !compact &&
        !after.failed &&
        !slice_eq(without_end(dstr_slice(&before)), without_end(dstr_slice(&after)))) {
        (void)fprintf(stderr, "note: %s is not laid out as usual: caddis fmt --overwrite %s\n",
                      path, path);
    }
    cf_diags_fini(&diags);
    dstr_fini(&before);
    dstr_fini(&after);
}

static void origin_found(void *ctx, bool problem, const struct cf_place *at, const char *text)
{
    bool *fine = ctx;
    struct dstr place;
    dstr_init(&place, 4096);
    explain_place(at, &place);
    printf("%s %.*s: %s\n", problem ? "problem" : "advice", SLICE_ARG(dstr_slice(&place)), text);
    (void)fflush(stdout);
    dstr_fini(&place);
    *fine = *fine && !problem;
}

static bool look_online(const char *command, const struct config *config)
{
    bool fine = true;
    unsigned count = look_at_origins(config->document, origin_found, &fine);
    printf("%s origins: %u looked at\n", fine ? "ok" : "problem", count);
    return doctor_look(command, &(struct doctor_request){.config = args.config}) && fine;
}

int validate_command(const struct command *self, int argc, char **argv)
{
    if (!args_parse(self->name, validate_table, ARRAY_LEN(validate_table), argc, argv, NULL) ||
        !adapter_allowed(self->name, args.adapter)) {
        return 1;
    }
    args.config = config_or_default(self->name, args.config);
    if (!args.config || !envfiles_load(self->name, &args.envfiles)) {
        return 1;
    }
    struct stat st; /* --online reads it again, which a pipe does not bear */
    if (args.online && (stat(args.config, &st) != 0 || !S_ISREG(st.st_mode))) {
        (void)fprintf(stderr, "caddis validate: --online needs a file, and %s is none\n",
                      args.config);
        return 1;
    }
    struct config *config = load_for_command(args.config);
    bool ok = config != NULL;
    if (ok) {
        printf("Valid configuration\n");
        mention_format(args.config);
    }
    ok = ok && (!args.online || look_online(self->name, config));
    config_unref(config);
    return ok ? 0 : 1;
}

void print_environment(void)
{
    struct arena a;
    char folder[PATH_MAX];
    arena_init(&a, ARENA_NO_MAX);
    printf("caddis.Version=%s\n", CADDIS_VERSION);
    printf("caddis.AppDataDir=%s\n", paths_store(&a));
    printf("caddis.ControlSocket=%s\n", paths_control(&a, paths_store(&a)));
    printf("caddis.WorkingDir=%s\n", getcwd(folder, sizeof(folder)) ? folder : "?");
    for (char **e = environ; *e; e++) {
        printf("%s\n", *e);
    }
    (void)fflush(stdout);
    arena_fini(&a);
}

static const struct arg environ_table[] = {
    {"envfile", 0, ARG_TEXTS, &args.envfiles,
     "a file of NAME=value lines to put in the environment", NULL},
};

int environ_command(const struct command *self, int argc, char **argv)
{
    if (!args_parse(self->name, environ_table, ARRAY_LEN(environ_table), argc, argv, NULL) ||
        !envfiles_load(self->name, &args.envfiles)) {
        return 1;
    }
    print_environment();
    return 0;
}

void stop_help(void)
{
    args_help(table, ARRAY_LEN(table) - 1);
}

void reload_help(void)
{
    args_help(table, ARRAY_LEN(table));
}

void environ_help(void)
{
    args_help(environ_table, ARRAY_LEN(environ_table));
}

void validate_help(void)
{
    args_help(validate_table, ARRAY_LEN(validate_table));
}
