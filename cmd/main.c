/* caddis: the command line's first word chooses what to do. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "proxy/caddyfile/caddyfile.h"

static int help_command(const struct command *self, int argc, char **argv);
static int version_command(const struct command *self, int argc, char **argv);

static const struct command commands[] = {
    {"run", "serve, in the foreground", run_command, run_help},
    {"start", "serve, in the background", start_command, start_help},
    {"stop", "end the caddis that runs here", stop_command, stop_help},
    {"reload", "make it take the Caddyfile as it is now, closing no connection", reload_command,
     reload_help},
    {"validate", "check a Caddyfile", validate_command, validate_help},
    {"adapt", "print a Caddyfile's effective configuration as JSON", adapt_command, adapt_help},
    {"explain", "say what runs in which order, and what a request would meet", explain_command,
     explain_help},
    {"fmt", "lay a Caddyfile out, as Caddy does", fmt_command, fmt_help},
    {"reverse-proxy", "pass everything on to an origin, without a Caddyfile",
     reverse_proxy_command, reverse_proxy_help},
    {"file-server", "serve a folder, without a Caddyfile", file_server_command, file_server_help},
    {"respond", "answer everything alike, without a Caddyfile", respond_command, respond_help},
    {"hash-password", "make a password's hash for basic_auth", hash_password_command,
     hash_password_help},
    {"certs", "say of every name who signed it, until when, and what comes next", certs_command,
     certs_help},
    {"renew", "get another certificate for a name now; --dry-run only tries", renew_command,
     renew_help},
    {"doctor", "say what stands in the way of certificates, before a CA is asked", doctor_command,
     doctor_help},
    {"revoke", "have the CA revoke a name's certificate", revoke_command, revoke_help},
    {"account", "give the account with the CA another key, or end it", account_command,
     account_help},
    {"trust", "make this system trust the local CA", trust_command, trust_help},
    {"untrust", "make it trust it no more", untrust_command, untrust_help},
    {"import", "print the Caddyfile that does what another server's configuration does",
     import_command, import_help},
    {"storage", "export, import or check what is stored", storage_command, storage_help},
    {"completion", "print a script that completes commands and options in a shell",
     completion_command, completion_help},
    {"manpage", "write the manual page", manpage_command, manpage_help},
    {"list-modules", "print the directives", list_modules_command, list_modules_help},
    {"build-info", "print what this was built with", build_info_command, NULL},
    {"environ", "print paths and environment", environ_command, environ_help},
    {"version", "print the version", version_command, NULL},
    {"help", "print this, or with a command's name its options", help_command, NULL},
};

static const struct command *find(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (slice_eq(slice_str(commands[i].name), name)) {
            return &commands[i];
        }
    }
    return NULL;
}

const struct command *command_list(size_t *count)
{
    *count = ARRAY_LEN(commands);
    return commands;
}

/* Caddy's, and why they are not here. */
static const struct {
    const char *name;
    const char *why;
} missing[] = {
    {"add-package", "there are no plug-ins to add: everything is built in"},
    {"remove-package", "there are no plug-ins to remove: everything is built in"},
    {"upgrade", "a program that replaces itself by a download is a way in; use your system's"
                " packages, or build a newer one and restart"},
};

static int unknown(const char *word)
{
    for (size_t i = 0; i < ARRAY_LEN(missing); i++) {
        if (slice_eq(slice_str(missing[i].name), slice_str(word))) {
            (void)fprintf(stderr, "caddis: the command \"%s\" is Caddy's and not in caddis: %s\n"
                          "Try: caddis help\n", word, missing[i].why);
            return 1;
        }
    }
    if (access(word, R_OK) == 0) {
        (void)fprintf(stderr, "caddis: \"%s\" is a file, not a command\n"
                      "Try: caddis run --config %s\n", word, word);
        return 1;
    }
    struct slice names[ARRAY_LEN(commands)];
    struct cf_diags diags;
    cf_diags_init(&diags);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        names[i] = slice_str(commands[i].name);
    }
    struct cf_diag *d = cf_error(&diags, NULL, "unknown command");
    if (d) {
        cf_did_you_mean(&diags, d, slice_str(word), names, ARRAY_LEN(names));
    }
    (void)fprintf(stderr, "caddis: unknown command \"%s\"", word);
    if (d && d->hint.n) {
        (void)fprintf(stderr, "; %.*s", SLICE_ARG(d->hint));
    }
    (void)fprintf(stderr, "\nTry: caddis help\n");
    cf_diags_fini(&diags);
    return 1;
}

static void overview(void)
{
    printf("caddis %s: a reverse proxy that gets its own certificates\n\n"
           "One line in a file named Caddyfile serves a site:\n\n"
           "    example.com { reverse_proxy localhost:8000 }\n\n"
           "Commands:\n", CADDIS_VERSION);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        printf("  caddis %-13s %s\n", commands[i].name, commands[i].summary);
    }
}

static int help_command(const struct command *self, int argc, char **argv)
{
    (void)self;
    if (argc == 0) {
        overview();
        return 0;
    }
    const struct command *c = find(slice_str(argv[0]));
    if (!c) {
        return unknown(argv[0]);
    }
    printf("caddis %s: %s\n", c->name, c->summary);
    if (c->help) {
        c->help();
    }
    return 0;
}

static int version_command(const struct command *self, int argc, char **argv)
{
    if (!args_parse(self->name, NULL, 0, argc, argv, NULL)) {
        return 1;
    }
    printf("caddis %s\n", CADDIS_VERSION);
    return 0;
}

/* Whoever started us may have closed some of the first three descriptors. What is opened next would
 * get their numbers, and log lines meant for stderr would go into a socket or a stored file. */
static bool fill_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    if (!fill_standard_descriptors()) {
        perror("caddis: opening /dev/null");
        return 1;
    }
    if (argc < 2) {
        overview();
        return 0;
    }
    struct slice word = slice_str(argv[1]);
    if (slice_eq(word, S("--help")) || slice_eq(word, S("-h"))) {
        overview();
        return 0;
    }
    if (slice_eq(word, S("--version")) || slice_eq(word, S("-v"))) {
        word = S("version");
    }
    const struct command *c = find(word);
    if (!c) {
        return unknown(argv[1]);
    }
    for (int i = 2; i < argc; i++) {
        struct slice option = slice_str(argv[i]);
        if (slice_eq(option, S("--help")) || slice_eq(option, S("-h"))) {
            char *name[] = {argv[1]};
            return help_command(c, 1, name);
        }
    }
    return c->run(c, argc - 2, argv + 2);
}
