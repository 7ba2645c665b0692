/* caddis completion, manpage, list-modules, build-info. What they know of commands and options they
 * read from the help texts, which the tables of options make. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/commands.h"
#include "proxy/handler/directives.h"

static struct {
    const char *directory;
    bool ignored;
} args;

static const struct arg manpage_table[] = {
    {"directory", 'o', ARG_TEXT, &args.directory, "where to write caddis.8", "FOLDER"},
};

void completion_help(void)
{
    printf("usage: caddis completion bash|zsh|fish|powershell\n\n"
           "Prints a script for the shell. bash: source <(caddis completion bash)\n");
}

void manpage_help(void)
{
    args_help(manpage_table, ARRAY_LEN(manpage_table));
}

/* ---- the options of a command ------------------------------------------------------------ */

/* What its help says, NUL-terminated; owned by the caller. */
static char *help_of(const struct command *c)
{
    char *text = NULL;
    size_t n = 0;
    FILE *real = stdout;
    FILE *memory = open_memstream(&text, &n);
    if (!memory) {
        return NULL;
    }
    stdout = memory;
    if (c->help) {
        c->help();
    }
    stdout = real;
    (void)fclose(memory);
    return text;
}

struct option {
    char letter; /* 0: none */
    struct slice name;
    struct slice help;
};

/* The next line of the form "  -c, --config FILE   what it is". */
static bool next_option(struct slice *rest, struct option *out)
{
    struct slice line;
    while (rest->n && slice_cut(rest, '\n', &line)) {
        struct slice s = slice_trim(line);
        *out = (struct option){.letter = 0};
        if (!slice_starts(line, S("  "))) {
            continue;
        }
        if (s.n > 4 && s.p[0] == '-' && s.p[2] == ',') {
            out->letter = s.p[1];
            s = slice_trim(slice_from(s, 3));
        }
        if (slice_starts(s, S("--"))) {
            size_t end = slice_find(s, ' ');
            out->name = slice_from(slice_upto(s, end), 2);
            size_t gap = slice_find_slice(s, S("  "));
            size_t words = gap == SLICE_NPOS ? slice_find(s, ' ') : gap;
            out->help = words == SLICE_NPOS ? S("") : slice_trim(slice_from(s, words));
            return true;
        }
    }
    return false;
}

/* ---- shells ------------------------------------------------------------------------------ */

static void each_option(const struct command *c,
                        void (*put)(const struct command *c, const struct option *o))
{
    char *help = help_of(c);
    struct slice rest = slice_str(help);
    struct option o;
    while (next_option(&rest, &o)) {
        put(c, &o);
    }
    free(help);
}

static void put_word(const struct command *c, const struct option *o)
{
    (void)c;
    printf(" --%.*s", SLICE_ARG(o->name));
}

static void put_names(const struct command *commands, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        printf("%s%s", i ? " " : "", commands[i].name);
    }
}

static void bash(const struct command *commands, size_t count)
{
    printf("_caddis() {\n    local cur=${COMP_WORDS[COMP_CWORD]} words=\n"
           "    if [ \"$COMP_CWORD\" = 1 ]; then\n        words='");
    put_names(commands, count);
    printf("'\n    elif [ \"${cur:0:1}\" = - ]; then\n        case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; i < count; i++) {
        printf("        %s) words='", commands[i].name);
        each_option(&commands[i], put_word);
        printf("' ;;\n");
    }
    printf("        esac\n    fi\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\n"
           "complete -o default -F _caddis caddis\n");
}

static void zsh(const struct command *commands, size_t count)
{
    printf("#compdef caddis\n_caddis() {\n    if (( CURRENT == 2 )); then\n"
           "        compadd -- ");
    put_names(commands, count);
    printf("\n    elif [[ $PREFIX == -* ]]; then\n        case $words[2] in\n");
    for (size_t i = 0; i < count; i++) {
        printf("        %s) compadd -- ", commands[i].name);
        each_option(&commands[i], put_word);
        printf(" ;;\n");
    }
    printf("        esac\n    else\n        _files\n    fi\n}\ncompdef _caddis caddis\n");
}

/* In single quotes. */
static void put_quoted(struct slice text)
{
    (void)putchar('\'');
    for (size_t i = 0; i < text.n; i++) {
        printf(text.p[i] == '\'' || text.p[i] == '\\' ? "\\%c" : "%c", text.p[i]);
    }
    (void)putchar('\'');
}

static void put_fish(const struct command *c, const struct option *o)
{
    printf("complete -c caddis -n '__fish_seen_subcommand_from %s' -l %.*s", c->name,
           SLICE_ARG(o->name));
    if (o->letter) {
        printf(" -s %c", o->letter);
    }
    printf(" -d ");
    put_quoted(o->help);
    (void)putchar('\n');
}

static void fish(const struct command *commands, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        printf("complete -c caddis -n __fish_use_subcommand -f -a %s -d ", commands[i].name);
        put_quoted(slice_str(commands[i].summary));
        (void)putchar('\n');
        each_option(&commands[i], put_fish);
    }
}

static void put_powershell(const struct command *c, const struct option *o)
{
    (void)c;
    printf("'--%.*s', ", SLICE_ARG(o->name));
}

/* The words behind "caddis", by what stands there already. */
static void powershell(const struct command *commands, size_t count)
{
    printf("Register-ArgumentCompleter -Native -CommandName caddis -ScriptBlock {\n"
           "    param($word, $line, $cursor)\n    $options = @{\n");
    for (size_t i = 0; i < count; i++) {
        printf("        '%s' = @(", commands[i].name);
        each_option(&commands[i], put_powershell);
        printf("$null)\n");
    }
    printf("    }\n    $before = @($line.CommandElements | Where-Object {"
           " $_.Extent.EndOffset -lt $cursor })\n"
           "    $words = if ($before.Count -le 1) { $options.Keys | Sort-Object }"
           " else { $options[$before[1].ToString()] }\n"
           "    $words | Where-Object { $_ -and $_.StartsWith($word) } | ForEach-Object {\n"
           "        [System.Management.Automation.CompletionResult]::new($_)\n    }\n}\n");
}

int completion_command(const struct command *self, int argc, char **argv)
{
    static const struct {
        struct slice name;
        void (*print)(const struct command *commands, size_t count);
    } shells[] = {{S_INIT("bash"), bash}, {S_INIT("zsh"), zsh}, {S_INIT("fish"), fish},
                {S_INIT("powershell"), powershell}};
    const char *shell = NULL;
    size_t count;
    const struct command *commands = command_list(&count);
    if (!args_parse(self->name, NULL, 0, argc, argv, &shell)) {
        return 1;
    }
    for (size_t i = 0; shell && i < ARRAY_LEN(shells); i++) {
        if (slice_eq(shells[i].name, slice_str(shell))) {
            shells[i].print(commands, count);
            return 0;
        }
    }
    (void)fprintf(stderr, "caddis completion: for which shell? bash, zsh, fish or powershell\n");
    return 1;
}

/* ---- the manual page --------------------------------------------------------------------- */

/* Text that troff leaves alone. */
static void put_roff(FILE *f, struct slice text)
{
    bool first = true;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (first && (c == '.' || c == '\'')) {
            (void)fputs("\\&", f);
        }
        (void)fputs(c == '\\' ? "\\e" : c == '-' ? "\\-" : "", f);
        if (c != '\\' && c != '-') {
            (void)fputc(c, f);
        }
        first = c == '\n';
    }
}

static void put_command(FILE *f, const struct command *c)
{
    char *help = help_of(c);
    (void)fprintf(f, ".SS caddis %s\n", c->name);
    put_roff(f, slice_str(c->summary));
    (void)fputs("\n", f);
    if (help && help[0]) {
        (void)fputs(".PP\n.nf\n", f);
        put_roff(f, slice_str(help));
        (void)fputs(".fi\n", f);
    }
    free(help);
}

int manpage_command(const struct command *self, int argc, char **argv)
{
    char path[4096];
    size_t count;
    const struct command *commands = command_list(&count);
    if (!args_parse(self->name, manpage_table, ARRAY_LEN(manpage_table), argc, argv, NULL)) {
        return 1;
    }
    if (!args.directory) {
        (void)fprintf(stderr, "caddis manpage: where to? --directory FOLDER\n");
        return 1;
    }
    (void)snprintf(path, sizeof(path), "%s/caddis.8", args.directory);
    FILE *f = fopen(path, "we");
    if (!f) {
        (void)fprintf(stderr, "caddis manpage: %s: %s\n", path, strerror(errno));
        return 1;
    }
    (void)fprintf(f, ".TH CADDIS 8 \"\" \"caddis %s\"\n.SH NAME\ncaddis \\- a reverse proxy that"
                     " gets its own certificates\n.SH SYNOPSIS\n.B caddis\n.I COMMAND\n"
                     "[OPTIONS]\n.SH COMMANDS\n", CADDIS_VERSION);
    for (size_t i = 0; i < count; i++) {
        put_command(f, &commands[i]);
    }
    (void)fputs(".SH FILES\n.TP\n.I Caddyfile\nthe configuration, in the working folder unless"
                " \\-\\-config names another\n", f);
    bool ok = ferror(f) == 0;
    ok = fclose(f) == 0 && ok;
    if (!ok) {
        (void)fprintf(stderr, "caddis manpage: %s: it cannot be written\n", path);
    }
    return ok ? 0 : 1;
}

/* ---- what is built in -------------------------------------------------------------------- */

static const struct arg modules_table[] = {
    {"packages", 0, ARG_FLAG, &args.ignored, "accepted: there are none", NULL},
    {"versions", 0, ARG_FLAG, &args.ignored, "accepted: all are of this version", NULL},
    {"skip-standard", 's', ARG_FLAG, &args.ignored, "accepted", NULL},
    {"json", 0, ARG_NOT_HERE, &args.ignored, "it prints names, one a line", NULL},
};

void list_modules_help(void)
{
    args_help(modules_table, ARRAY_LEN(modules_table));
}

int list_modules_command(const struct command *self, int argc, char **argv)
{
    size_t count;
    const struct directive *table = directive_table(&count);
    if (!args_parse(self->name, modules_table, ARRAY_LEN(modules_table), argc, argv, NULL)) {
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        printf("%.*s\n", SLICE_ARG(table[i].name));
    }
    printf("\n  %zu directives, all built in: caddis loads no modules\n", count);
    return 0;
}

int build_info_command(const struct command *self, int argc, char **argv)
{
    if (!args_parse(self->name, NULL, 0, argc, argv, NULL)) {
        return 1;
    }
    printf("caddis   %s\ncompiler %s\nC        %ld\n", CADDIS_VERSION, __VERSION__,
           (long)__STDC_VERSION__);
    return 0;
}
