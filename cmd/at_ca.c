/* caddis revoke NAME, caddis account rollover | deactivate, and the rehearsal of caddis renew: what
 * is asked of a CA by hand. In: a Caddyfile, which says the storage and the issuers. Out: done, or
 * why not. */
#include "cmd/at_ca.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "cmd/control.h"
#include "cmd/load.h"
#include "store/kinds.h"

#define TEXT_MAX ((size_t)1 << 20)
#define ACCOUNTS_MAX 16
#define TELL_TIMEOUT_MS 5000
#define REASON_KEY_COMPROMISE 1

static struct {
    const char *config;
    const char *address;
    const char *reason;
    const char *ca;
} args;

static const struct arg revoke_table[] = {
    {"reason", 0, ARG_TEXT, &args.reason,
     "unspecified, keyCompromise, superseded or cessationOfOperation (or 0, 1, 4, 5)", "WHY"},
    {"config", 'c', ARG_TEXT, &args.config,
     "the Caddyfile (default: Caddyfile in this folder)", NULL},
};

static const struct arg account_table[] = {
    {"ca", 0, ARG_TEXT, &args.ca, "only the account with this CA (its directory's address)", "URL"},
    {"config", 'c', ARG_TEXT, &args.config,
     "the Caddyfile (default: Caddyfile in this folder)", NULL},
    {"address", 0, ARG_TEXT, &args.address,
     "the control socket, if not the one the Caddyfile names", "PATH"},
};

/* Files that root makes in a folder of another user's would be of no use to that user. */
static bool become_owner(const struct store_settings *settings, struct err *err)
{
    struct stat st;
    struct slice folder = store_folder_of(settings);
    if (geteuid() != 0 || settings->kind != &store_kind_file_system || !folder.n ||
        stat(folder.p, &st) != 0 || st.st_uid == 0) {
        return true;
    }
    if (setgid(st.st_gid) == 0 && setuid(st.st_uid) == 0) {
        return true;
    }
    return err_set(err, "%s belongs to user %u, as whom this cannot go on", folder.p,
                   (unsigned)st.st_uid);
}

void desk_leave(struct desk *d)
{
    challenge_table_free(d->hand.challenges);
    store_close(d->hand.store);
    cert_plan_fini(&d->plan);
    cert_plan_fini(&d->demanded);
    config_unref(d->config);
    arena_fini(&d->arena);
}

static bool read_config(struct desk *d, const char *command, const char *path, struct err *err)
{
    struct cf_diags diags;
    struct dstr text;
    path = config_or_default(command, path);
    if (!path) {
        return err_set(err, "no configuration");
    }
    cf_diags_init(&diags);
    d->config = load_config(path, &diags);
    if (d->config) {
        cert_plan_init(&d->plan, d->config, NULL, 0, &diags);
    }
    bool ok = diags.errors == 0;
    if (!ok) {
        dstr_init(&text, TEXT_MAX);
        cf_diags_print(&diags, &text);
        (void)fwrite(text.p ? text.p : "", 1, text.n, stderr);
        dstr_fini(&text);
        (void)err_set(err, "%s has errors", path);
    }
    cf_diags_fini(&diags);
    return ok;
}

bool desk_enter(struct desk *d, const char *command, const char *path, struct err *err)
{
    struct places places;
    *d = (struct desk){.config = NULL};
    arena_init(&d->arena, ARENA_NO_MAX);
    if (!read_config(d, command, path, err)) {
        return false;
    }
    places_of(&d->arena, path, &places, NULL);
    if (!become_owner(places.store, err)) {
        return false;
    }
    d->hand.store = places.store->kind->open(places.store, err);
    if (!d->hand.store) {
        return false;
    }
    d->hand.challenges = challenge_table_new(d->hand.store);
    return true;
}

/* A name that a site gets a certificate for when a handshake asks for it. */
static const struct acme_name *find_demanded(struct desk *d, struct slice name, struct err *err)
{
    struct slice lower = arena_lower(&d->arena, name);
    bool listed;
    const struct site *site =
        acme_name_qualifies(lower) ? config_demand_site(d->config, lower, &listed) : NULL;
    if (!site) {
        (void)err_set(err, "the Caddyfile has no site \"%.*s\" that gets a certificate",
                      SLICE_ARG(name));
        return NULL;
    }
    struct cf_diags ignored; /* the site was planned before, for another name */
    struct managed_name m =
        config_managed_name(d->config, site, lower, site->settings.tls.token);
    cf_diags_init(&ignored);
    cert_plan_init(&d->demanded, d->config, &m, 1, &ignored);
    cf_diags_fini(&ignored);
    const struct acme_config *c = &d->demanded.acme;
    if (c->name_count && slice_eq(c->names[c->name_count - 1].name, lower)) {
        return &c->names[c->name_count - 1];
    }
    (void)err_set(err, "\"%.*s\" cannot get a certificate by the Caddyfile's site",
                  SLICE_ARG(name));
    return NULL;
}

const struct acme_name *desk_find(struct desk *d, struct slice name, struct err *err)
{
    for (size_t i = 0; i < d->plan.acme.name_count; i++) {
        if (slice_eq_case(d->plan.acme.names[i].name, name)) {
            return &d->plan.acme.names[i];
        }
    }
    return find_demanded(d, name, err);
}

static void say(void *ctx, const char *activity)
{
    (void)ctx;
    printf("  %s\n", activity);
    (void)fflush(stdout);
}

bool at_ca_dry_run(const char *command, const char *config, struct slice name, struct err *err)
{
    struct desk d;
    bool ok = desk_enter(&d, command, config, err);
    const struct acme_name *found = ok ? desk_find(&d, name, err) : NULL;
    d.hand.say = say;
    ok = found && acme_dry_run(&d.hand, found, err);
    if (ok) {
        printf("The rehearsal went well: a certificate for %.*s was made at the test CA and thrown"
               " away.\n", SLICE_ARG(name));
    }
    desk_leave(&d);
    return ok;
}

/* RFC 5280 section 5.3.1; the four that Let's Encrypt takes. -1: none of them. */
static int reason_of(const char *text)
{
    static const struct {
        struct slice name, number;
        int value;
    } reasons[] = {
        {S_INIT("unspecified"), S_INIT("0"), 0},
        {S_INIT("keyCompromise"), S_INIT("1"), REASON_KEY_COMPROMISE},
        {S_INIT("superseded"), S_INIT("4"), 4},
        {S_INIT("cessationOfOperation"), S_INIT("5"), 5},
    };
    for (size_t i = 0; text && i < ARRAY_LEN(reasons); i++) {
        struct slice word = slice_str(text);
        if (slice_eq_case(word, reasons[i].name) || slice_eq(word, reasons[i].number)) {
            return reasons[i].value;
        }
    }
    return text ? -1 : 0;
}

int revoke_command(const struct command *self, int argc, char **argv)
{
    const char *name = NULL;
    struct desk d;
    struct err err = {.text = ""};
    if (!args_parse(self->name, revoke_table, ARRAY_LEN(revoke_table), argc, argv, &name)) {
        return 1;
    }
    int reason = reason_of(args.reason);
    if (!name || reason < 0) {
        (void)fprintf(stderr, "caddis revoke: %s\n",
                      name ? "--reason is unspecified, keyCompromise, superseded or"
                             " cessationOfOperation"
                           : "which name? caddis revoke example.com");
        return 1;
    }
    bool ok = desk_enter(&d, self->name, args.config, &err);
    const struct acme_name *found = ok ? desk_find(&d, slice_str(name), &err) : NULL;
    ok = found && acme_revoke(&d.hand, found, reason, &err);
    if (ok) {
        printf("The certificate of %s is revoked. It is served until there is another one:\n"
               "    caddis renew %s\n", name, name);
        if (reason == REASON_KEY_COMPROMISE && found->reuse_key) {
            printf("Take reuse_private_keys out of the Caddyfile first: the next one must have"
                   " another key.\n");
        }
    } else {
        (void)fprintf(stderr, "caddis revoke: %s\n", err.text);
    }
    desk_leave(&d);
    return ok ? 0 : 1;
}

/* The accounts that the Caddyfile's names use: pairs of a CA and an address. */
static size_t accounts_of(const struct desk *d, const struct acme_issuer *out[ACCOUNTS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < d->plan.acme.name_count; i++) {
        const struct acme_name *n = &d->plan.acme.names[i];
        for (size_t k = 0; k < n->issuer_count && count < ACCOUNTS_MAX; k++) {
            const struct acme_issuer *issuer = &n->issuers[k];
            bool wanted = issuer->kind == ACME_ISSUER_ACME &&
                          (!args.ca || slice_eq(issuer->directory_url, slice_str(args.ca)));
            for (size_t j = 0; wanted && j < count; j++) {
                wanted = !slice_eq(out[j]->directory_url, issuer->directory_url) ||
                         !slice_eq(out[j]->email, issuer->email);
            }
            if (wanted) {
                out[count++] = issuer;
            }
        }
    }
    return count;
}

/* A caddis that runs holds the old key until it looks again. Nobody there: nobody to tell. */
static void tell_running(void)
{
    struct arena a;
    struct dstr answer;
    struct err err;
    arena_init(&a, ARENA_NO_MAX);
    dstr_init(&answer, TEXT_MAX);
    if (control_ask(control_path(&a, args.config, args.address), S("accounts-changed"),
                    TELL_TIMEOUT_MS, &answer, &err)) {
        printf("The running caddis was told.\n");
    }
    dstr_fini(&answer);
    arena_fini(&a);
}

static bool change_accounts(const struct desk *d, bool roll_over, struct err *err)
{
    const struct acme_issuer *accounts[ACCOUNTS_MAX];
    size_t count = accounts_of(d, accounts);
    bool ok = count > 0 || err_set(err, "no name in the Caddyfile uses an account%s%s",
                                   args.ca ? " with " : "", args.ca ? args.ca : "");
    for (size_t i = 0; ok && i < count; i++) {
        ok = roll_over ? acme_roll_over(&d->hand, accounts[i], err)
                       : acme_deactivate(&d->hand, accounts[i], err);
        if (ok) {
            printf(roll_over ? "%.*s: the account has a new key.\n"
                             : "%.*s: the account is ended; the next order registers another.\n",
                   SLICE_ARG(accounts[i]->directory_url));
        } else {
            (void)err_prefix(err, "%.*s: ", SLICE_ARG(accounts[i]->directory_url));
        }
    }
    return ok;
}

int account_command(const struct command *self, int argc, char **argv)
{
    const char *word = NULL;
    struct desk d;
    struct err err = {.text = ""};
    if (!args_parse(self->name, account_table, ARRAY_LEN(account_table), argc, argv, &word)) {
        return 1;
    }
    bool roll_over = word && slice_eq(slice_str(word), S("rollover"));
    if (!roll_over && !(word && slice_eq(slice_str(word), S("deactivate")))) {
        (void)fprintf(stderr, "caddis account: rollover (another key) or deactivate (end it)?\n");
        return 1;
    }
    bool ok = desk_enter(&d, self->name, args.config, &err) && change_accounts(&d, roll_over, &err);
    if (!ok) {
        (void)fprintf(stderr, "caddis account: %s\n", err.text);
    }
    desk_leave(&d);
    if (ok) {
        tell_running();
    }
    return ok ? 0 : 1;
}

void revoke_help(void)
{
    args_help(revoke_table, ARRAY_LEN(revoke_table));
}

void account_help(void)
{
    printf("  caddis account rollover     give the accounts with CAs new keys\n"
           "  caddis account deactivate   end them\n");
    args_help(account_table, ARRAY_LEN(account_table));
}
