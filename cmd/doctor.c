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
#include "cmd/explain.h"
#include "cmd/on_demand.h"

#define PUBLIC_PORT 80
#define ANSWER_MAX ((size_t)16 << 20)
#define RUNNING_TIMEOUT_MS 5000

static struct {
    const char *config;
    const char *address;
    const char *port;
    bool staging;
    bool json;
} args;

/* Where findings go: a line each, or objects of one JSON array. */
struct report {
    size_t problems;
    bool json;
    bool begun;
};

static const struct arg table[] = {
    {"json", 0, ARG_FLAG, &args.json, "the findings as JSON", NULL},
    {"staging", 0, ARG_FLAG, &args.staging,
     "make a whole order for every name at the CA's test directory, and keep nothing", NULL},
    {"port", 0, ARG_TEXT, &args.port,
     "the public port that leads to http_port, if a test CA asks at another than 80", "N"},
    {"config", 'c', ARG_TEXT, &args.config,
     "the Caddyfile (default: Caddyfile in this folder)", NULL},
    {"address", 0, ARG_TEXT, &args.address,
     "the control socket, if not the one the Caddyfile names", "PATH"},
};

/* A finding's text begins with what was looked at: "CAA: no record keeps a CA away". */
static void print_json(struct report *r, const char *verdict, struct slice about,
                       struct slice text)
{
    struct dstr out;
    struct slice check;
    dstr_init(&out, ANSWER_MAX);
    (void)slice_cut(&text, ':', &check);
    dstr_printf(&out, "%s\n{\"verdict\":\"%s\",\"about\":", r->begun ? "," : "[", verdict);
    dstr_json(&out, about);
    dstr_append(&out, S(",\"check\":"));
    dstr_json(&out, check);
    dstr_append(&out, S(",\"text\":"));
    dstr_json(&out, slice_trim(text));
    dstr_byte(&out, '}');
    r->begun = true;
    (void)fwrite(out.p ? out.p : "", 1, out.n, stdout);
    dstr_fini(&out);
}

static void found(void *ctx, enum acme_verdict verdict, struct slice about, const char *text)
{
    static const char *const words[] = {"ok", "advice", "problem"};
    struct report *r = ctx;
    r->problems += verdict == ACME_PROBLEM;
    if (r->json) {
        print_json(r, words[verdict], about, slice_str(text));
    } else {
        printf("%s %.*s: %s\n", words[verdict], SLICE_ARG(about), text);
    }
    (void)fflush(stdout); /* the next one may take a while */
}

/* Can it be listened on? Says which line asks for it, if one does. */
static void look_at_binding(struct report *report, const struct binding *b)
{
    char text[4096 + 256];
    struct dstr about;
    unsigned port = addr_port(&b->addr);
    int on = 1;
    int fd = socket(b->addr.u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    int error = bind(fd, &b->addr.u.sa, b->addr.len) == 0 ? 0 : errno;
    (void)close(fd);
    dstr_init(&about, 4096);
    if (b->at) {
        dstr_append(&about, S(", which "));
        explain_place(&b->at->at, &about);
        dstr_append(&about, S(" wants"));
    }
    dstr_append(&about, S(""));
    if (error == EADDRINUSE) {
        (void)snprintf(text, sizeof(text), "port %u: another program has it%s: stop that"
                       " one (ss -ltnp shows it)", port, about.p);
    } else if (error) {
        (void)snprintf(text, sizeof(text), "port %u: this user may not have it%s (%s): run caddis"
                       " as its service, or as root with --user", port, about.p, strerror(error));
    } else {
        (void)snprintf(text, sizeof(text), "port %u: free", port);
    }
    found(report, error == EADDRINUSE ? ACME_PROBLEM : error ? ACME_ADVICE : ACME_FINE,
          S("caddis"), text);
    dstr_fini(&about);
}

/* A caddis that answers at the control socket holds the ports itself. */
static bool look_for_running(const struct desk *d, struct report *report, const char *config,
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
        found(report, ACME_FINE, S("caddis"), "running: it holds its ports");
        return true;
    }
    found(report, ACME_ADVICE, S("caddis"), "running: no caddis answers for this Caddyfile, so"
          " the way from port 80 to here is not tried: look again when it runs");
    for (size_t i = 0; i < d->config->binding_count; i++) {
        const struct binding *b = &d->config->bindings[i];
        if (!b->optional && addr_port(&b->addr)) { /* "::" beside 0.0.0.0: said once */
            look_at_binding(report, b);
        }
    }
    return false;
}

static void look_at_store(struct desk *d, struct report *report)
{
    struct err err;
    char text[sizeof(err.text) + 128];
    bool ok = store_check_writable(d->hand.store, &err);
    (void)snprintf(text, sizeof(text), ok ? "store: %s can be written"
                                          : "store: %s: make it writable, or free space there;"
                                            " nothing is ordered that cannot be saved",
                   ok ? store_path(d->hand.store) : err.text);
    found(report, ok ? ACME_FINE : ACME_PROBLEM, S("caddis"), text);
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

/* Who permits a name on demand says so to a handshake only: so that one is asked now. */
static void look_at_permission(const struct desk *d, struct report *report, struct slice name)
{
    struct stop stop;
    struct err err = {.text = ""};
    stop_init(&stop);
    enum demand_answer answer = on_demand_permission(d->config, name, &stop, &err);
    stop_fini(&stop);
    char text[2048];
    (void)snprintf(text, sizeof(text), "permission: %s%s", err.text,
                   answer == DEMAND_YES  ? ""
                   : answer == DEMAND_NO ? ": it gets no certificate"
                                         : ": nobody gets one on demand until that answers");
    found(report, answer == DEMAND_YES ? ACME_FINE : ACME_PROBLEM, name, text);
}

/* The name that was asked for, or all that are listed. */
static bool choose_names(struct desk *d, struct report *report, const char *name,
                         const struct acme_name **names, size_t *count, struct err *err)
{
    bool listed = false;
    if (!name) {
        *names = d->plan.acme.names;
        *count = d->plan.acme.name_count;
        if (d->config->on_demand) {
            found(report, ACME_FINE, S("caddis"), "names: some come on demand: look at one with"
                  " caddis doctor NAME");
        }
        return true;
    }
    *names = desk_find(d, slice_str(name), err);
    *count = *names ? 1 : 0;
    if (*names && config_demand_site(d->config, (*names)->name, &listed)) {
        look_at_permission(d, report, (*names)->name);
    }
    return *names != NULL;
}

static void look_at_names(const struct acme_doctor *doctor, const struct acme_name *names,
                          size_t count)
{
    bool any = false;
    for (size_t i = 0; i < count && !any; i++) {
        any = is_public(&names[i]);
    }
    if (!any) {
        found(doctor->ctx, ACME_FINE, count == 1 ? names->name : S("caddis"),
              count == 1 ? "names: no public CA signs its certificate"
                         : "names: none is known whose certificate a public CA signs");
    }
    acme_examine(doctor, names, count);
}

static void rehearse(struct desk *d, struct report *report, const struct acme_name *names,
                     size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct err err = {.text = ""};
        if (is_public(&names[i])) {
            bool ok = acme_dry_run(&d->hand, &names[i], &err);
            (void)err_prefix(&err, "staging: ");
            found(report, ok ? ACME_FINE : ACME_PROBLEM, names[i].name,
                  ok ? "staging: a certificate was made at the test CA and thrown away"
                     : err.text);
        }
    }
}

bool doctor_look(const char *command, const struct doctor_request *q)
{
    struct desk d;
    struct err err = {.text = ""};
    struct report report = {.json = q->json};
    const struct acme_name *names = NULL;
    size_t count = 0;
    bool ok = desk_enter(&d, command, q->config, &err) &&
              choose_names(&d, &report, q->name, &names, &count, &err);
    if (ok) {
        struct acme_doctor doctor = {.store = d.hand.store,
                                     .challenges = d.hand.challenges,
                                     .resolvers = d.config->options->tls_resolvers,
                                     .port = q->port ? q->port : PUBLIC_PORT,
                                     .found = found,
                                     .ctx = &report};
        look_at_store(&d, &report);
        doctor.running = look_for_running(&d, &report, q->config, q->address);
        look_at_names(&doctor, names, count);
        if (q->staging) {
            rehearse(&d, &report, names, count);
        }
    } else {
        (void)fprintf(stderr, "caddis %s: %s\n", command, err.text);
    }
    if (q->json) {
        (void)fputs(report.begun ? "\n]\n" : "[]\n", stdout);
    }
    desk_leave(&d);
    return ok && report.problems == 0;
}

int doctor_command(const struct command *self, int argc, char **argv)
{
    const char *name = NULL;
    if (!args_parse(self->name, table, ARRAY_LEN(table), argc, argv, &name)) {
        return 1;
    }
    uint64_t port = 0;
    if (args.port && (!slice_u64(slice_str(args.port), UINT16_MAX, &port) || port == 0)) {
        (void)fprintf(stderr, "caddis doctor: --port takes a number from 1 to 65535, not \"%s\"\n",
                      args.port);
        return 1;
    }
    struct doctor_request q = {.config = args.config,
                               .address = args.address,
                               .name = name,
                               .port = (unsigned)port,
                               .staging = args.staging,
                               .json = args.json};
    return doctor_look(self->name, &q) ? 0 : 1;
}

void doctor_help(void)
{
    args_help(table, ARRAY_LEN(table));
}
