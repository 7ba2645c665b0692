/* caddis run and caddis start. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "cmd/load.h"
#include "cmd/parent.h"
#include "cmd/quick.h"
#include "proxy/base/log.h"

#define WORKERS_MAX 1024u

struct run_args {
    const char *config;
    const char *adapter;
    const char *pidfile;
    const char *user;
    struct arg_texts envfiles;
    unsigned workers;
    bool environ;
    bool single;
    bool watch;
    bool not_here;
};

static struct run_args args;

static const struct arg table[] = {
    {"config", 'c', ARG_TEXT, &args.config,
     "the Caddyfile (default: Caddyfile in this folder; - is stdin)", NULL},
    {"adapter", 'a', ARG_TEXT, &args.adapter, "caddyfile, which is the default", "NAME"},
    {"envfile", 0, ARG_TEXTS, &args.envfiles,
     "a file of NAME=value lines to put in the environment", NULL},
    {"environ", 'e', ARG_FLAG, &args.environ, "print the environment first", NULL},
    {"pidfile", 0, ARG_TEXT, &args.pidfile, "write the process's number into this file", NULL},
    {"user", 0, ARG_TEXT, &args.user,
     "serve as this user; root is kept only to bind ports", "NAME"},
    {"workers", 0, ARG_NUMBER, &args.workers, "threads (default: one for each core)", NULL},
    {"single", 0, ARG_FLAG, &args.single, "one process, without the parent (for debuggers)", NULL},
    {"watch", 'w', ARG_FLAG, &args.watch, "reload when the Caddyfile, or what it imports, changes",
     NULL},
    {"resume", 'r', ARG_NOT_HERE, &args.not_here,
     "the Caddyfile is the configuration, and there is no other to resume", NULL},
    {"pingback", 0, ARG_NOT_HERE, &args.not_here,
     "caddis start waits until it serves, or has failed, by itself", NULL},
};

static bool parse(const char *command, int argc, char **argv)
{
    if (!args_parse(command, table, ARRAY_LEN(table), argc, argv, NULL) ||
        !adapter_allowed(command, args.adapter)) {
        return false;
    }
    if (args.workers > WORKERS_MAX) {
        (void)fprintf(stderr, "caddis %s: --workers takes a number from 1 to %u\n", command,
                      WORKERS_MAX);
        return false;
    }
    args.config = config_or_default(command, args.config);
    return args.config != NULL && envfiles_load(command, &args.envfiles);
}

static int serve(int ready_fd)
{
    struct parent_setup setup = {
        .serve = {.config_path = args.config,
                  .workers = args.workers,
                  .watch = args.watch,
                  .link = -1},
        .user = args.user,
        .pidfile = args.pidfile,
        .ready_fd = ready_fd,
        .single = args.single,
    };
    log_set_format(isatty(STDERR_FILENO) ? LOG_CONSOLE : LOG_JSON);
    return parent_main(&setup);
}

int run_command(const struct command *self, int argc, char **argv)
{
    if (!parse(self->name, argc, argv)) {
        return 1;
    }
    if (args.environ) {
        print_environment();
    }
    return serve(-1);
}

int quick_serve(struct slice text)
{
    load_give(text);
    args.config = LOAD_GIVEN;
    return serve(-1);
}

/* The child of `start`: away from the terminal, its messages still where they were. */
static int serve_in_background(int ready_fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    (void)setsid();
    if (null >= 0) {
        (void)dup2(null, STDIN_FILENO);
        (void)dup2(null, STDOUT_FILENO);
    }
    return serve(ready_fd);
}

int start_command(const struct command *self, int argc, char **argv)
{
    int ready[2];
    if (!parse(self->name, argc, argv)) {
        return 1;
    }
    if (pipe2(ready, O_CLOEXEC) != 0) {
        perror("caddis start: pipe");
        return 1;
    }
    pid_t child = fork();
    if (child == 0) {
        close(ready[0]);
        exit(serve_in_background(ready[1]));
    }
    close(ready[1]);
    char byte;
    ssize_t n;
    do {
        n = read(ready[0], &byte, 1);
    } while (n < 0 && errno == EINTR);
    if (child < 0 || n != 1) {
        (void)fprintf(stderr, "caddis start: it did not start; see the messages above\n");
        return 1;
    }
    printf("caddis is running in the background (process %d); caddis stop ends it\n", (int)child);
    return 0;
}

void run_help(void)
{
    args_help(table, ARRAY_LEN(table));
}

void start_help(void)
{
    args_help(table, ARRAY_LEN(table));
}
