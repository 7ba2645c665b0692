/* browse {
 *     sort name|namedirfirst|size|time [asc|desc]   the order at first (namedirfirst)
 *     file_limit <n>                                so many entries at the most (10000)
 *     reveal_symlinks                               shows where links lead
 * }
 * A folder as a page that people can sort (?sort=size&order=desc) and search, or as JSON for those
 * who ask for application/json. Hidden names are not in it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/mem.h"
#include "proxy/handler/file_server.h"

#define MODE_FOLDER 0x80000000u /* as Go has it in a mode */

struct entry {
    char *name; /* owned */
    char *link; /* where it leads; owned, or NULL */
    uint64_t size;
    int64_t modified_ms;
    unsigned mode; /* permissions */
    bool folder, symlink;
};

struct listing {
    struct entry *items;
    size_t count, cap;
    bool cut; /* there are more */
};

/* ---- reading the folder ---------------------------------------------------------------------- */

static bool grow(struct listing *l)
{
    if (l->count < l->cap) {
        return true;
    }
    size_t cap = l->cap ? 2 * l->cap : 64;
    struct entry *items = realloc(l->items, cap * sizeof(*items));
    if (items) {
        l->items = items;
        l->cap = cap;
    }
    return items != NULL;
}

static char *link_of(int folder, const char *name)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(folder, name, target, sizeof(target) - 1);
    if (n < 0) {
        return NULL;
    }
    target[n] = '\0';
    return strdup(target);
}

/* One entry; what cannot be looked at is left out. */
static void add_entry(const struct file_look *look, struct listing *l, int folder,
                      const char *name)
{
    struct stat st, target;
    char path[PATH_MAX];
    const char *slash = slice_ends(look->path, S("/")) ? "" : "/";
    int n = snprintf(path, sizeof(path), "%s%s%s", look->wanted.path, slash, name);
    if (n < 0 || (size_t)n >= sizeof(path) || look->wanted.hidden(look->wanted.ctx, path) ||
        fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !grow(l)) {
        return;
    }
    bool symlink = S_ISLNK(st.st_mode);
    if (symlink && fstatat(folder, name, &target, 0) == 0) {
        st = target;
    }
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode)) {
        return;
    }
    struct entry e = {.name = strdup(name), .symlink = symlink, .folder = S_ISDIR(st.st_mode),
                      .size = (uint64_t)st.st_size,
                      .modified_ms = (int64_t)st.st_mtim.tv_sec * 1000,
                      .mode = st.st_mode & 0777};
    if (e.name) {
        e.link = symlink && look->server->reveals_symlinks ? link_of(folder, name) : NULL;
        l->items[l->count++] = e;
    }
}

static bool read_folder(const struct file_look *look, struct listing *l)
{
    int fd = dup(look->found.fd);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return false;
    }
    const struct dirent *d;
    while ((d = readdir(dir))) {
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0) {
            continue;
        }
        if (l->count == look->server->list_max) {
            l->cut = true;
            break;
        }
        add_entry(look, l, look->found.fd, d->d_name);
    }
    (void)closedir(dir);
    return true;
}

static void free_listing(struct listing *l)
{
    for (size_t i = 0; i < l->count; i++) {
        free(l->items[i].name);
        free(l->items[i].link);
    }
    free(l->items);
}

/* ---- order ----------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int folded = strcasecmp(x->name, y->name);
    return folded ? folded : strcmp(x->name, y->name);
}

static int by_name_folders_first(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return x->folder != y->folder ? (x->folder ? -1 : 1) : by_name(a, b);
}

static int by_size(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return x->folder != y->folder ? (x->folder ? -1 : 1)
           : x->size != y->size   ? (x->size < y->size ? -1 : 1)
                                  : by_name(a, b);
}

static int by_time(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return x->modified_ms != y->modified_ms ? (x->modified_ms < y->modified_ms ? -1 : 1)
                                            : by_name(a, b);
}

static const struct {
    struct slice name;
    int (*compare)(const void *a, const void *b);
} sorts[] = {
    [FILE_SORT_NAME_DIR_FIRST] = {S_INIT("namedirfirst"), by_name_folders_first},
    [FILE_SORT_NAME] = {S_INIT("name"), by_name},
    [FILE_SORT_SIZE] = {S_INIT("size"), by_size},
    [FILE_SORT_TIME] = {S_INIT("time"), by_time},
};

static bool sort_named(struct slice name, enum file_sort *out)
{
    for (size_t i = 0; i < ARRAY_LEN(sorts); i++) {
        if (slice_eq(sorts[i].name, name)) {
            *out = (enum file_sort)i;
            return true;
        }
    }
    return false;
}

struct order {
    enum file_sort sort;
    bool descending;
};

static struct order order_of(const struct file_look *look)
{
    struct order o = {look->server->sort, look->server->sort_descending};
    if (sort_named(look->sort_query, &o.sort)) {
        o.descending = false;
    }
    if (look->order_query.n) {
        o.descending = slice_eq(look->order_query, S("desc"));
    }
    return o;
}

static void sort(struct listing *l, struct order o)
{
    if (l->count < 2) {
        return;
    }
    qsort(l->items, l->count, sizeof(*l->items), sorts[o.sort].compare);
    for (size_t i = 0; o.descending && i < l->count / 2; i++) {
        struct entry e = l->items[i];
        l->items[i] = l->items[l->count - 1 - i];
        l->items[l->count - 1 - i] = e;
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

/* A name as one part of a relative reference. */
static void append_reference(struct dstr *out, const char *name)
{
    dstr_append(out, S("./")); /* a colon in it is no scheme */
    for (const char *p = name; *p; p++) {
        bool plain = ascii_is_alpha(*p) || ascii_is_digit(*p) || strchr("-._~", *p);
        if (plain) {
            dstr_byte(out, *p);
        } else {
            dstr_printf(out, "%%%02X", (unsigned)(unsigned char)*p);
        }
    }
}

static void append_size(struct dstr *out, uint64_t n)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double v = (double)n;
    size_t u = 0;
    while (v >= 1024 && u + 1 < ARRAY_LEN(units)) {
        v /= 1024;
        u++;
    }
    dstr_printf(out, u ? "%.1f %s" : "%.0f %s", v, units[u]);
}

static void head_cell(struct dstr *out, const char *title, enum file_sort sort, struct order o)
{
    bool now = o.sort == sort || (sort == FILE_SORT_NAME && o.sort == FILE_SORT_NAME_DIR_FIRST);
    enum file_sort by = sort == FILE_SORT_NAME ? FILE_SORT_NAME_DIR_FIRST : sort;
    dstr_printf(out, "<th class=\"%s\"><a href=\"?sort=%.*s&amp;order=%s\">%s%s</a></th>",
                sort == FILE_SORT_SIZE ? "n" : "", SLICE_ARG(sorts[by].name),
                now && !o.descending ? "desc" : "asc", title,
                !now           ? ""
                : o.descending ? " &#9660;"
                               : " &#9650;");
}

static const char style[] =
    "<style>:root{color-scheme:light dark}"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "h1{font-size:1.2rem;word-break:break-all}a{color:#0b62c4;text-decoration:none}"
    "a:hover{text-decoration:underline}input{font:inherit;padding:.3rem .6rem;width:100%;"
    "box-sizing:border-box;margin:.5rem 0 1rem;border:1px solid #8886;border-radius:.4rem;"
    "background:transparent;color:inherit}table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;padding:.35rem .5rem;border-bottom:1px solid #8883}"
    "th a{color:inherit}.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}"
    "td.n{color:#777}tr:hover td{background:#8881}.d{font-weight:600}footer{color:#777;"
    "margin-top:1rem}@media(prefers-color-scheme:dark){a{color:#6cb2ff}}</style>";

/* Without it everything but the searching works. */
static const char script[] =
    "<script>(function(){var i=document.getElementById('q'),r=[].slice.call("
    "document.querySelectorAll('tbody tr[data-n]'));i.hidden=false;i.oninput=function(){"
    "var q=i.value.toLowerCase();r.forEach(function(t){t.hidden=t.dataset.n.toLowerCase()"
    ".indexOf(q)<0})};[].forEach.call(document.querySelectorAll('time'),function(t){"
    "t.textContent=new Date(t.dateTime).toLocaleString()})})()</script>";

/* The path with each part a link. */
static void breadcrumbs(struct dstr *out, struct slice path)
{
    unsigned depth = 0;
    struct slice rest = path, part;
    for (size_t i = 0; i < path.n; i++) {
        depth += path.p[i] == '/' && i + 1 < path.n;
    }
    dstr_append(out, S("<a href=\""));
    for (unsigned i = 0; i < depth; i++) {
        dstr_append(out, S("../"));
    }
    dstr_append(out, depth ? S("\">/</a> ") : S("./\">/</a> "));
    while (slice_cut(&rest, '/', &part)) {
        if (part.n == 0) {
            continue;
        }
        depth--;
        dstr_append(out, S("<a href=\"./"));
        for (unsigned i = 0; i < depth; i++) {
            dstr_append(out, S("../"));
        }
        dstr_append(out, S("\">"));
        dstr_html(out, part);
        dstr_append(out, S("/</a> "));
    }
}

static void row(struct dstr *out, const struct entry *e)
{
    char date[CLOCK_RFC3339_BYTES];
    struct slice name = slice_str(e->name);
    clock_rfc3339(e->modified_ms, date);
    dstr_append(out, S("<tr data-n=\""));
    dstr_html(out, name);
    dstr_append(out, S("\"><td><a class=\""));
    dstr_append(out, e->folder ? S("d\" href=\"") : S("\" href=\""));
    append_reference(out, e->name);
    dstr_append(out, e->folder ? S("/\">") : S("\">"));
    dstr_html(out, name);
    dstr_append(out, e->folder ? S("/</a>") : S("</a>"));
    if (e->link) {
        dstr_append(out, S(" &rarr; "));
        dstr_html(out, slice_str(e->link));
    }
    dstr_append(out, S("</td><td class=\"n\">"));
    if (e->folder) {
        dstr_append(out, S("&mdash;"));
    } else {
        append_size(out, e->size);
    }
    dstr_printf(out, "</td><td><time datetime=\"%s\">%s</time></td></tr>\n", date, date);
}

static void page(struct dstr *out, const struct file_look *look, const struct listing *l,
                 struct order o)
{
    size_t folders = 0;
    dstr_append(out, S("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                       "<meta name=\"viewport\" content=\"width=device-width\"><title>"));
    dstr_html(out, look->path);
    dstr_append(out, S("</title>"));
    dstr_append(out, slice_str(style));
    dstr_append(out, S("</head><body>\n<h1>"));
    breadcrumbs(out, look->path);
    dstr_append(out, S("</h1>\n<input id=\"q\" type=\"search\" placeholder=\"Search\" "
                       "aria-label=\"Search\" autofocus hidden>\n<table><thead><tr>"));
    head_cell(out, "Name", FILE_SORT_NAME, o);
    head_cell(out, "Size", FILE_SORT_SIZE, o);
    head_cell(out, "Modified", FILE_SORT_TIME, o);
    dstr_append(out, S("</tr></thead><tbody>\n"));
    if (look->path.n > 1) {
        dstr_append(out, S("<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n"));
    }
    for (size_t i = 0; i < l->count; i++) {
        row(out, &l->items[i]);
        folders += l->items[i].folder;
    }
    dstr_printf(out, "</tbody></table>\n<footer>%zu folders, %zu files%s</footer>\n", folders,
                l->count - folders, l->cut ? " (there are more)" : "");
    dstr_append(out, slice_str(script));
    dstr_append(out, S("\n</body></html>\n"));
}

/* Caddy's own names. */
static void json(struct dstr *out, const struct listing *l)
{
    dstr_byte(out, '[');
    for (size_t i = 0; i < l->count; i++) {
        const struct entry *e = &l->items[i];
        char date[CLOCK_RFC3339_BYTES];
        clock_rfc3339(e->modified_ms, date);
        struct dstr reference;
        dstr_init(&reference, 4 * NAME_MAX);
        append_reference(&reference, e->name);
        dstr_append(out, i ? S(",\n{\"name\":") : S("\n{\"name\":"));
        dstr_json(out, slice_str(e->name));
        dstr_printf(out, ",\"size\":%llu,\"url\":", (unsigned long long)e->size);
        if (e->folder) {
            dstr_byte(&reference, '/');
        }
        dstr_json(out, dstr_slice(&reference));
        unsigned mode = e->mode | (e->folder ? MODE_FOLDER : 0);
        dstr_printf(out, ",\"mod_time\":\"%s\",\"mode\":%u,\"is_dir\":%s,\"is_symlink\":%s}",
                    date, mode, e->folder ? "true" : "false", e->symlink ? "true" : "false");
        dstr_fini(&reference);
    }
    dstr_append(out, S("\n]\n"));
}

void file_browse_list(struct file_look *look)
{
    struct listing l = {.items = NULL};
    struct order o = order_of(look);
    if (!read_folder(look, &l)) {
        look->found.error = errno;
        (void)close(look->found.fd);
        look->found.fd = -1;
    } else {
        sort(&l, o);
        if (look->json) {
            json(&look->listing, &l);
        } else {
            page(&look->listing, look, &l, o);
        }
    }
    free_listing(&l);
}

/* ---- reading the block ----------------------------------------------------------------------- */

static bool read_sort(struct build *b, struct file_server *f, const struct cf_directive *o)
{
    struct slice second = o->arg_count > 1 ? o->args[1].text : S("asc");
    if (!expect_args(b, o, o->arg_count, 1, 2)) {
        return false;
    }
    if (!sort_named(o->args[0].text, &f->sort)) {
        cf_error(b->diags, &o->args[0], "\"%.*s\" is none of name, namedirfirst, size, time",
                 SLICE_ARG(o->args[0].text));
        return false;
    }
    f->sort_descending = slice_eq(second, S("desc"));
    if (!f->sort_descending && !slice_eq(second, S("asc"))) {
        cf_error(b->diags, &o->args[1], "\"%.*s\" is neither asc nor desc", SLICE_ARG(second));
        return false;
    }
    return true;
}

bool file_browse_parse(struct build *b, const struct cf_directive *d, struct file_server *f)
{
    bool ok = true;
    f->browses = true;
    if (d->arg_count) {
        cf_error(b->diags, &d->args[0], "templates of your own are Caddy's and not in caddis");
        return false;
    }
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        uint64_t limit;
        if (slice_eq(o->name.text, S("reveal_symlinks"))) {
            f->reveals_symlinks = true;
            ok = expect_args(b, o, o->arg_count, 0, 0) && ok;
        } else if (slice_eq(o->name.text, S("sort"))) {
            ok = read_sort(b, f, o) && ok;
        } else if (!slice_eq(o->name.text, S("file_limit"))) {
            cf_error(b->diags, &o->name, "\"browse\" has sort, file_limit and reveal_symlinks, not"
                     " \"%.*s\"", SLICE_ARG(o->name.text));
            ok = false;
        } else if (!expect_args(b, o, o->arg_count, 1, 1) ||
                   !slice_u64(o->args[0].text, 1000000, &limit)) {
            cf_error(b->diags, &o->name, "file_limit needs a number up to 1000000");
            ok = false;
        } else {
            f->list_max = (unsigned)limit;
        }
    }
    return ok;
}
