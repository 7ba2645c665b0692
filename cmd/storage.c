/* caddis storage export, import and check: the store as a tar archive in Caddy's form, a Caddy's
 * folder copied into ours, and the state of what is there.
 *
 * A folder is changed as its owner, by root as well: what root made there the server could not
 * open. */
#include "cmd/storage.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "acme/cert_check.h"
#include "cmd/commands.h"
#include "cmd/paths.h"
#include "proxy/base/clock.h"
#include "store/backend.h"
#include "store/names.h"
#include "store/pair.h"
#include "store/tar.h"
#include "store/walk.h"

static struct {
    const char *config;
    const char *adapter;
    const char *output;
    const char *input;
    bool from_caddy;
} args;

static const struct arg table[] = {
    {"config", 'c', ARG_TEXT, &args.config,
     "the Caddyfile that names the storage (default: Caddyfile here, if any)", NULL},
    {"adapter", 'a', ARG_TEXT, &args.adapter, "caddyfile, which is the default", "NAME"},
    {"output", 'o', ARG_TEXT, &args.output, "export: the archive to write (- is stdout)", NULL},
    {"input", 'i', ARG_TEXT, &args.input,
     "import: the archive to read (- is stdin), or Caddy's folder", NULL},
    {"from-caddy", 0, ARG_FLAG, &args.from_caddy,
     "import: copy what Caddy has on this machine; what caddis has already stays", NULL},
};

/* ---- keys ---- */

bool storage_cert_key(struct slice key, struct storage_cert_key *out)
{
    struct slice rest = key, first, file;
    return slice_cut(&rest, '/', &first) && slice_eq(first, S("certificates")) &&
           slice_cut(&rest, '/', &out->ca) && slice_cut(&rest, '/', &out->name) &&
           slice_cut(&rest, '/', &file) && !rest.p && slice_starts(file, out->name) &&
           (out->suffix = slice_from(file, out->name.n), out->suffix.n > 0) &&
           out->suffix.p[0] == '.';
}

bool storage_is_debris(struct slice key)
{
    return slice_starts(key, S("locks/")) || slice_eq(key, S("caddis/write-check")) ||
           slice_find_slice(key, S(".damaged-")) != SLICE_NPOS || slice_ends(key, S(".new")) ||
           slice_ends(key, S(".prev"));
}

/* ---- the owner ---- */

static uid_t owner_uid;
static gid_t owner_gid;
static bool has_owner; /* the store is somebody else's folder, and we are root */

static void find_owner(const struct store_settings *settings)
{
    struct stat st;
    struct arena a;
    arena_init(&a, 8192);
    const char *folder = settings->kind == &store_kind_file_system
                             ? arena_cstr(&a, store_folder_of(settings))
                             : NULL;
    if (folder && geteuid() == 0 && stat(folder, &st) == 0 && st.st_uid != 0) {
        owner_uid = st.st_uid;
        owner_gid = st.st_gid;
        has_owner = true;
    }
    arena_fini(&a);
}

/* From here on as the store's owner, or as who we are. */
static bool act_as_owner(bool owner)
{
    if (!has_owner) {
        return true;
    }
    bool ok = owner ? setgroups(1, &owner_gid) == 0 && setegid(owner_gid) == 0 &&
                          seteuid(owner_uid) == 0
                    : seteuid(0) == 0 && setegid(0) == 0;
    if (!ok) {
        perror("caddis storage: acting as the owner of the store");
    }
    return ok;
}

/* ---- export ---- */

struct exporting {
    struct store *store;
    FILE *out;
    size_t count, left_out;
    struct err err;
};

static bool write_out(void *ctx, struct slice bytes, struct err *err)
{
    struct exporting *e = ctx;
    return bytes.n == 0 || fwrite(bytes.p, 1, bytes.n, e->out) == bytes.n ||
           err_errno(err, errno, "writing the archive");
}

static bool export_value(struct exporting *e, struct slice key, const struct dstr *value)
{
    if (value->n == 0) {
        return true;
    }
    e->count++;
    return tar_write(write_out, e, key, dstr_slice(value), clock_wall_ms(), &e->err);
}

static void leave_out(size_t *count, struct slice key, const char *why)
{
    (*count)++;
    (void)fprintf(stderr, "left out: %.*s: %s\n", SLICE_ARG(key), why);
}

/* A certificate and its key go together, as whoever serves them would see them. */
static bool export_pair(struct exporting *e, struct slice key, const struct storage_cert_key *of)
{
    struct arena a;
    struct store_pair pair;
    struct err err = {.text = "no certificate there that belongs to its key"};
    arena_init(&a, ARENA_NO_MAX);
    store_pair_init(&pair);
    bool ok = true;
    if (store_pair_get(e->store, of->ca, of->name, cert_pair_matches, NULL, &pair, NULL, &err) !=
        STORE_OK) {
        leave_out(&e->left_out, key, err.text);
    } else {
        ok = export_value(e, store_cert_key(&a, of->ca, of->name, ".crt"), &pair.chain_pem) &&
             export_value(e, store_cert_key(&a, of->ca, of->name, ".json"), &pair.meta_json) &&
             export_value(e, store_cert_key(&a, of->ca, of->name, ".key"), &pair.key_pem);
    }
    store_pair_fini(&pair);
    arena_fini(&a);
    return ok;
}

static bool export_one(void *ctx, struct slice key)
{
    struct exporting *e = ctx;
    struct storage_cert_key of;
    struct dstr value;
    struct err err;
    if (storage_is_debris(key)) {
        return true;
    }
    if (storage_cert_key(key, &of) && slice_find(slice_from(of.suffix, 1), '.') == SLICE_NPOS) {
        return !slice_eq(of.suffix, S(".crt")) || export_pair(e, key, &of);
    }
    dstr_init(&value, STORE_VALUE_MAX);
    enum store_result r = store_get(e->store, key, &value, &err);
    bool ok = r != STORE_OK || export_value(e, key, &value);
    if (r == STORE_FAILED || r == STORE_UNUSABLE) {
        leave_out(&e->left_out, key, err.text);
    }
    store_wipe(&value);
    return ok;
}

/* 0600 from the start: it holds private keys. */
static FILE *open_output(void)
{
    if (strcmp(args.output, "-") == 0) {
        return stdout;
    }
    int fd = open(args.output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *f = fd >= 0 && fchmod(fd, 0600) == 0 ? fdopen(fd, "wb") : NULL;
    if (!f) {
        (void)fprintf(stderr, "caddis storage export: %s: %s\n", args.output, strerror(errno));
    }
    return f;
}

static int export_store(struct store *s)
{
    struct exporting e = {.store = s};
    if (!args.output) {
        (void)fprintf(stderr, "caddis storage export: name the archive: -o FILE, or -o -\n");
        return 1;
    }
    if (strcmp(args.output, "-") == 0 && isatty(STDOUT_FILENO)) {
        (void)fprintf(stderr, "caddis storage export: an archive with private keys is not for a"
                              " terminal\n");
        return 1;
    }
    e.out = open_output();
    if (!e.out || !act_as_owner(true)) {
        return 1;
    }
    e.err.text[0] = '\0';
    enum store_result r = store_walk(s, S(""), export_one, &e, &e.err);
    bool ok = r == STORE_OK && !e.err.text[0] && tar_write_end(write_out, &e, &e.err);
    ok = fflush(e.out) == 0 && ok && (e.out == stdout || fsync(fileno(e.out)) == 0);
    if (!ok) {
        (void)fprintf(stderr, "caddis storage export: %s\n",
                      r == STORE_MISSING ? "the store is empty"
                      : e.err.text[0]    ? e.err.text
                                         : strerror(errno));
        return 1;
    }
    (void)fprintf(stderr, "exported %zu entries of %s\n", e.count, store_path(s));
    return e.left_out ? 1 : 0;
}

/* ---- import ---- */

/* What was read of one certificate until all of it is there. */
struct importing {
    struct store *store;
    struct arena names; /* of the pending certificate */
    struct slice ca, name;
    struct store_pair pair;
    bool keep; /* what the store has already stays */
    size_t count, kept, left_out;
    bool failed;
};

static bool has(struct importing *im, struct slice key)
{
    struct dstr value;
    struct err ignored;
    dstr_init(&value, STORE_VALUE_MAX);
    bool there = store_get(im->store, key, &value, &ignored) != STORE_MISSING;
    store_wipe(&value);
    return there;
}

static void store_failed(struct importing *im, const struct err *err)
{
    (void)fprintf(stderr, "caddis storage import: %s\n", err->text);
    im->failed = true;
}

/* Certificate and key are written as one, so that a kill in between does no harm. */
static void put_pair(struct importing *im)
{
    struct arena a;
    struct err err;
    arena_init(&a, ARENA_NO_MAX);
    struct slice key = store_cert_key(&a, im->ca, im->name, ".crt");
    if (!im->pair.chain_pem.n || !im->pair.key_pem.n) {
        leave_out(&im->left_out, key, "without its key, or a key without its certificate");
    } else if (!cert_pair_matches(NULL, dstr_slice(&im->pair.chain_pem),
                                  dstr_slice(&im->pair.key_pem))) {
        leave_out(&im->left_out, key, "the certificate and the key do not belong together");
    } else if (im->keep && has(im, key)) {
        im->kept++;
    } else if (store_pair_put(im->store, im->ca, im->name, &im->pair, &err) != STORE_OK) {
        store_failed(im, &err);
    } else {
        im->count++;
    }
    arena_fini(&a);
}

static void flush_pair(struct importing *im)
{
    if (im->name.n) {
        put_pair(im);
    }
    store_pair_fini(&im->pair);
    store_pair_init(&im->pair);
    arena_reset(&im->names);
    im->ca = im->name = S("");
}

static void take_part(struct importing *im, const struct storage_cert_key *of, struct slice value)
{
    if (!slice_eq(im->ca, of->ca) || !slice_eq(im->name, of->name)) {
        flush_pair(im);
        im->ca = arena_copy(&im->names, of->ca);
        im->name = arena_copy(&im->names, of->name);
    }
    struct dstr *part = slice_eq(of->suffix, S(".crt"))   ? &im->pair.chain_pem
                        : slice_eq(of->suffix, S(".key")) ? &im->pair.key_pem
                                                          : &im->pair.meta_json;
    dstr_reset(part);
    if (dstr_reserve(part, value.n)) {
        dstr_append(part, value);
    }
}

static void take_value(struct importing *im, struct slice key, struct slice value)
{
    struct storage_cert_key of;
    struct err err;
    if (!store_key_valid(key, false)) {
        leave_out(&im->left_out, S("an entry"), "its name leads out of the store or is no key");
    } else if (storage_is_debris(key)) {
        im->kept++;
    } else if (storage_cert_key(key, &of) &&
               (slice_eq(of.suffix, S(".crt")) || slice_eq(of.suffix, S(".key")) ||
                slice_eq(of.suffix, S(".json")))) {
        take_part(im, &of, value);
    } else if (im->keep && has(im, key)) {
        im->kept++;
    } else if (store_put(im->store, key, value, &err) != STORE_OK) {
        store_failed(im, &err);
    } else {
        im->count++;
    }
}

static ssize_t read_in(void *ctx, char *at, size_t n, struct err *err)
{
    for (;;) {
        ssize_t got = read(*(int *)ctx, at, n);
        if (got >= 0 || errno != EINTR) {
            return got < 0 ? (err_errno(err, errno, "reading the archive"), -1) : got;
        }
    }
}

static bool import_archive(struct importing *im, int fd, struct err *err)
{
    struct tar_reader reader = {read_in, &fd};
    struct dstr name, value;
    enum tar_kind kind;
    enum tar_result r = TAR_END;
    dstr_init(&name, TAR_NAME_MAX);
    dstr_init(&value, STORE_VALUE_MAX);
    while (!im->failed && (r = tar_next(&reader, &name, &kind, &value, err)) == TAR_ENTRY) {
        struct slice key = dstr_slice(&name);
        key = slice_starts(key, S("./")) ? slice_from(key, 2) : key;
        if (kind == TAR_VALUE) {
            take_value(im, key, dstr_slice(&value));
        } else if (kind == TAR_TOO_LARGE) {
            leave_out(&im->left_out, S("an entry"), "more than 1 MiB is no value of a store");
        } else if (kind == TAR_OTHER) {
            leave_out(&im->left_out, S("an entry"), "neither a file nor a folder");
        }
    }
    dstr_fini(&name);
    store_wipe(&value);
    return r != TAR_FAILED;
}

struct copying {
    struct importing *im;
    struct store *from;
};

/* Certificates, accounts and the local CA: what is worth keeping of Caddy's. */
static bool is_worth_copying(struct slice key)
{
    return slice_starts(key, S("certificates/")) || slice_starts(key, S("pki/")) ||
           (slice_starts(key, S("acme/")) &&
            slice_find_slice(key, S("/challenge_tokens/")) == SLICE_NPOS);
}

static bool copy_one(void *ctx, struct slice key)
{
    struct copying *c = ctx;
    struct dstr value;
    struct err err;
    if (!is_worth_copying(key)) {
        return true;
    }
    dstr_init(&value, STORE_VALUE_MAX);
    enum store_result r = store_get(c->from, key, &value, &err);
    if (r == STORE_OK) {
        c->im->failed = !act_as_owner(true) || c->im->failed;
        take_value(c->im, key, dstr_slice(&value));
        c->im->failed = !act_as_owner(false) || c->im->failed;
    } else if (r != STORE_MISSING) {
        leave_out(&c->im->left_out, key, err.text);
    }
    store_wipe(&value);
    return !c->im->failed;
}

/* Nothing is written there: no lock, no repair. */
static bool import_caddy(struct importing *im, struct err *err)
{
    struct arena a;
    arena_init(&a, ARENA_NO_MAX);
    const char *folder = args.input ? args.input : paths_find_caddy(&a);
    struct stat st;
    struct copying c = {.im = im};
    if (!folder) {
        err_set(err, "there is no folder of Caddy's at %s; name it with -i FOLDER",
                paths_caddy_store(&a));
    } else if (stat(folder, &st) != 0 || !S_ISDIR(st.st_mode)) {
        err_errno(err, errno ? errno : ENOTDIR, "%s", folder);
    } else {
        c.from = store_open_fs(folder, err);
    }
    im->keep = true;
    bool ok = c.from && store_walk(c.from, S(""), copy_one, &c, err) != STORE_FAILED;
    store_close(c.from);
    arena_fini(&a);
    return ok;
}

static int open_input(void)
{
    if (strcmp(args.input, "-") == 0) {
        return STDIN_FILENO;
    }
    int fd = open(args.input, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        (void)fprintf(stderr, "caddis storage import: %s: %s\n", args.input, strerror(errno));
    }
    return fd;
}

static int import_store(struct store *s)
{
    struct importing im = {.store = s};
    struct err err = {.text = ""};
    if (!args.from_caddy && !args.input) {
        (void)fprintf(stderr, "caddis storage import: name the archive: -i FILE, or -i -; or"
                              " --from-caddy\n");
        return 1;
    }
    int fd = args.from_caddy ? -1 : open_input();
    if (!args.from_caddy && fd < 0) {
        return 1;
    }
    arena_init(&im.names, ARENA_NO_MAX);
    store_pair_init(&im.pair);
    bool ok = args.from_caddy ? import_caddy(&im, &err)
                              : act_as_owner(true) && import_archive(&im, fd, &err);
    ok = act_as_owner(true) && ok;
    flush_pair(&im);
    store_pair_fini(&im.pair);
    arena_fini(&im.names);
    if (err.text[0]) {
        (void)fprintf(stderr, "caddis storage import: %s\n", err.text);
    }
    (void)fprintf(stderr, "imported %zu certificates and other entries into %s; %zu are as they"
                          " were\n", im.count, store_path(s), im.kept);
    return ok && !im.failed && !im.left_out ? 0 : 1;
}

/* ---- the command ---- */

static int check_store(struct store *s)
{
    if (!act_as_owner(true)) {
        return 1;
    }
    return storage_check(s) == 0 ? 0 : 1;
}

static const struct {
    const char *name;
    int (*run)(struct store *s);
} actions[] = {{"export", export_store}, {"import", import_store}, {"check", check_store}};

/* A Caddyfile with a mistake may mean another store than the one there would be without it. */
static bool find_places(struct arena *a, struct places *places)
{
    struct dstr mistakes;
    dstr_init(&mistakes, (size_t)1 << 20);
    bool ok = !args.config || access(args.config, R_OK) == 0;
    if (!ok) {
        dstr_printf(&mistakes, "caddis storage: %s: %s\n", args.config, strerror(errno));
    } else {
        places_of(a, args.config, places, &mistakes);
        ok = mistakes.n == 0;
    }
    (void)fwrite(mistakes.p ? mistakes.p : "", 1, mistakes.n, stderr);
    dstr_fini(&mistakes);
    return ok;
}

int storage_command(const struct command *self, int argc, char **argv)
{
    const char *what = NULL;
    if (!args_parse(self->name, table, ARRAY_LEN(table), argc, argv, &what) ||
        !adapter_allowed(self->name, args.adapter)) {
        return 1;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; what && i < ARRAY_LEN(actions); i++) {
        if (slice_eq(slice_str(actions[i].name), slice_str(what))) {
            struct arena a;
            struct places places;
            struct err err;
            arena_init(&a, ARENA_NO_MAX);
            if (!find_places(&a, &places)) {
                arena_fini(&a);
                return 1;
            }
            find_owner(places.store);
            struct store *s = places.store->kind->open(places.store, &err);
            int status = s ? actions[i].run(s) : 1;
            if (!s) {
                (void)fprintf(stderr, "caddis storage: %s\n", err.text);
            }
            store_close(s);
            (void)act_as_owner(false);
            arena_fini(&a);
            return status;
        }
    }
    (void)fprintf(stderr, "caddis storage: say what to do: export -o FILE, import -i FILE,"
                          " import --from-caddy, or check\n");
    return 1;
}

void storage_help(void)
{
    printf("  caddis storage export -o FILE | import -i FILE | import --from-caddy | check\n");
    args_help(table, ARRAY_LEN(table));
}
