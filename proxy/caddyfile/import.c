/* Where text comes from: files, standard input, and snippets by name.
 *
 * In:  a path, or an import line.
 * Out: sources and their lexemes, one import at a time. Found here: what is missing, what imports
 *      itself, what is too large.
 * Files are read whole, at most max_bytes together; imported ones must be regular files, so that a
 * reload never waits for a FIFO. */
#include "proxy/caddyfile/parser.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/mem.h"

#define NAMES_MAX 256 /* snippets that are compared for a suggestion */
#define READ_STEP ((size_t)64 * 1024)

/* ---- sources ----------------------------------------------------------------------------- */

/* An unset variable is nothing, as in Caddy, but seldom on purpose: "{$DOMAIN} { ... }" turns into
 * a block of global options. In comments it does not matter. */
static void warn_of_unset(struct parser *p, const struct cf_source *source,
                          const struct cf_unset *unset, const struct cf_token *at)
{
    struct cf_token place = {.at = {source, 1, 1, at ? &at->at : NULL}};
    size_t line_start = 0;
    for (size_t i = 0, byte = 0; i < unset->count; i++) {
        for (; byte < unset->at[i]; byte++) {
            if (source->text.p[byte] == '\n') {
                place.at.line++;
                line_start = byte + 1;
            }
        }
        struct slice before = slice_upto(slice_from(source->text, line_start),
                                         unset->at[i] - line_start);
        if (slice_starts(slice_trim(before), S("#"))) {
            continue;
        }
        place.at.column = (unsigned)before.n + 1;
        struct cf_diag *diag =
            cf_warning(p->diags, &place, "the environment variable \"%.*s\" is not set",
                       SLICE_ARG(unset->names[i]));
        if (diag) {
            diag->hint = arena_printf(&p->diags->arena, "write {$%.*s:} if it may be empty",
                                      SLICE_ARG(unset->names[i]));
        }
    }
}

const struct cf_source *cf_new_source(struct parser *p, struct slice name, struct slice text,
                                      const struct cf_token *at)
{
    struct arena *a = &p->doc->arena;
    struct cf_source *source = ARENA_NEW(a, struct cf_source);
    if (!source) {
        cf_stop(p, at, "out of memory");
        return NULL;
    }
    if (slice_starts(text, S("\xef\xbb\xbf"))) {
        text = slice_from(text, 3); /* a byte order mark */
    }
    struct cf_unset unset;
    source->name = arena_copy(a, name);
    if (text.n > p->bytes_left ||
        !cf_replace_env(a, text, p->options, p->bytes_left, &source->text, &unset)) {
        cf_stop(p, at, "the configuration is too long, all its files together");
        return NULL;
    }
    p->bytes_left -= source->text.n;
    *p->last_source = source;
    p->last_source = &source->next;
    warn_of_unset(p, source, &unset, at);
    return source;
}

/* Opens what may be read as a configuration; -1 and errno if it may not. */
static int open_file(const char *path, bool imported, struct import_frame *frame)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | (imported ? O_NONBLOCK : 0));
    if (fd < 0) {
        return -1;
    }
    int why = fstat(fd, &st) != 0                       ? errno
              : S_ISDIR(st.st_mode)                     ? EISDIR
              : imported && !S_ISREG(st.st_mode)        ? EINVAL
                                                        : 0;
    if (why) {
        close(fd);
        errno = why;
        return -1;
    }
    frame->dev = st.st_dev;
    frame->ino = st.st_ino;
    return fd;
}

/* Up to max bytes; reading more than that fails d. False: errno. */
static bool read_all(int fd, struct dstr *d)
{
    for (;;) {
        char *space = dstr_reserve(d, READ_STEP);
        if (!space) {
            d->failed = true;
            return true;
        }
        ssize_t n = read(fd, space, READ_STEP);
        if (n == 0) {
            return true;
        }
        if (n > 0) {
            d->n += (size_t)n;
        } else if (errno != EINTR) {
            return false;
        }
    }
}

const struct cf_source *cf_read_source(struct parser *p, const char *path,
                                       const struct cf_token *at, struct import_frame *frame)
{
    bool is_stdin = !at && slice_eq(slice_str(path), S("-"));
    int fd = is_stdin ? STDIN_FILENO : open_file(path, at != NULL, frame);
    if (fd < 0) {
        const char *why = errno == EINVAL ? "it is no regular file" : strerror(errno);
        cf_error(p->diags, at, "cannot read the file \"%s\": %s", path, why);
        return NULL;
    }
    struct dstr d;
    /* One step more than allowed, so that the last read has room to find the end. */
    dstr_init(&d, p->bytes_left < SIZE_MAX - 2 * READ_STEP ? p->bytes_left + 2 * READ_STEP
                                                           : SIZE_MAX);
    bool read_ok = read_all(fd, &d);
    int why = errno;
    if (!is_stdin) {
        close(fd);
    }
    const struct cf_source *source = NULL;
    if (!read_ok) {
        cf_error(p->diags, at, "cannot read the file \"%s\": %s", path, strerror(why));
    } else if (d.failed) {
        cf_stop(p, at, "the configuration is too long, all its files together");
    } else {
        source = cf_new_source(p, is_stdin ? S("stdin") : slice_str(path), dstr_slice(&d), at);
    }
    dstr_fini(&d);
    return source;
}

/* ---- snippets ---------------------------------------------------------------------------- */

void cf_add_snippet(struct parser *p, const struct cf_token *name, const struct lexemes *body)
{
    struct slice key = slice_upto(slice_from(name->text, 1), name->text.n - 2);
    const struct snippet *there = map_get(&p->snippets, key);
    if (there) {
        struct cf_diag *diag = cf_error(p->diags, name, "the snippet \"%.*s\" is defined twice",
                                        SLICE_ARG(key));
        if (diag) {
            diag->hint = arena_printf(&p->diags->arena, "first defined at %.*s:%u",
                                      SLICE_ARG(there->name.at.source->name), there->name.at.line);
        }
        return;
    }
    struct snippet *s = ARENA_NEW(&p->doc->arena, struct snippet);
    if (!s) {
        cf_stop(p, name, "out of memory");
        return;
    }
    s->name = *name;
    s->body = body;
    (void)map_put(&p->snippets, key, s);
}

static const struct import_frame *frame_above(const struct cf_place *at)
{
    /* `at` is the first member; container_of would cast the const away. */
    _Static_assert(offsetof(struct import_frame, at) == 0, "the place comes first");
    return (const struct import_frame *)(const void *)at->imported_from;
}

/* Was this import line itself brought by what it is about to bring? */
static bool is_cycle(const struct parser *p, const struct import *im,
                     const struct import_frame *wanted)
{
    for (const struct import_frame *f = frame_above(&im->word->at); f; f = frame_above(&f->at)) {
        if (wanted->snippet ? f->snippet == wanted->snippet
                            : !f->snippet && f->dev == wanted->dev && f->ino == wanted->ino) {
            return true;
        }
    }
    return !wanted->snippet && wanted->ino == p->root_ino && wanted->dev == p->root_dev &&
           p->root_ino != 0;
}

/* After an error: what the import should have brought is missing. */
static bool lose(struct parser *p)
{
    p->lost++;
    p->diags->incomplete = true;
    return false;
}

static struct import_frame *new_frame(struct parser *p, const struct import *im)
{
    struct import_frame *f = ARENA_NEW(&p->doc->arena, struct import_frame);
    if (!f) {
        cf_stop(p, im->word, "out of memory");
        return NULL;
    }
    f->at = im->word->at;
    f->snippet = im->snippet;
    return f;
}

/* ---- an import line ---------------------------------------------------------------------- */

static void suggest_snippet(struct parser *p, struct cf_diag *diag, struct slice word)
{
    struct slice names[NAMES_MAX];
    size_t count = 0;
    size_t at = 0;
    for (struct map_entry *e; count < NAMES_MAX && (e = map_next(&p->snippets, &at));) {
        names[count++] = e->key;
    }
    cf_did_you_mean(p->diags, diag, word, names, count);
}

/* Relative to the folder of the file the import line is written in. */
static char *join(const struct cf_token *what)
{
    struct slice file = what->at.source->name;
    size_t slash = slice_rfind(file, '/');
    struct dstr d;
    dstr_init(&d, SIZE_MAX / 2);
    if (what->text.p[0] != '/' && slash != SLICE_NPOS) {
        dstr_append(&d, slice_upto(file, slash + 1));
    }
    dstr_append(&d, what->text);
    char *path = mem_dup(dstr_slice(&d));
    dstr_fini(&d);
    return path;
}

static size_t count_of(struct slice s, char c)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        n += s.p[i] == c;
    }
    return n;
}

/* Expands the one wildcard. False: nothing to import, and a diagnostic says why. */
static bool begin_glob(struct parser *p, struct import *im)
{
    const struct cf_token *what = &im->args[0];
    if (count_of(what->text, '*') > 1 || count_of(what->text, '?') > 1 ||
        slice_find(what->text, '[') != SLICE_NPOS) {
        cf_error(p->diags, what, "an import may have one \"*\" or \"?\", and no \"[\"");
        return lose(p);
    }
    im->is_glob = true;
    int r = glob(im->path, GLOB_MARK | GLOB_NOESCAPE, NULL, &im->found);
    if (r != 0 && r != GLOB_NOMATCH) {
        cf_error(p->diags, what, "cannot list the files of \"%s\"", im->path);
        return lose(p);
    }
    if (r == GLOB_NOMATCH) {
        cf_warning(p->diags, what, "no file matches \"%s\"", im->path);
        return false;
    }
    return true;
}

bool cf_import_begin(struct parser *p, struct import *im)
{
    if (im->arg_count == 0) {
        cf_error(p->diags, im->word, "import needs the name of a snippet or file");
        return lose(p);
    }
    const struct cf_token *what = &im->args[0];
    im->snippet = map_get(&p->snippets, what->text);
    if (im->snippet) {
        return true;
    }
    if (what->text.n == 0 || memchr(what->text.p, 0, what->text.n)) {
        cf_error(p->diags, what, "the name of what is imported is empty");
        return lose(p);
    }
    if (p->options && p->options->no_files) {
        struct cf_diag *diag = cf_error(p->diags, what, "there is no snippet \"%.*s\", and files "
                                        "cannot be imported here", SLICE_ARG(what->text));
        suggest_snippet(p, diag, what->text);
        return lose(p);
    }
    im->path = join(what);
    if (count_of(what->text, '*') || count_of(what->text, '?')) {
        return begin_glob(p, im);
    }
    if (slice_find(what->text, '/') == SLICE_NPOS && access(im->path, F_OK) != 0) {
        struct cf_diag *diag = cf_error(p->diags, what, "there is no snippet \"%.*s\" above this "
                                        "line, and no file \"%s\"", SLICE_ARG(what->text),
                                        im->path);
        suggest_snippet(p, diag, what->text);
        return lose(p);
    }
    return true;
}

static bool next_snippet(struct parser *p, struct import *im, struct cursor *out)
{
    struct import_frame *frame = im->next++ == 0 ? new_frame(p, im) : NULL;
    if (!frame) {
        return false;
    }
    if (is_cycle(p, im, frame)) {
        cf_error(p->diags, im->word, "the snippet \"%.*s\" imports itself",
                 SLICE_ARG(im->args[0].text));
        return lose(p);
    }
    const struct lexemes *text = cf_expand(p, im, im->snippet->body, frame);
    *out = text ? cf_cursor(text) : *out;
    return text != NULL;
}

static bool read_file(struct parser *p, struct import *im, const char *path, struct cursor *out)
{
    struct import_frame *frame = new_frame(p, im);
    const struct cf_source *source =
        frame ? cf_read_source(p, path, &im->args[0], frame) : NULL;
    if (!source) {
        return lose(p);
    }
    if (is_cycle(p, im, frame)) {
        cf_error(p->diags, im->word, "the file \"%s\" imports itself", path);
        return lose(p);
    }
    struct lexemes *raw = cf_lexemes_new(p);
    cf_lex(p, source, &frame->at, raw);
    if (raw->count == 0 && !p->stopped) {
        cf_warning(p->diags, &im->args[0], "the imported file \"%s\" is empty", path);
    }
    const struct lexemes *text = p->stopped ? NULL : cf_expand(p, im, raw, frame);
    *out = text ? cf_cursor(text) : *out;
    return text != NULL;
}

bool cf_import_next(struct parser *p, struct import *im, struct cursor *out)
{
    if (im->snippet) {
        return next_snippet(p, im, out);
    }
    while (!p->stopped && im->next < (im->is_glob ? im->found.gl_pathc : 1)) {
        const char *path = im->is_glob ? im->found.gl_pathv[im->next] : im->path;
        im->next++;
        if (im->is_glob && slice_ends(slice_str(path), S("/"))) {
            continue; /* a folder that matches */
        }
        if (read_file(p, im, path, out)) {
            return true;
        }
    }
    return false;
}

void cf_import_end(struct import *im)
{
    if (im->is_glob) {
        globfree(&im->found);
    }
    free(im->path);
}
