/* Matcher: is there a file?
 *   file [FILES...] [{ root PATH; try_files FILES...; try_policy POLICY; split_path PARTS... }]
 * FILES (default: the request's path) are below root (default {vars.root}, else the working
 * folder), with placeholders and globs; one written with a final "/" is a folder, others are none
 * (whatever a placeholder ends with, as in Caddy); =404 as one of them answers with that status.
 * What is found is in {file_match.relative}, .absolute, .type and .remainder.
 *
 * The disk is looked at by a job, because a worker must not wait for it. Which name is tried is
 * decided from cleaned texts: no ".." leads out of root, no NUL hides an end; symbolic links are
 * followed, as in Caddy. */
#include <glob.h>
#include <limits.h>
#include <sys/stat.h>

#include "proxy/route/match.h"
#include "proxy/route/match_wait.h"
#include "proxy/route/path.h"
#include "proxy/route/vars.h"

#define FILES_MAX 64u /* names in one matcher */
#define GLOB_RESULTS_MAX 4096u

enum try_policy {
    FIRST_EXIST,
    FIRST_EXIST_FALLBACK,
    SMALLEST_SIZE,
    LARGEST_SIZE,
    MOST_RECENTLY_MODIFIED,
};

static const struct slice policy_names[] = {
    S_INIT("first_exist"),  S_INIT("first_exist_fallback"),   S_INIT("smallest_size"),
    S_INIT("largest_size"), S_INIT("most_recently_modified"),
};

struct file_matcher {
    struct template *root; /* NULL: {vars.root} */
    struct match_values files;
    unsigned file_count;
    uint64_t folders; /* bit i: files[i] is written with a final "/", so it is a folder */
    enum try_policy policy;
    struct slice *split;
    size_t split_count;
};

/* ---- reading --------------------------------------------------------------------------------- */

static bool add_file(struct match_line *line, struct file_matcher *f, const struct cf_token *t)
{
    uint64_t code;
    if (f->file_count == FILES_MAX) {
        cf_error(line->diags, t, "more than %u files", FILES_MAX);
        return false;
    }
    if (slice_starts(t->text, S("=")) &&
        (!slice_u64(slice_from(t->text, 1), 599, &code) || code < 400)) {
        cf_error(line->diags, t, "\"%.*s\" is no status such as =404", SLICE_ARG(t->text));
        return false;
    }
    f->folders |= (uint64_t)slice_ends(t->text, S("/")) << f->file_count;
    f->file_count++;
    return match_value_add(line, &f->files, t);
}

static bool add_files(struct match_line *line, struct file_matcher *f, const struct cf_token *args,
                      size_t count)
{
    bool ok = true;
    for (size_t i = 0; i < count && ok; i++) {
        ok = add_file(line, f, &args[i]);
    }
    return ok;
}

static bool read_policy(struct match_line *line, struct file_matcher *f, const struct cf_token *t)
{
    for (size_t i = 0; i < ARRAY_LEN(policy_names); i++) {
        if (slice_eq(policy_names[i], t->text)) {
            f->policy = (enum try_policy)i;
            return true;
        }
    }
    struct cf_diag *d = cf_error(line->diags, t, "\"%.*s\" is no try_policy", SLICE_ARG(t->text));
    if (d) {
        cf_did_you_mean(line->diags, d, t->text, policy_names, ARRAY_LEN(policy_names));
    }
    return false;
}

static bool read_split(struct match_line *line, struct file_matcher *f,
                       const struct cf_directive *d)
{
    f->split = ARENA_ARRAY(line->arena, struct slice, d->arg_count);
    must(f->split);
    f->split_count = d->arg_count;
    for (size_t i = 0; i < d->arg_count; i++) {
        f->split[i] = d->args[i].text;
    }
    return true;
}

static bool read_option(struct match_line *line, struct file_matcher *f,
                        const struct cf_directive *d)
{
    static const struct slice names[] = {S_INIT("root"), S_INIT("try_files"), S_INIT("try_policy"),
                                         S_INIT("split_path")};
    bool files = slice_eq(d->name.text, names[1]);
    bool split = slice_eq(d->name.text, names[3]);
    bool root = slice_eq(d->name.text, names[0]);
    if (!files && !split && !root && !slice_eq(d->name.text, names[2])) {
        struct cf_diag *diag = cf_error(line->diags, &d->name, "the matcher file has no option"
                                        " \"%.*s\"", SLICE_ARG(d->name.text));
        if (diag) {
            cf_did_you_mean(line->diags, diag, d->name.text, names, ARRAY_LEN(names));
        }
        return false;
    }
    if (d->arg_count == 0 || (d->arg_count > 1 && !files && !split) || d->has_block) {
        cf_error(line->diags, &d->name, "\"%.*s\" needs %s, and no block", SLICE_ARG(d->name.text),
                 files || split ? "at least one value" : "one value");
        return false;
    }
    if (root) {
        f->root = template_compile(line->arena, &d->args[0], line->diags);
        return f->root != NULL;
    }
    return files   ? add_files(line, f, d->args, d->arg_count)
           : split ? read_split(line, f, d)
                   : read_policy(line, f, &d->args[0]);
}

static bool read_file(struct match_line *line, struct matcher *m)
{
    struct file_matcher *f = m->data ? m->data : ARENA_NEW(line->arena, struct file_matcher);
    must(f);
    m->data = f;
    bool ok = add_files(line, f, line->args, line->count);
    for (const struct cf_directive *d = line->children; d; d = d->next) {
        ok = read_option(line, f, d) && ok;
    }
    return ok;
}

/* ---- what to look for ------------------------------------------------------------------------ */

struct candidate {
    char *pattern;          /* root and name, glob characters of values escaped */
    struct slice remainder; /* what split_path left over */
    int status;             /* "=404": no file, but this answer */
    bool is_folder;         /* the name ends in "/" */
    bool is_glob;
};

struct file_answer {
    struct match_answer answer;
    enum try_policy policy;
    unsigned count;
    struct candidate *candidates;
    /* What the job found. */
    int chosen; /* a candidate, or -1 */
    bool folder;
    char path[PATH_MAX];
};

/* For glob(3): the value's own characters, whatever they are. */
static struct slice escape_glob(struct exchange *ex, struct slice value)
{
    char *p = arena_alloc(&ex->arena, value.n * 2 + 1);
    size_t n = 0;
    for (size_t i = 0; p && i < value.n; i++) {
        if (memchr("*?[\\", value.p[i], 4)) {
            p[n++] = '\\';
        }
        p[n++] = value.p[i];
    }
    return p ? slice_of(p, n) : S("");
}

static bool has_glob(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\') {
            i++;
        } else if (memchr("*?[", s.p[i], 3)) {
            return true;
        }
    }
    return false;
}

static struct slice unescape_glob(struct arena *a, struct slice s)
{
    char *p = arena_alloc(a, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; p && i < s.n; i++) {
        i += s.p[i] == '\\' && i + 1 < s.n;
        p[n++] = s.p[i];
    }
    return p ? slice_of(p, n) : S("");
}

/* Cuts name behind the first of the split parts that ends a part of the path. */
static void split_name(const struct file_matcher *f, struct slice *name, struct slice *remainder)
{
    *remainder = S("");
    for (size_t k = 0; k < f->split_count; k++) {
        struct slice part = f->split[k];
        for (size_t i = 0; part.n && i + part.n <= name->n; i++) {
            size_t end = i + part.n;
            if (slice_eq_case(slice_of(name->p + i, part.n), part) &&
                (end == name->n || name->p[end] == '/')) {
                *remainder = slice_from(*name, end);
                *name = slice_upto(*name, end);
                return;
            }
        }
    }
}

static bool add_candidate(struct file_answer *fa, const struct file_matcher *f,
                          struct exchange *ex, struct slice root, struct slice written,
                          bool is_folder)
{
    struct candidate *c = &fa->candidates[fa->count++];
    uint64_t status;
    *c = (struct candidate){.pattern = NULL};
    if (slice_starts(written, S("=")) && slice_u64(slice_from(written, 1), 599, &status)) {
        c->status = (int)status;
        return true;
    }
    struct slice name = path_clean_raw(&ex->arena, written, false);
    bool nul = name.n && memchr(name.p, 0, name.n);
    c->is_folder = is_folder;
    split_name(f, &name, &c->remainder);
    c->is_glob = has_glob(name);
    if (!c->is_glob) {
        name = unescape_glob(&ex->arena, name);
    }
    struct slice whole = arena_printf(&ex->arena, "%.*s%.*s", SLICE_ARG(root), SLICE_ARG(name));
    c->pattern = nul ? NULL : arena_cstr(&ex->arena, whole);
    return whole.p && (nul || c->pattern);
}

/* Root without a final slash, as glob(3) wants it. */
static struct slice root_of(const struct file_matcher *f, struct exchange *ex, bool escaped)
{
    struct slice root = f->root ? template_eval(f->root, ex)
                                : vars_value(ex, S("http.vars.root"));
    root = root.n ? root : S(".");
    while (root.n && root.p[root.n - 1] == '/') {
        root.n--;
    }
    return escaped ? escape_glob(ex, root) : root;
}

static bool make_candidates(struct file_answer *fa, const struct file_matcher *f,
                            struct exchange *ex)
{
    fa->candidates = ARENA_ARRAY(&ex->arena, struct candidate, f->file_count + 1);
    if (!fa->candidates) {
        return false;
    }
    fa->policy = f->policy;
    if (!f->files.first) {
        struct slice path = path_decode(&ex->arena, ex->req.path);
        return add_candidate(fa, f, ex, root_of(f, ex, false), escape_glob(ex, path),
                             slice_ends(path, S("/")));
    }
    uint64_t folders = f->folders;
    for (const struct match_value *v = f->files.first; v; v = v->next, folders >>= 1) {
        struct slice name = template_eval_escaped(v->text, ex, escape_glob);
        if (!add_candidate(fa, f, ex, root_of(f, ex, has_glob(name)), name,
                           folders & 1)) {
            return false;
        }
    }
    return !ex->arena.failed;
}

/* ---- looking (on a job's thread) ------------------------------------------------------------- */

struct best {
    struct stat st;
    bool any;
};

static bool is_better(enum try_policy policy, const struct stat *st, const struct best *best)
{
    if (!best->any) {
        return true;
    }
    const struct timespec *a = &st->st_mtim;
    const struct timespec *b = &best->st.st_mtim;
    return policy == SMALLEST_SIZE  ? st->st_size < best->st.st_size
           : policy == LARGEST_SIZE ? st->st_size > best->st.st_size
                                    : a->tv_sec > b->tv_sec ||
                                          (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

static void choose(struct file_answer *fa, int which, const char *path, bool folder)
{
    size_t n = strlen(path);
    if (n >= sizeof(fa->path)) {
        return; /* nobody could open it either */
    }
    memcpy(fa->path, path, n + 1);
    fa->chosen = which;
    fa->folder = folder;
}

/* One existing name; true: it decides. */
static bool try_path(struct file_answer *fa, unsigned i, const char *path, struct best *best)
{
    struct stat st;
    bool first = fa->policy == FIRST_EXIST || fa->policy == FIRST_EXIST_FALLBACK;
    if (stat(path, &st) != 0) {
        return false;
    }
    if (first) {
        if (S_ISDIR(st.st_mode) != fa->candidates[i].is_folder) {
            return false;
        }
        choose(fa, (int)i, path, S_ISDIR(st.st_mode));
        return true;
    }
    if (is_better(fa->policy, &st, best)) {
        choose(fa, (int)i, path, S_ISDIR(st.st_mode));
        best->st = st;
        best->any = true;
    }
    return false;
}

static bool try_glob(struct file_answer *fa, unsigned i, struct best *best)
{
    glob_t found = {0};
    bool decided = false;
    if (glob(fa->candidates[i].pattern, 0, NULL, &found) == 0) {
        for (size_t k = 0; k < found.gl_pathc && k < GLOB_RESULTS_MAX && !decided; k++) {
            decided = try_path(fa, i, found.gl_pathv[k], best);
        }
    }
    globfree(&found);
    return decided;
}

static void look(struct job *job)
{
    struct match_answer *answer = container_of(job, struct match_answer, job);
    struct file_answer *fa = container_of(answer, struct file_answer, answer);
    struct best best = {.any = false};
    bool decided = false;
    for (unsigned i = 0; i < fa->count && !decided; i++) {
        struct candidate *c = &fa->candidates[i];
        if (c->status) {
            fa->chosen = fa->chosen < 0 ? (int)i : fa->chosen;
            return;
        }
        if (!c->pattern) {
            continue;
        }
        if (fa->policy == FIRST_EXIST_FALLBACK && i + 1 == fa->count) {
            choose(fa, (int)i, c->pattern, c->is_folder);
            return;
        }
        decided = c->is_glob ? try_glob(fa, i, &best) : try_path(fa, i, c->pattern, &best);
    }
}

/* ---- the answer ------------------------------------------------------------------------------ */

static bool set_variables(const struct file_answer *fa, const struct file_matcher *f,
                          struct exchange *ex)
{
    struct slice absolute = arena_copy(&ex->arena, slice_str(fa->path));
    struct slice root = root_of(f, ex, false);
    struct slice relative = slice_starts(absolute, root) ? slice_from(absolute, root.n) : absolute;
    if (!slice_starts(relative, S("/"))) {
        relative = arena_printf(&ex->arena, "/%.*s", SLICE_ARG(relative));
    }
    return vars_set(ex, S("http.matchers.file.relative"), relative) &&
           vars_set(ex, S("http.matchers.file.absolute"), absolute) &&
           vars_set(ex, S("http.matchers.file.type"), fa->folder ? S("directory") : S("file")) &&
           vars_set(ex, S("http.matchers.file.remainder"), fa->candidates[fa->chosen].remainder);
}

static enum match_result read_answer(const struct file_answer *fa, const struct file_matcher *f,
                                     struct exchange *ex)
{
    if (fa->chosen < 0) {
        return MATCH_NO;
    }
    if (fa->candidates[fa->chosen].status) {
        ex->match_status = fa->candidates[fa->chosen].status;
        return MATCH_FAILED;
    }
    return set_variables(fa, f, ex) && !ex->arena.failed ? MATCH_YES : MATCH_FAILED;
}

static enum match_result file_matches(const struct matcher *m, struct exchange *ex)
{
    struct match_answer *known = match_answer_find(ex, m);
    if (known) {
        return read_answer(container_of(known, struct file_answer, answer), m->data, ex);
    }
    struct file_answer *fa = arena_alloc(&ex->arena, sizeof(*fa));
    if (!fa) {
        return MATCH_FAILED;
    }
    fa->count = 0;
    fa->chosen = -1;
    if (!make_candidates(fa, m->data, ex)) {
        return MATCH_FAILED;
    }
    if (!match_answer_ask(ex, m, &fa->answer, look)) {
        ex->match_status = 503;
        ex->error_detail = S("too many requests wait for the disk");
        return MATCH_FAILED;
    }
    return MATCH_WAIT;
}

static bool may_wait(const struct matcher *m)
{
    (void)m;
    return true;
}

const struct matcher_kind match_file = {
    .name = S_INIT("file"),
    .read = read_file,
    .matches = file_matches,
    .has_block = true,
    .no_arguments = true,
    .may_wait = may_wait,
};
