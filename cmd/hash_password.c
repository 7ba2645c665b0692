/* caddis hash-password: a password's hash for basic_auth. The password comes from --plaintext, from
 * the terminal (asked for twice, not shown), or as the first line of standard input. */
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "proxy/handler/password.h"

static struct {
    const char *plaintext;
    const char *algorithm;
    unsigned bcrypt_cost;
    struct argon2_cost argon2;
} args = {.algorithm = "bcrypt", .bcrypt_cost = 14, .argon2 = {1, 47104, 1, 32}};

static const struct arg table[] = {
    {"plaintext", 'p', ARG_TEXT, &args.plaintext,
     "the password (others may see it in the list of processes)", "PASSWORD"},
    {"algorithm", 'a', ARG_TEXT, &args.algorithm, "bcrypt, which is the default, or argon2id",
     "NAME"},
    {"bcrypt-cost", 0, ARG_NUMBER, &args.bcrypt_cost, "4 to 17 (14)", NULL},
    {"argon2id-time", 0, ARG_NUMBER, &args.argon2.time, "rounds (1)", NULL},
    {"argon2id-memory", 0, ARG_NUMBER, &args.argon2.memory_kib, "in KiB (47104)", NULL},
    {"argon2id-threads", 0, ARG_NUMBER, &args.argon2.threads, "(1)", NULL},
    {"argon2id-keylen", 0, ARG_NUMBER, &args.argon2.key_bytes, "bytes of the hash (32)", NULL},
};

void hash_password_help(void)
{
    args_help(table, ARRAY_LEN(table));
}

/* One line, without its end. False: there is none, or it is too long. */
static bool read_line(char out[PASSWORD_BYTES_MAX + 2])
{
    if (!fgets(out, PASSWORD_BYTES_MAX + 2, stdin)) {
        return false;
    }
    size_t n = strcspn(out, "\r\n");
    if (n > PASSWORD_BYTES_MAX) {
        return false;
    }
    out[n] = '\0';
    return true;
}

static bool ask(const char *prompt, char out[PASSWORD_BYTES_MAX + 2])
{
    struct termios shown;
    struct termios hidden;
    if (tcgetattr(STDIN_FILENO, &shown) != 0) {
        return read_line(out);
    }
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    (void)fputs(prompt, stderr);
    bool ok = read_line(out);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    (void)fputs("\n", stderr);
    return ok;
}

static bool read_password(char out[PASSWORD_BYTES_MAX + 2], struct err *err)
{
    char again[PASSWORD_BYTES_MAX + 2];
    if (!ask("Password: ", out)) {
        return err_set(err, "no password was given, or one of more than %u bytes",
                       PASSWORD_BYTES_MAX);
    }
    if (!isatty(STDIN_FILENO)) {
        return true;
    }
    bool same = ask("Once more: ", again) && strcmp(out, again) == 0;
    explicit_bzero(again, sizeof(again));
    return same || err_set(err, "the two are not the same");
}

static bool check_costs(struct err *err)
{
    struct slice algorithm = slice_str(args.algorithm);
    const struct argon2_cost *a = &args.argon2;
    if (!slice_eq(algorithm, S("bcrypt")) && !slice_eq(algorithm, S("argon2id"))) {
        return err_set(err, "--algorithm is bcrypt or argon2id, not \"%s\"", args.algorithm);
    }
    if (args.bcrypt_cost < BCRYPT_COST_MIN || args.bcrypt_cost > BCRYPT_COST_MAX) {
        return err_set(err, "--bcrypt-cost is a number from %u to %u", BCRYPT_COST_MIN,
                       BCRYPT_COST_MAX);
    }
    if (a->time < 1 || a->time > 100 || a->memory_kib < 8 || a->memory_kib > 1024 * 1024 ||
        a->threads < 1 || a->threads > 64 || a->key_bytes < 4 || a->key_bytes > 64) {
        return err_set(err, "argon2id takes 1 to 100 rounds, 8 KiB to 1 GiB, 1 to 64 threads and"
                            " gives 4 to 64 bytes");
    }
    return true;
}

static bool make(struct slice password, char out[PASSWORD_HASH_BYTES], struct err *err)
{
    if (!password.n) {
        return err_set(err, "the password is empty");
    }
    return slice_eq(slice_str(args.algorithm), S("bcrypt"))
               ? password_bcrypt(password, args.bcrypt_cost, out, err)
               : password_argon2id(password, &args.argon2, out, err);
}

int hash_password_command(const struct command *self, int argc, char **argv)
{
    char typed[PASSWORD_BYTES_MAX + 2];
    char hash[PASSWORD_HASH_BYTES];
    struct err err;
    if (!args_parse(self->name, table, ARRAY_LEN(table), argc, argv, NULL)) {
        return 1;
    }
    bool ok = check_costs(&err) && (args.plaintext || read_password(typed, &err)) &&
              make(slice_str(args.plaintext ? args.plaintext : typed), hash, &err);
    explicit_bzero(typed, sizeof(typed));
    if (!ok) {
        (void)fprintf(stderr, "caddis hash-password: %s\n", err.text);
        return 1;
    }
    printf("%s\n", hash);
    return 0;
}
