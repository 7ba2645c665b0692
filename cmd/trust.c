/* caddis trust and untrust: the local CA's root in the system's certificate store, and out of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "acme/acme.h"
#include "cmd/commands.h"
#include "cmd/control.h"
#include "cmd/paths.h"
#include "proxy/server/options.h"

#define ROOT_MAX_BYTES ((size_t)64 * 1024)
#define ASK_TIMEOUT_MS (20 * 1000)

static struct {
    const char *config;
    const char *adapter;
    const char *ca;
    bool not_here;
} args;

static const struct arg table[] = {
    {"config", 'c', ARG_TEXT, &args.config,
     "the Caddyfile that names the storage (default: Caddyfile here, if any)", NULL},
    {"adapter", 'a', ARG_TEXT, &args.adapter, "caddyfile, which is the default", "NAME"},
    {"ca", 0, ARG_TEXT, &args.ca, "local, the only one there is", "NAME"},
    {"address", 0, ARG_NOT_HERE, &args.not_here,
     "the root is read from the storage; name a Caddyfile with --config if it names one", NULL},
    {"cert", 'p', ARG_NOT_HERE, &args.not_here,
     "the roots it put there are found by themselves", NULL},
};

/* Where distributions keep added roots, and what makes them known. */
static const struct system_store {
    const char *folder;
    const char *file;
    const char *link; /* Debian's, which its own update leaves behind; or NULL */
    const char *update[4];
} systems[] = {
    {"/usr/local/share/ca-certificates", "/usr/local/share/ca-certificates/caddis-local-ca.crt",
     "/etc/ssl/certs/caddis-local-ca.pem", {"update-ca-certificates", NULL}},
    {"/etc/pki/ca-trust/source/anchors", "/etc/pki/ca-trust/source/anchors/caddis-local-ca.crt",
     NULL, {"update-ca-trust", "extract", NULL}},
    {"/etc/ca-certificates/trust-source/anchors",
     "/etc/ca-certificates/trust-source/anchors/caddis-local-ca.crt",
     NULL, {"trust", "extract-compat", NULL}},
};

static const struct system_store *find_system(void)
{
    for (size_t i = 0; i < ARRAY_LEN(systems); i++) {
        if (access(systems[i].folder, F_OK) == 0) {
            return &systems[i];
        }
    }
    (void)fprintf(stderr, "caddis: this system's certificate store was not found (on Debian: "
                          "apt-get install ca-certificates)\n");
    return NULL;
}

static bool run_update(const char *const *update)
{
    pid_t child = fork();
    if (child == 0) {
        char *argv[4] = {NULL};
        for (size_t i = 0; update[i]; i++) {
            argv[i] = strdup(update[i]);
        }
        execvp(argv[0], argv);
        _exit(127);
    }
    int status = -1;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        (void)fprintf(stderr, "caddis: %s failed; is it installed, and are you root?\n",
                      update[0]);
        return false;
    }
    return true;
}

/* The root of the caddis that runs here: with --user its store is not where ours would be, and
 * what we made there it could not read. Otherwise that of the store, made if there is none. */
static bool find_root(struct dstr *root)
{
    struct arena a;
    struct places places;
    struct err err;
    arena_init(&a, ARENA_NO_MAX);
    places_of(&a, args.config, &places, NULL);
    bool ok = !places.store_is_named &&
              control_ask(places.control, S("root"), ASK_TIMEOUT_MS, root, &err) &&
              slice_find_slice(dstr_slice(root), S("-----BEGIN CERTIFICATE-----")) != SLICE_NPOS;
    if (!ok) {
        dstr_reset(root);
        struct store *s = places.store->kind->open(places.store, &err);
        ok = s && acme_local_root(s, root, &err);
        store_close(s);
    }
    if (!ok) {
        (void)fprintf(stderr, "caddis trust: %s\n", err.text);
    }
    arena_fini(&a);
    return ok;
}

static bool write_root(const char *file, struct slice pem)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    bool ok = fd >= 0 && write(fd, pem.p, pem.n) == (ssize_t)pem.n;
    ok = fd >= 0 && close(fd) == 0 && ok;
    if (!ok) {
        (void)fprintf(stderr, "caddis trust: %s cannot be written: %s%s\n", file, strerror(errno),
                      geteuid() == 0 ? "" : " (this needs root: sudo caddis trust)");
    }
    return ok;
}

static bool read_args(const char *command, int argc, char **argv)
{
    if (!args_parse(command, table, ARRAY_LEN(table), argc, argv, NULL) ||
        !adapter_allowed(command, args.adapter)) {
        return false;
    }
    if (args.ca && !slice_eq(slice_str(args.ca), S("local"))) {
        (void)fprintf(stderr, "caddis %s: the only local CA is local, not \"%s\"\n", command,
                      args.ca);
        return false;
    }
    return true;
}

int trust_command(const struct command *self, int argc, char **argv)
{
    struct dstr root;
    if (!read_args(self->name, argc, argv)) {
        return 1;
    }
    const struct system_store *system = find_system();
    if (!system) {
        return 1;
    }
    dstr_init(&root, ROOT_MAX_BYTES);
    bool ok = find_root(&root) && write_root(system->file, dstr_slice(&root)) &&
              run_update(system->update);
    if (ok) {
        printf("The root of the local CA is now trusted by this system (%s).\n"
               "Browsers with a store of their own (Firefox) need it imported there.\n"
               "caddis untrust takes it out again.\n", system->file);
    }
    dstr_fini(&root);
    return ok ? 0 : 1;
}

int untrust_command(const struct command *self, int argc, char **argv)
{
    if (!read_args(self->name, argc, argv)) {
        return 1;
    }
    const struct system_store *system = find_system();
    if (!system) {
        return 1;
    }
    if (unlink(system->file) != 0 && errno != ENOENT) {
        (void)fprintf(stderr, "caddis untrust: %s: %s\n", system->file, strerror(errno));
        return 1;
    }
    if (system->link) {
        (void)unlink(system->link);
    }
    if (!run_update(system->update)) {
        return 1;
    }
    printf("The root of the local CA is no longer trusted by this system.\n");
    return 0;
}

void trust_help(void)
{
    args_help(table, ARRAY_LEN(table));
}

void untrust_help(void)
{
    args_help(table, ARRAY_LEN(table));
}
