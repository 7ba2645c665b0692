/* caddis doctor, and caddis validate --online: what stands in the way of a certificate, before a CA
 * is asked for one. In: a Caddyfile. Out: a line for each finding, and whether one is a problem. */
#include "cmd/doctor.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmd/at_ca.h"
#include "cmd/commands.h"
#include "cmd/control.h"

#define PUBLIC_PORT 80
#define ANSWER_MAX ((size_t)16 << 20)
#define RUNNING_TIMEOUT_MS 5000

static struct {
    const char *config;
    const char *address;
    const char *port;
    bool staging;
} args;

static const struct arg table[] = {
    {"staging", 0, ARG_FLAG, &args.staging,
     "make a whole order for every name at the CA's test directory, and keep nothing", NULL},
    {"port", 0, ARG_TEXT, &args.port,
     "the public port that leads to http_port, if a test CA asks at another than 80", "N"},
    {"config", 'c', ARG_TEXT, &args.config,
     "the Caddyfile (default: Caddyfile in this folder)", NULL},
    {"address", 0, ARG_TEXT, &args.address,
     "the control socket, if not the one the Caddyfile names", "PATH"},
};

static void found(void *ctx, enum acme_verdict verdict, struct slice about, const char *text)
{
    static const char *const words[] = {"ok", "advice", "problem"};
    size_t *problems = ctx;
    *problems += verdict == ACME_PROBLEM;
    printf("%s %.*s: %s\n", words[verdict], SLICE_ARG(about), text);
    (void)fflush(stdout); /* the next one may take a while */
}

static void look_at_port(size_t *problems, unsigned port)
{
    char text[256];
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    int error = bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 ? 0 : errno;
    (void)close(fd);
    if (error == EADDRINUSE) {
        (void)snprintf(text, sizeof(text), "port %u: another program has it: stop that one"
                       " (ss -ltnp shows it)", port);
    } else if (error) {
        (void)snprintf(text, sizeof(text), "port %u: this user may not have it (%s): run caddis as"
                       " its service, or as root with --user", port, strerror(error));
    } else {
        (void)snprintf(text, sizeof(text), "port %u: free", port);
    }
    found(problems, error == EADDRINUSE ? ACME_PROBLEM : error ? ACME_ADVICE : ACME_FINE,
          S("caddis"), text);
}

/* A caddis that answers at the control socket holds the ports itself. */
static bool look_for_running(const struct desk *d, size_t *problems, const char *config,
                             const char *address)
{
    struct arena a;
    struct dstr answer;
    struct err err;
    arena_init(&a, ARENA_NO_MAX);
    dstr_init(&answer, ANSWER_MAX);
    bool running = control_ask(control_path(&a, config, address), S("certs-json"),
                               RUNNING_TIMEOUT_MS, &answer, &err);
    dstr_fini(&answer);
    arena_fini(&a);
    if (running) {
        found(problems, ACME_FINE, S("caddis"), "running: it holds its ports");
        return true;
    }
    found(problems, ACME_ADVICE, S("caddis"), "running: no caddis answers for this Caddyfile, so"
          " the way from port 80 to here is not tried: look again when it runs");
    look_at_port(problems, d->config->options->http_port);
    look_at_port(problems, d->config->options->https_port);
    return false;
}

static void look_at_store(struct desk *d, size_t *problems)
{
    struct err err;
    char text[sizeof(err.text) + 128];
    bool ok = store_check_writable(d->hand.store, &err);
    (void)snprintf(text, sizeof(text), ok ? "store: %s can be written"
                                          : "store: %s: make it writable, or free space there;"
                                            " nothing is ordered that cannot be saved",
                   ok ? store_path(d->hand.store) : err.text);
    found(problems, ok ? ACME_FINE : ACME_PROBLEM, S("caddis"), text);
}

static bool is_public(const struct acme_name *n)
{
    for (size_t i = 0; i < n->issuer_count; i++) {
        if (n->issuers[i].kind == ACME_ISSUER_ACME) {
            return true;
        }
    }
    return false;
}

static void look_at_names(const struct desk *d, const struct acme_doctor *doctor)
{
    bool any = false;
    for (size_t i = 0; i < d->plan.acme.name_count && !any; i++) {
        any = is_public(&d->plan.acme.names[i]);
    }
    if (!any) {
        found(doctor->ctx, ACME_FINE, S("caddis"), "names: none is known whose certificate a public"
              " CA signs");
    }
    acme_examine(doctor, d->plan.acme.names, d->plan.acme.name_count);
}

static void rehearse(struct desk *d, size_t *problems)
{
    for (size_t i = 0; i < d->plan.acme.name_count; i++) {
        const struct acme_name *n = &d->plan.acme.names[i];
        struct err err = {.text = ""};
        if (is_public(n)) {
            bool ok = acme_dry_run(&d->hand, n, &err);
            (void)err_prefix(&err, "staging: ");
            found(problems, ok ? ACME_FINE : ACME_PROBLEM, n->name,
                  ok ? "staging: a certificate was made at the test CA and thrown away"
                     : err.text);
        }
    }
}

bool doctor_look(const char *command, const char *config, const char *address, unsigned port,
                 bool staging)
{
    struct desk d;
    struct err err = {.text = ""};
    size_t problems = 0;
    bool ok = desk_enter(&d, command, config, &err);
    if (ok) {
        struct acme_doctor doctor = {.store = d.hand.store,
                                     .challenges = d.hand.challenges,
                                     .resolvers = d.config->options->tls_resolvers,
                                     .port = port ? port : PUBLIC_PORT,
                                     .found = found,
                                     .ctx = &problems};
        look_at_store(&d, &problems);
        doctor.running = look_for_running(&d, &problems, config, address);
        look_at_names(&d, &doctor);
        if (staging) {
            rehearse(&d, &problems);
        }
    } else {
        (void)fprintf(stderr, "caddis %s: %s\n", command, err.text);
    }
    desk_leave(&d);
    return ok && problems == 0;
}

int doctor_command(const struct command *self, int argc, char **argv)
{
    if (!args_parse(self->name, table, ARRAY_LEN(table), argc, argv, NULL)) {
        return 1;
    }
    uint64_t port = 0;
    if (args.port && (!slice_u64(slice_str(args.port), UINT16_MAX, &port) || port == 0)) {
        (void)fprintf(stderr, "caddis doctor: --port takes a number from 1 to 65535, not \"%s\"\n",
                      args.port);
        return 1;
    }
    return doctor_look(self->name, args.config, args.address, (unsigned)port, args.staging) ? 0 : 1;
}

void doctor_help(void)
{
    args_help(table, ARRAY_LEN(table));
}
