/* load <folder>... in tls's block: certificates of one's own from files *.pem, each with a chain
 * (the leaf first) and its key. They serve the names that they have themselves; the site's names
 * among them need no others. Folders are walked into. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "proxy/handler/handler.h"

#define FILES_MAX 100000
#define DEPTH_MAX 8
#define PEM_MAX_BYTES ((size_t)1 << 20)

struct walk {
    struct build *b;
    const struct cf_token *at;
    bool (*each)(void *ctx, const struct cf_token *at, const char *path);
    void *ctx;
    size_t files;
};

static bool walk_folder(struct walk *w, const char *path, int depth);

static bool walk_entry(struct walk *w, const char *path, struct slice name, int depth)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        cf_error(w->b->diags, w->at, "%s cannot be read: %s", path, strerror(errno));
        return false;
    }
    if (S_ISDIR(st.st_mode)) {
        return depth >= DEPTH_MAX || walk_folder(w, path, depth + 1);
    }
    if (!S_ISREG(st.st_mode) || !slice_ends(name, S(".pem"))) {
        return true;
    }
    if (w->files++ >= FILES_MAX) {
        cf_error(w->b->diags, w->at, "more than %d certificates to load", FILES_MAX);
        return false;
    }
    return w->each(w->ctx, w->at, path);
}

static int not_hidden(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static bool walk_folder(struct walk *w, const char *path, int depth)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, not_hidden, alphasort);
    if (count < 0) {
        cf_error(w->b->diags, w->at, "the folder %s cannot be read: %s", path, strerror(errno));
        return false;
    }
    bool ok = true;
    for (int i = 0; i < count; i++) {
        struct slice name = slice_str(entries[i]->d_name);
        struct slice full = arena_printf(w->b->arena, "%s/%s", path, entries[i]->d_name);
        must(full.p);
        ok = ok && walk_entry(w, full.p, name, depth);
        free(entries[i]);
    }
    free(entries);
    return ok;
}

bool tls_each_pem(struct build *b, const struct cf_token *at,
                  bool (*each)(void *ctx, const struct cf_token *at, const char *path), void *ctx)
{
    struct walk w = {b, at, each, ctx, 0};
    return walk_folder(&w, at->text.p, 0);
}

struct loading {
    struct build *b;
    struct tls_settings *t;
    size_t cap;
};

static bool load_file(void *ctx, const struct cf_token *at, const char *path)
{
    struct loading *l = ctx;
    struct dstr pem;
    struct err err;
    dstr_init(&pem, PEM_MAX_BYTES);
    bool ok = tls_read_into(l->b, at, path, &pem);
    struct cert_source *source =
        ok ? cert_source_new(dstr_slice(&pem), dstr_slice(&pem), &err) : NULL;
    if (ok && !source) {
        cf_error(l->b->diags, at, "%s is no certificate with its key: %s", path, err.text);
    }
    if (pem.p) {
        explicit_bzero(pem.p, pem.cap);
    }
    dstr_fini(&pem);
    if (!source) {
        return false;
    }
    tls_own(l->b, source);
    if (l->t->loaded_count == l->cap) {
        struct cert_source **more =
            ARENA_ARRAY(l->b->arena, struct cert_source *, l->cap * 2 + 16);
        must(more);
        if (l->cap) {
            memcpy(more, l->t->loaded, l->cap * sizeof(*more));
        }
        l->t->loaded = more;
        l->cap = l->cap * 2 + 16;
    }
    l->t->loaded[l->t->loaded_count++] = source;
    return true;
}

TLS_SUBDIRECTIVE(tls_read_load)
{
    struct loading l = {.b = b, .t = t, .cap = t->loaded_count};
    bool ok = expect_args(b, d, d->arg_count, 1, 100) && expect_no_block(b, d);
    for (size_t i = 0; ok && i < d->arg_count; i++) {
        ok = tls_each_pem(b, &d->args[i], load_file, &l);
    }
    if (ok && !t->loaded_count) {
        cf_warning(b->diags, &d->name, "no file *.pem was found to load");
    }
    return ok;
}
