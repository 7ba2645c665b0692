/* A certificate chain and its key as one thing (pair.h): the protocol that leaves a matching pair
 * on disk whenever the writer dies.
 *
 * In: pairs from acme; folders that a killed caddis, a Caddy or a failing disk left. Out: the
 * newest whole pair. Private keys live in buffers that are zeroed here.
 *
 * What a folder may hold, and what it means:
 *   .json.new, .key.new, no .crt.new   a write that was not complete: it never happened
 *   .crt.new                           a complete write: .crt.new is written last
 *   .crt.new, no .key.new              its key is in place already: only renames are missing
 *   .crt, .key                         the present pair
 *   .crt.prev, .key.prev               the one before, in case the present one gets damaged */
#include "store/pair.h"

#include "proxy/base/arena.h"
#include "proxy/base/log.h"
#include "store/backend.h"
#include "store/names.h"

/* How long one side waits for the other: a write takes some fsyncs. */
#define LOCK_WAIT_MS 10000
/* How often a folder that cannot be locked (a store open for reading only) is read again when
 * nothing matches: another process may have been renaming just then. */
#define UNLOCKED_READS_MAX 3

enum role { CRT, KEY, ROLES };
enum age { NEW, CUR, PREV, AGES };

struct files {
    struct store *store;
    struct arena arena;
    struct slice lock_name;
    struct slice key[ROLES][AGES]; /* keys of the store, in the arena */
    struct slice meta, meta_new;
    struct dstr value[ROLES][AGES]; /* what was read; zeroed by files_fini */
    enum store_result got[ROLES][AGES];
    struct err first_error;
};

/* Which certificate with which key, best first. .crt.new is complete if it is there at all, so it
 * goes before the present one with the same key, too. */
static const struct choice {
    enum age crt, key;
} choices[] = {
    {NEW, NEW},  {NEW, CUR},  {CUR, CUR},  {CUR, NEW},   {CUR, PREV},
    {PREV, CUR}, {NEW, PREV}, {PREV, NEW}, {PREV, PREV},
};

void store_pair_init(struct store_pair *p)
{
    dstr_init(&p->chain_pem, STORE_VALUE_MAX);
    dstr_init(&p->key_pem, STORE_VALUE_MAX);
    dstr_init(&p->meta_json, STORE_VALUE_MAX);
}

void store_pair_fini(struct store_pair *p)
{
    dstr_fini(&p->chain_pem);
    store_wipe(&p->key_pem);
    dstr_fini(&p->meta_json);
}

static bool files_init(struct files *f, struct store *s, struct slice ca, struct slice name,
                       struct err *err)
{
    static const char *const suffixes[ROLES][AGES] = {
        [CRT] = {".crt.new", ".crt", ".crt.prev"},
        [KEY] = {".key.new", ".key", ".key.prev"},
    };
    *f = (struct files){.store = s};
    arena_init(&f->arena, (size_t)1 << 20);
    for (int r = 0; r < ROLES; r++) {
        for (int g = 0; g < AGES; g++) {
            f->key[r][g] = store_cert_key(&f->arena, ca, name, suffixes[r][g]);
            dstr_init(&f->value[r][g], STORE_VALUE_MAX);
            f->got[r][g] = STORE_MISSING;
        }
    }
    f->meta = store_cert_key(&f->arena, ca, name, ".json");
    f->meta_new = store_cert_key(&f->arena, ca, name, ".json.new");
    f->lock_name = arena_printf(&f->arena, "pair_%.*s_%.*s", SLICE_ARG(ca), SLICE_ARG(name));
    return !f->arena.failed || err_set(err, "the name of a certificate is too long");
}

static void files_fini(struct files *f)
{
    for (int r = 0; r < ROLES; r++) {
        for (int g = 0; g < AGES; g++) {
            store_wipe(&f->value[r][g]);
        }
    }
    arena_fini(&f->arena);
}

static void read_age(struct files *f, enum age g)
{
    for (int r = 0; r < ROLES; r++) {
        struct err e = {0};
        store_wipe(&f->value[r][g]);
        f->got[r][g] = store_get(f->store, f->key[r][g], &f->value[r][g], &e);
        if (f->got[r][g] == STORE_FAILED && !f->first_error.text[0]) {
            f->first_error = e;
        }
    }
}

static void read_all(struct files *f)
{
    f->first_error.text[0] = '\0';
    /* In the order in which a writer goes on, so that what moves is seen at least once. */
    read_age(f, NEW);
    read_age(f, CUR);
    read_age(f, PREV);
}

static bool present(const struct files *f, enum role r, enum age g)
{
    return f->got[r][g] != STORE_MISSING;
}

static bool age_present(const struct files *f, enum age g)
{
    return present(f, CRT, g) || present(f, KEY, g);
}

static bool choice_matches(const struct files *f, struct choice c, store_pair_matches *matches,
                           void *ctx)
{
    const struct dstr *crt = &f->value[CRT][c.crt], *key = &f->value[KEY][c.key];
    return f->got[CRT][c.crt] == STORE_OK && f->got[KEY][c.key] == STORE_OK && crt->n && key->n &&
           matches(ctx, dstr_slice(crt), dstr_slice(key));
}

static const struct choice *choose(const struct files *f, store_pair_matches *matches, void *ctx)
{
    for (size_t i = 0; i < ARRAY_LEN(choices); i++) {
        if (choice_matches(f, choices[i], matches, ctx)) {
            return &choices[i];
        }
    }
    return NULL;
}

/* A missing file is as good as a renamed one here: an earlier try got that far. */
static bool rename_if_there(struct files *f, struct slice from, struct slice to, struct err *err)
{
    return store_rename(f->store, from, to, err) != STORE_FAILED;
}

/* Makes the complete write in .new the present pair. Every step may be the last one that happens,
 * and all may be done again. key_is_new: .key.new is still there. */
static bool roll_forward(struct files *f, bool key_is_new, struct err *err)
{
    if (key_is_new) {
        struct err ignored; /* .prev is a spare: without it the new pair is no less whole */
        store_ignore(store_copy(f->store, f->key[CRT][CUR], f->key[CRT][PREV], &ignored));
        store_ignore(store_copy(f->store, f->key[KEY][CUR], f->key[KEY][PREV], &ignored));
    }
    if (!rename_if_there(f, f->key[KEY][NEW], f->key[KEY][CUR], err)) {
        return false;
    }
    struct err unread; /* the meta data is only told, never used: it must not hold the pair up */
    (void)rename_if_there(f, f->meta_new, f->meta, &unread);
    return rename_if_there(f, f->key[CRT][NEW], f->key[CRT][CUR], err);
}

/* An unfinished write goes; what looks like more than that is kept aside. */
static bool clear_new(struct files *f, struct err *err)
{
    bool ok = true;
    if (present(f, CRT, NEW)) {
        ok = store_set_aside(f->store, f->key[CRT][NEW], err) != STORE_FAILED;
        if (ok && present(f, KEY, NEW)) {
            ok = store_set_aside(f->store, f->key[KEY][NEW], err) != STORE_FAILED;
        }
    } else {
        ok = store_delete(f->store, f->key[KEY][NEW], err) != STORE_FAILED;
    }
    return ok && store_delete(f->store, f->meta_new, err) != STORE_FAILED;
}

/* Brings a part of the chosen pair to its present name, setting aside what is damaged there. The
 * source stays until its copy is whole. */
static bool bring_back(struct files *f, enum role r, enum age g, bool *damaged, struct err *err)
{
    if (g == CUR) {
        return true;
    }
    if (present(f, r, CUR)) {
        if (store_set_aside(f->store, f->key[r][CUR], err) == STORE_FAILED) {
            return false;
        }
        *damaged = true;
    }
    return store_put(f->store, f->key[r][CUR], dstr_slice(&f->value[r][g]), err) == STORE_OK;
}

/* Under the lock: makes the chosen pair the present one, so that a Caddy sees it too. */
static bool settle(struct files *f, const struct choice *c, bool *damaged, struct err *err)
{
    if (c->crt == NEW && c->key != PREV) {
        if (c->key == NEW) {
            return roll_forward(f, true, err);
        }
        /* A .key.new beside .crt.new that does not match it is damaged. */
        if (present(f, KEY, NEW)) {
            if (store_set_aside(f->store, f->key[KEY][NEW], err) == STORE_FAILED) {
                return false;
            }
            *damaged = true;
        }
        return roll_forward(f, false, err);
    }
    *damaged = *damaged || present(f, CRT, NEW);
    if (!bring_back(f, CRT, c->crt, damaged, err) || !bring_back(f, KEY, c->key, damaged, err)) {
        return false;
    }
    return !(age_present(f, NEW)) || clear_new(f, err);
}

static void set_all_aside(struct files *f)
{
    for (int r = 0; r < ROLES; r++) {
        for (int g = 0; g < AGES; g++) {
            struct err e;
            if (present(f, (enum role)r, (enum age)g) &&
                store_set_aside(f->store, f->key[r][g], &e) == STORE_FAILED) {
                log_event(LOG_WARN, "store", "a damaged value could not be set aside",
                          LOG_S("key", f->key[r][g]), LOG_Z("error", e.text));
            }
        }
    }
}

/* Moves the chosen values to the caller; the meta data is the caller's to miss. */
static enum store_result give(struct files *f, const struct choice *c, struct store_pair *out,
                              struct err *err)
{
    store_pair_fini(out);
    store_pair_init(out);
    struct err ignored;
    if (store_get(f->store, f->meta, &out->meta_json, &ignored) != STORE_OK) {
        dstr_reset(&out->meta_json);
    }
    struct dstr *crt = &f->value[CRT][c->crt], *key = &f->value[KEY][c->key];
    if (!dstr_reserve(&out->chain_pem, crt->n) || !dstr_reserve(&out->key_pem, key->n)) {
        err_set(err, "out of memory reading %s/%.*s", store_path(f->store),
                SLICE_ARG(f->key[CRT][CUR]));
        return STORE_FAILED;
    }
    dstr_append(&out->chain_pem, dstr_slice(crt));
    dstr_append(&out->key_pem, dstr_slice(key));
    return STORE_OK;
}

/* Everything but the undisturbed present pair: under the lock if it can be had. */
static enum store_result get_carefully(struct files *f, store_pair_matches *matches, void *ctx,
                                       struct store_pair *out, bool *damaged, struct err *err)
{
    struct err lock_err, settle_err;
    struct store_lock *lock =
        store_lock(f->store, f->lock_name, LOCK_WAIT_MS, NULL, NULL, &lock_err);
    const struct choice *c = NULL;
    for (int i = 0; !c && i < (lock ? 1 : UNLOCKED_READS_MAX); i++) {
        read_all(f);
        c = choose(f, matches, ctx);
    }
    enum store_result r = STORE_MISSING;
    if (c) {
        /* A store that cannot be written is served from as it is. */
        if (lock && !settle(f, c, damaged, &settle_err)) {
            log_event(LOG_WARN, "store", "a certificate's folder could not be tidied",
                      LOG_S("key", f->key[CRT][CUR]), LOG_Z("error", settle_err.text));
        }
        r = give(f, c, out, err);
    } else if (f->first_error.text[0]) {
        err_set(err, "%s", f->first_error.text);
        r = STORE_FAILED;
    } else if (age_present(f, NEW) || age_present(f, CUR) || age_present(f, PREV)) {
        if (!lock && !lock_err.text[0]) {
            err_set(err, "%s/%.*s is being written by another process", store_path(f->store),
                    SLICE_ARG(f->key[CRT][CUR]));
            r = STORE_FAILED;
        } else {
            *damaged = true;
            if (lock) {
                set_all_aside(f);
            }
        }
    }
    store_unlock(lock);
    return r;
}

enum store_result store_pair_get(struct store *s, struct slice ca, struct slice name,
                                 store_pair_matches *matches, void *ctx, struct store_pair *out,
                                 bool *damaged, struct err *err)
{
    static const struct choice undisturbed = {CUR, CUR};
    struct files f;
    bool unused;
    damaged = damaged ? damaged : &unused;
    *damaged = false;
    enum store_result r = STORE_FAILED;
    if (files_init(&f, s, ca, name, err)) {
        read_age(&f, NEW);
        read_age(&f, CUR);
        if (!age_present(&f, NEW) && !age_present(&f, CUR)) {
            read_age(&f, PREV);
        }
        if (!age_present(&f, NEW) && choice_matches(&f, undisturbed, matches, ctx)) {
            r = give(&f, &undisturbed, out, err);
        } else if (!age_present(&f, NEW) && !age_present(&f, CUR) && !age_present(&f, PREV)) {
            r = STORE_MISSING;
        } else {
            r = get_carefully(&f, matches, ctx, out, damaged, err);
        }
    }
    files_fini(&f);
    return r;
}

/* Deals with what an earlier, killed writer left. Writers cannot tell whether values match, but
 * they know the order of the protocol. */
static bool clear_the_way(struct files *f, struct err *err)
{
    read_age(f, NEW);
    if (!present(f, CRT, NEW)) {
        return true; /* never complete; overwritten now */
    }
    if (!present(f, KEY, NEW)) {
        return roll_forward(f, false, err); /* its key is in place: without it nothing matches */
    }
    /* Complete, but its put never returned: the present pair is as good until ours is there. */
    return store_delete(f->store, f->key[CRT][NEW], err) == STORE_OK;
}

/* Writes the three .new values; .crt.new, which makes them count, last. */
static bool stage(struct files *f, const struct store_pair *pair, struct err *err)
{
    bool ok = pair->meta_json.n
                  ? store_put(f->store, f->meta_new, dstr_slice(&pair->meta_json), err) == STORE_OK
                  : store_delete(f->store, f->meta_new, err) == STORE_OK;
    return ok &&
           store_put(f->store, f->key[KEY][NEW], dstr_slice(&pair->key_pem), err) == STORE_OK &&
           store_put(f->store, f->key[CRT][NEW], dstr_slice(&pair->chain_pem), err) == STORE_OK;
}

static enum store_result put_locked(struct files *f, const struct store_pair *pair, struct err *err)
{
    struct err ignored;
    if (!clear_the_way(f, err)) {
        return STORE_FAILED;
    }
    if (!stage(f, pair, err)) {
        /* Room on a full disk; .crt.new first, which makes the others count. */
        if (store_delete(f->store, f->key[CRT][NEW], &ignored) == STORE_OK) {
            store_ignore(store_delete(f->store, f->key[KEY][NEW], &ignored));
            store_ignore(store_delete(f->store, f->meta_new, &ignored));
        }
        return STORE_FAILED;
    }
    if (!roll_forward(f, true, &ignored)) {
        /* It is durable and every reader of ours takes it; the next one tidies up. */
        log_event(LOG_WARN, "store", "a new certificate is stored but not yet in its place",
                  LOG_S("key", f->key[CRT][CUR]), LOG_Z("error", ignored.text));
    }
    return STORE_OK;
}

enum store_result store_pair_put(struct store *s, struct slice ca, struct slice name,
                                 const struct store_pair *pair, struct err *err)
{
    struct files f;
    enum store_result r = STORE_FAILED;
    if (pair->chain_pem.n == 0 || pair->key_pem.n == 0 || pair->chain_pem.failed ||
        pair->key_pem.failed || pair->meta_json.failed) {
        err_set(err, "the certificate or key of %.*s is empty", SLICE_ARG(name));
        return STORE_FAILED;
    }
    if (files_init(&f, s, ca, name, err)) {
        struct err lock_err;
        struct store_lock *lock = store_lock(s, f.lock_name, LOCK_WAIT_MS, NULL, NULL, &lock_err);
        if (lock) {
            r = put_locked(&f, pair, err);
            store_unlock(lock);
        } else {
            err_set(err, "cannot store the certificate of %.*s: %s", SLICE_ARG(name),
                    lock_err.text[0] ? lock_err.text : "another process is writing it");
        }
    }
    files_fini(&f);
    return r;
}
