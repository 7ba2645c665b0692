/* Options by table; see args.h. In: argv and a table. Out: the variables the table names. */
#include "cmd/args.h"

#include <stdio.h>

#include "proxy/caddyfile/caddyfile.h"

static const struct arg *find(const struct arg *table, size_t count, struct slice name)
{
    for (size_t i = 0; i < count; i++) {
        bool is_letter = name.n == 1 && table[i].letter && name.p[0] == table[i].letter;
        if (is_letter || (name.n > 1 && slice_eq(name, slice_str(table[i].name)))) {
            return &table[i];
        }
    }
    return NULL;
}

static void unknown(const char *command, const struct arg *table, size_t count, const char *word)
{
    struct slice names[32];
    struct cf_diags diags;
    cf_diags_init(&diags);
    for (size_t i = 0; i < count && i < ARRAY_LEN(names); i++) {
        names[i] = slice_str(table[i].name);
    }
    (void)fprintf(stderr, "caddis %s: unknown option %s", command, word);
    struct cf_diag *d = cf_error(&diags, NULL, "unknown");
    struct slice bare = slice_str(word);
    while (bare.n && bare.p[0] == '-') {
        bare = slice_from(bare, 1);
    }
    if (d) {
        cf_did_you_mean(&diags, d, bare, names, count);
    }
    if (d && d->hint.n) {
        (void)fprintf(stderr, "; %.*s", SLICE_ARG(d->hint));
    }
    (void)fprintf(stderr, "\nTry: caddis help %s\n", command);
    cf_diags_fini(&diags);
}

static bool store(const char *command, const struct arg *a, const char *value)
{
    uint64_t number;
    struct arg_texts *texts;
    switch (a->kind) {
    case ARG_FLAG:
        *(bool *)a->out = true;
        return true;
    case ARG_TEXT:
        *(const char **)a->out = value;
        return true;
    case ARG_TEXTS:
        texts = a->out;
        if (texts->count == ARG_TEXTS_MAX) {
            (void)fprintf(stderr, "caddis %s: too many --%s\n", command, a->name);
            return false;
        }
        texts->items[texts->count++] = value;
        return true;
    case ARG_NUMBER:
        if (!slice_u64(slice_str(value), ARG_NUMBER_MAX, &number) || number == 0) {
            (void)fprintf(stderr, "caddis %s: --%s takes a number from 1 to %d, not \"%s\"\n",
                          command, a->name, ARG_NUMBER_MAX, value);
            return false;
        }
        *(unsigned *)a->out = (unsigned)number;
        return true;
    case ARG_NOT_HERE:
        break;
    }
    (void)fprintf(stderr, "caddis %s: --%s is Caddy's and not in caddis: %s\n", command, a->name,
                  a->help);
    return false;
}

static bool takes_value(const struct arg *a)
{
    return a->kind == ARG_TEXT || a->kind == ARG_TEXTS || a->kind == ARG_NUMBER;
}

/* "-wd" for "-w -d", "-cFILE" for "-c FILE". */
static bool parse_letters(const char *command, const struct arg *table, size_t count, int argc,
                          char **argv, int *i)
{
    const char *word = argv[*i];
    for (const char *letter = word + 1; *letter; letter++) {
        const struct arg *a = find(table, count, slice_of(letter, 1));
        if (!a) {
            unknown(command, table, count, word);
            return false;
        }
        if (!takes_value(a)) {
            if (!store(command, a, NULL)) {
                return false;
            }
            continue;
        }
        const char *value = letter[1] ? letter + 1 : *i + 1 < argc ? argv[++*i] : NULL;
        if (!value) {
            (void)fprintf(stderr, "caddis %s: -%c needs a value\n", command, *letter);
            return false;
        }
        return store(command, a, value);
    }
    return true;
}

/* One option at argv[*i]; moves *i over its value. */
static bool parse_option(const char *command, const struct arg *table, size_t count, int argc,
                         char **argv, int *i)
{
    const char *word = argv[*i];
    struct slice name = slice_str(word);
    bool is_long = slice_starts(name, S("--"));
    name = slice_from(name, is_long ? 2 : 1);
    struct slice value = {NULL, 0};
    size_t equals = slice_find(name, '=');
    if (equals != SLICE_NPOS) {
        value = slice_from(name, equals + 1);
        name = slice_upto(name, equals);
    }
    if (!is_long && name.n > 1 && !value.p) {
        return parse_letters(command, table, count, argc, argv, i);
    }
    const struct arg *a = is_long == (name.n > 1) ? find(table, count, name) : NULL;
    if (!a) {
        unknown(command, table, count, word);
        return false;
    }
    if (takes_value(a) && !value.p) {
        if (*i + 1 >= argc) {
            (void)fprintf(stderr, "caddis %s: %s needs a value\n", command, word);
            return false;
        }
        value = slice_str(argv[++*i]);
    }
    if (!takes_value(a) && value.p && a->kind != ARG_NOT_HERE) {
        (void)fprintf(stderr, "caddis %s: --%s takes no value\n", command, a->name);
        return false;
    }
    return store(command, a, value.p);
}

bool args_parse(const char *command, const struct arg *table, size_t count, int argc, char **argv,
                const char **rest)
{
    for (int i = 0; i < argc; i++) {
        if (argv[i][0] == '-' && argv[i][1] != '\0') {
            if (!parse_option(command, table, count, argc, argv, &i)) {
                return false;
            }
        } else if (rest && !*rest) {
            *rest = argv[i];
        } else {
            (void)fprintf(stderr, "caddis %s: \"%s\" is one word too many\nTry: caddis help %s\n",
                          command, argv[i], command);
            return false;
        }
    }
    return true;
}

/* "config FILE" */
static void name_and_value(const struct arg *a, char *out, size_t cap)
{
    const char *value = a->value ? a->value : a->kind == ARG_NUMBER ? "N" : "FILE";
    (void)snprintf(out, cap, takes_value(a) ? "%s %s" : "%s", a->name, value);
}

void args_help(const struct arg *table, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (table[i].kind != ARG_NOT_HERE) {
            char letter[8] = "    ";
            char name[64];
            if (table[i].letter) {
                (void)snprintf(letter, sizeof(letter), "-%c, ", table[i].letter);
            }
            name_and_value(&table[i], name, sizeof(name));
            printf("  %s--%-16s %s\n", letter, name, table[i].help);
        }
    }
}
