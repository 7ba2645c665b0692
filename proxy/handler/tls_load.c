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

struct loading {
    struct build *b;
    struct tls_settings *t;
    const struct cf_token *at;
    size_t cap;
};

static bool load_file(struct loading *l, const char *path)
{
    struct dstr pem;
    struct err err;
    dstr_init(&pem, PEM_MAX_BYTES);
    bool ok = tls_read_into(l->b, l->at, path, &pem);
    struct cert_source *source =
        ok ? cert_source_new(dstr_slice(&pem), dstr_slice(&pem), &err) : NULL;
    if (ok && !source) {
        cf_error(l->b->diags, l->at, "%s is no certificate with its key: %s", path, err.text);
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

static bool load_folder(struct loading *l, const char *path, int depth);

static bool load_entry(struct loading *l, const char *path, struct slice name, int depth)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        cf_error(l->b->diags, l->at, "%s cannot be read: %s", path, strerror(errno));
        return false;
    }
    if (S_ISDIR(st.st_mode)) {
        return depth >= DEPTH_MAX || load_folder(l, path, depth + 1);
    }
    return !S_ISREG(st.st_mode) || !slice_ends(name, S(".pem")) || load_file(l, path);
}

static int not_hidden(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static bool load_folder(struct loading *l, const char *path, int depth)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, not_hidden, alphasort);
    if (count < 0) {
        cf_error(l->b->diags, l->at, "the folder %s cannot be read: %s", path, strerror(errno));
        return false;
    }
    bool ok = true;
    for (int i = 0; i < count; i++) {
        struct slice name = slice_str(entries[i]->d_name);
        struct slice full = arena_printf(l->b->arena, "%s/%s", path, entries[i]->d_name);
        must(full.p);
        if (ok && l->t->loaded_count >= FILES_MAX) {
            cf_error(l->b->diags, l->at, "more than %d certificates to load", FILES_MAX);
            ok = false;
        }
        ok = ok && load_entry(l, full.p, name, depth);
        free(entries[i]);
    }
    free(entries);
    return ok;
}

TLS_SUBDIRECTIVE(tls_read_load)
{
    struct loading l = {.b = b, .t = t, .cap = t->loaded_count};
    bool ok = expect_args(b, d, d->arg_count, 1, 100) && expect_no_block(b, d);
    for (size_t i = 0; ok && i < d->arg_count; i++) {
        l.at = &d->args[i];
        ok = load_folder(&l, d->args[i].text.p, 0);
    }
    if (ok && !t->loaded_count) {
        cf_warning(b->diags, &d->name, "no file *.pem was found to load");
    }
    return ok;
}
