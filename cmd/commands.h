/* The subcommands. Each parses its own words (those behind its name) and returns the exit status:
 * 0 done, 1 refused or failed, 2 forced to end. */
#ifndef CMD_COMMANDS_H
#define CMD_COMMANDS_H

#include "cmd/args.h"
#include "proxy/base/arena.h"
#include "proxy/base/dstr.h"
#include "store/kinds.h"

struct command {
    const char *name;
    const char *summary;
    int (*run)(const struct command *self, int argc, char **argv);
    void (*help)(void);
};

int run_command(const struct command *self, int argc, char **argv);
int start_command(const struct command *self, int argc, char **argv);
int stop_command(const struct command *self, int argc, char **argv);
int reload_command(const struct command *self, int argc, char **argv);
int validate_command(const struct command *self, int argc, char **argv);
int adapt_command(const struct command *self, int argc, char **argv);
int explain_command(const struct command *self, int argc, char **argv);
int reverse_proxy_command(const struct command *self, int argc, char **argv);
int file_server_command(const struct command *self, int argc, char **argv);
int respond_command(const struct command *self, int argc, char **argv);
int completion_command(const struct command *self, int argc, char **argv);
int manpage_command(const struct command *self, int argc, char **argv);
int list_modules_command(const struct command *self, int argc, char **argv);
int build_info_command(const struct command *self, int argc, char **argv);
int fmt_command(const struct command *self, int argc, char **argv);
int hash_password_command(const struct command *self, int argc, char **argv);
int environ_command(const struct command *self, int argc, char **argv);
int certs_command(const struct command *self, int argc, char **argv);
int renew_command(const struct command *self, int argc, char **argv);
int doctor_command(const struct command *self, int argc, char **argv);
int revoke_command(const struct command *self, int argc, char **argv);
int account_command(const struct command *self, int argc, char **argv);
int trust_command(const struct command *self, int argc, char **argv);
int storage_command(const struct command *self, int argc, char **argv);
int untrust_command(const struct command *self, int argc, char **argv);
int import_command(const struct command *self, int argc, char **argv);

void run_help(void);
void start_help(void);
void stop_help(void);
void reload_help(void);
void validate_help(void);
void environ_help(void);
void adapt_help(void);
void explain_help(void);
void reverse_proxy_help(void);
void file_server_help(void);
void respond_help(void);
void completion_help(void);
void manpage_help(void);
void list_modules_help(void);
void fmt_help(void);
void hash_password_help(void);
void certs_help(void);
void renew_help(void);
void doctor_help(void);
void revoke_help(void);
void account_help(void);
void trust_help(void);
void storage_help(void);
void untrust_help(void);
void import_help(void);

/* All of them (main.c). */
const struct command *command_list(size_t *count);
/* "caddyfile" (or nothing) is the only adapter. False after a message. */
NODISCARD bool adapter_allowed(const char *command, const char *adapter);
/* The file, or the Caddyfile in the working folder when config is NULL; NULL after a message when
 * neither is there. */
const char *config_or_default(const char *command, const char *config);
/* Reads every --envfile into the environment. False after a message. */
NODISCARD bool envfiles_load(const char *command, const struct arg_texts *files);
/* Where a configuration keeps things: what it says, else the defaults. In a's memory. */
struct places {
    const struct store_settings *store;
    const char *control;
    bool store_is_named; /* by the configuration */
};
/* config NULL: the Caddyfile in the working folder, if there is one. What is wrong with it goes to
 * mistakes; NULL: it does not matter. */
void places_of(struct arena *a, const char *config, struct places *out, struct dstr *mistakes);
/* The control socket of a caddis that runs this configuration, unless an address is given. In a. */
const char *control_path(struct arena *a, const char *config, const char *address);
/* Prints paths, version and environment as `caddy environ` does. */
void print_environment(void);

#endif
