/* See log_filter.h:
 *     <path> delete
 *     <path> rename <key>
 *     <path> replace <text>
 *     <path> ip_mask [<ipv4 bits> [<ipv6 bits>]] | { ipv4 <bits> ; ipv6 <bits> }   (addresses)
 *     <path> query { delete <key> ; replace <key> <text> ; hash <key> }            (a URI)
 *     <path> cookie { delete <name> ; replace <name> <text> ; hash <name> }
 *     <path> regexp <regexp> <replacement>
 *     <path> hash                                        (the first 8 digits of its SHA-256) */
#include "proxy/handler/log_filter.h"

#include "proxy/net/addr.h"
#include "proxy/net/cidr.h"
#include "proxy/route/regex.h"
#include "proxy/tls/keyed_hash.h"

#define PATH_PARTS_MAX 16
#define TEXT_MAX ((size_t)64 * 1024)
#define HASH_DIGITS 8

enum filter_kind {
    FILTER_DELETE,
    FILTER_RENAME,
    FILTER_REPLACE,
    FILTER_IP_MASK,
    FILTER_QUERY,
    FILTER_COOKIE,
    FILTER_REGEXP,
    FILTER_HASH,
};

static const struct slice kind_names[] = {S_INIT("delete"), S_INIT("rename"),  S_INIT("replace"),
                                          S_INIT("ip_mask"), S_INIT("query"),  S_INIT("cookie"),
                                          S_INIT("regexp"), S_INIT("hash")};

/* What query and cookie do with one key. */
struct part_rule {
    struct part_rule *next;
    enum filter_kind kind; /* delete, replace or hash */
    struct slice key;
    struct slice text;
};

struct log_filter {
    struct log_filter *next;
    const char *path[PATH_PARTS_MAX];
    size_t depth;
    enum filter_kind kind;
    const char *text; /* rename, replace; the replacement of regexp */
    unsigned ipv4_bits;
    unsigned ipv6_bits;
    struct part_rule *parts;
    struct regex *regex;
};

/* ---- values ---------------------------------------------------------------------------------- */

static bool append_hash(struct dstr *out, struct slice text)
{
    char hex[KEYED_HASH_BYTES];
    bool ok = sha256_hex(text, hex);
    dstr_append(out, slice_of(hex, ok ? HASH_DIGITS : 0));
    return ok;
}

/* A comma-separated list of addresses (X-Forwarded-For) with their last bits zeroed. */
static void mask_addresses(const struct log_filter *f, struct slice text, struct dstr *out)
{
    struct slice part;
    while (slice_cut(&text, ',', &part)) {
        char buf[ADDR_TEXT_BYTES];
        struct addr a;
        part = slice_trim(part);
        dstr_append(out, out->n ? S(", ") : S(""));
        if (addr_parse_ip(part, 0, &a)) {
            addr_mask(&a, slice_find(part, ':') == SLICE_NPOS ? f->ipv4_bits : f->ipv6_bits);
            part = addr_host_text(&a, buf);
        }
        dstr_append(out, part);
    }
}

static const struct part_rule *rule_for(const struct log_filter *f, struct slice key)
{
    const struct part_rule *r = f->parts;
    while (r && !slice_eq(r->key, key)) {
        r = r->next;
    }
    return r;
}

/* key=value pairs between separators, some changed. */
static bool filter_pairs(const struct log_filter *f, struct slice text, char separator,
                         struct slice joint, struct dstr *out)
{
    struct slice pair;
    bool first = true;
    bool ok = true;
    while (text.n && slice_cut(&text, separator, &pair)) {
        pair = slice_trim(pair);
        struct slice value = pair;
        struct slice key;
        (void)slice_cut(&value, '=', &key);
        const struct part_rule *r = rule_for(f, key);
        if (r && r->kind == FILTER_DELETE) {
            continue;
        }
        dstr_append(out, first ? S("") : joint);
        first = false;
        if (!r) {
            dstr_append(out, pair);
            continue;
        }
        dstr_append(out, key);
        dstr_byte(out, '=');
        if (r->kind == FILTER_HASH) {
            ok = append_hash(out, value) && ok;
        } else {
            dstr_append(out, r->text);
        }
    }
    return ok;
}

static bool filter_query(const struct log_filter *f, struct slice text, struct dstr *out)
{
    size_t mark = slice_find(text, '?');
    dstr_append(out, slice_upto(text, mark));
    if (mark == SLICE_NPOS) {
        return true;
    }
    size_t before = out->n;
    dstr_byte(out, '?');
    bool ok = filter_pairs(f, slice_from(text, mark + 1), '&', S("&"), out);
    out->n = out->n == before + 1 ? before : out->n;
    return ok;
}

static bool change_text(const struct log_filter *f, struct slice text, struct dstr *out)
{
    switch (f->kind) {
    case FILTER_REPLACE:
        dstr_append(out, slice_str(f->text));
        return true;
    case FILTER_IP_MASK:
        mask_addresses(f, text, out);
        return true;
    case FILTER_QUERY:
        return filter_query(f, text, out);
    case FILTER_COOKIE:
        return filter_pairs(f, text, ';', S("; "), out);
    case FILTER_REGEXP:
        return regex_replace_all(f->regex, text, slice_str(f->text), out) != REGEX_LIMIT;
    case FILTER_HASH:
        return append_hash(out, text);
    case FILTER_DELETE:
    case FILTER_RENAME:
        break;
    }
    return false;
}

/* A value that is text, or a list of such (of a header field); numbers are filtered as their text.
 */
static bool change_value(const struct log_filter *f, cJSON *parent, cJSON *value)
{
    if (cJSON_IsArray(value)) {
        cJSON *next;
        for (cJSON *item = value->child; item; item = next) {
            next = item->next;
            if (!change_value(f, value, item)) {
                return false;
            }
        }
        return true;
    }
    struct dstr out;
    char *printed = cJSON_IsString(value) ? NULL : cJSON_PrintUnformatted(value);
    struct slice text = slice_str(printed ? printed : cJSON_GetStringValue(value));
    dstr_init(&out, TEXT_MAX);
    dstr_append(&out, S(""));
    bool ok = text.p && change_text(f, text, &out) && !out.failed;
    dstr_byte(&out, '\0');
    cJSON *changed = ok && !out.failed ? cJSON_CreateString(out.p) : NULL;
    ok = changed && (value->string ? cJSON_ReplaceItemInObjectCaseSensitive(parent, value->string,
                                                                            changed)
                                   : cJSON_ReplaceItemViaPointer(parent, value, changed));
    dstr_fini(&out);
    cJSON_free(printed);
    return ok;
}

static bool apply_one(const struct log_filter *f, cJSON *line)
{
    cJSON *parent = line;
    for (size_t i = 0; i + 1 < f->depth && parent; i++) {
        parent = cJSON_GetObjectItemCaseSensitive(parent, f->path[i]);
    }
    const char *key = f->path[f->depth - 1];
    cJSON *value = parent ? cJSON_GetObjectItem(parent, key) : NULL; /* fields: any case */
    if (!value) {
        return true;
    }
    if (f->kind == FILTER_DELETE) {
        cJSON_Delete(cJSON_DetachItemViaPointer(parent, value));
        return true;
    }
    if (f->kind == FILTER_RENAME) {
        cJSON *moved = cJSON_DetachItemViaPointer(parent, value);
        return cJSON_AddItemToObject(parent, f->text, moved);
    }
    return change_value(f, parent, value);
}

bool log_filters_apply(const struct log_filter *list, cJSON *line)
{
    for (const struct log_filter *f = list; f; f = f->next) {
        if (!apply_one(f, line)) {
            return false;
        }
    }
    return true;
}

/* ---- reading --------------------------------------------------------------------------------- */

static const char *own_text(struct build *b, struct slice text)
{
    const char *copy = arena_cstr(b->arena, text);
    must(copy);
    return copy;
}

static bool read_path(struct build *b, struct log_filter *f, const struct cf_token *t)
{
    struct slice rest = t->text;
    struct slice part;
    while (slice_cut(&rest, '>', &part)) {
        if (!part.n || f->depth == PATH_PARTS_MAX) {
            cf_error(b->diags, t, "\"%.*s\" is no field such as request>headers>Cookie",
                     SLICE_ARG(t->text));
            return false;
        }
        f->path[f->depth++] = own_text(b, part);
    }
    return true;
}

static bool read_bits(struct build *b, const struct cf_token *t, unsigned max, unsigned *out)
{
    uint64_t bits;
    struct slice text = slice_from(t->text, slice_starts(t->text, S("/")) ? 1 : 0);
    if (!slice_u64(text, max, &bits)) {
        cf_error(b->diags, t, "\"%.*s\" is no number of bits up to %u", SLICE_ARG(t->text), max);
        return false;
    }
    *out = (unsigned)bits;
    return true;
}

static bool read_mask(struct build *b, struct log_filter *f, const struct cf_directive *d)
{
    f->ipv4_bits = 32;
    f->ipv6_bits = 128;
    bool ok = d->arg_count < 2 || read_bits(b, &d->args[1], 32, &f->ipv4_bits);
    ok = ok && (d->arg_count < 3 || read_bits(b, &d->args[2], 128, &f->ipv6_bits));
    for (const struct cf_directive *o = d->children; o && ok; o = o->next) {
        bool v4 = slice_eq(o->name.text, S("ipv4"));
        if (!v4 && !slice_eq(o->name.text, S("ipv6"))) {
            cf_error(b->diags, &o->name, "ip_mask has ipv4 and ipv6");
            return false;
        }
        ok = expect_args(b, o, o->arg_count, 1, 1) &&
             read_bits(b, &o->args[0], v4 ? 32 : 128, v4 ? &f->ipv4_bits : &f->ipv6_bits);
    }
    return ok;
}

static bool read_parts(struct build *b, struct log_filter *f, const struct cf_directive *d)
{
    struct part_rule **tail = &f->parts;
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        bool replace = slice_eq(o->name.text, S("replace"));
        bool hash = slice_eq(o->name.text, S("hash"));
        if (!replace && !hash && !slice_eq(o->name.text, S("delete"))) {
            cf_error(b->diags, &o->name, "a filter of parts has delete, replace and hash");
            return false;
        }
        size_t want = replace ? 2 : 1;
        if (!expect_args(b, o, o->arg_count, want, want)) {
            return false;
        }
        struct part_rule *r = ARENA_NEW(b->arena, struct part_rule);
        must(r);
        r->kind = replace ? FILTER_REPLACE : hash ? FILTER_HASH : FILTER_DELETE;
        r->key = arena_copy(b->arena, o->args[0].text);
        r->text = replace ? arena_copy(b->arena, o->args[1].text) : S("");
        *tail = r;
        tail = &r->next;
    }
    if (!f->parts) {
        cf_error(b->diags, &d->name, "the filter needs a block: { delete token }");
    }
    return f->parts != NULL;
}

static bool read_regexp(struct build *b, struct log_filter *f, const struct cf_token *t)
{
    struct slice why = S("");
    f->regex = regex_compile(b->arena, t->text, &why);
    if (!f->regex) {
        cf_error(b->diags, t, "\"%.*s\" is no regular expression: %.*s", SLICE_ARG(t->text),
                 SLICE_ARG(why));
    }
    return f->regex != NULL;
}

static bool find_kind(struct build *b, const struct cf_token *t, enum filter_kind *out)
{
    for (size_t i = 0; i < ARRAY_LEN(kind_names); i++) {
        if (slice_eq(kind_names[i], t->text)) {
            *out = (enum filter_kind)i;
            return true;
        }
    }
    struct cf_diag *d = cf_error(b->diags, t, "unknown log filter \"%.*s\" (delete, rename,"
                                 " replace, ip_mask, query, cookie, regexp, hash)",
                                 SLICE_ARG(t->text));
    cf_did_you_mean(b->diags, d, t->text, kind_names, ARRAY_LEN(kind_names));
    return false;
}

struct log_filter *log_filter_read(struct build *b, const struct cf_directive *d)
{
    static const size_t arguments[][2] = {{0, 0}, {1, 1}, {1, 1}, {0, 2},
                                          {0, 0}, {0, 0}, {2, 2}, {0, 0}};
    struct log_filter *f = ARENA_NEW(b->arena, struct log_filter);
    must(f);
    if (!expect_args(b, d, d->arg_count, 1, 3) || !read_path(b, f, &d->name) ||
        !find_kind(b, &d->args[0], &f->kind) ||
        !expect_args(b, d, d->arg_count, arguments[f->kind][0] + 1, arguments[f->kind][1] + 1)) {
        return NULL;
    }
    bool ok = true;
    switch (f->kind) {
    case FILTER_RENAME:
    case FILTER_REPLACE:
        f->text = own_text(b, d->args[1].text);
        break;
    case FILTER_IP_MASK:
        ok = read_mask(b, f, d);
        break;
    case FILTER_QUERY:
    case FILTER_COOKIE:
        ok = read_parts(b, f, d);
        break;
    case FILTER_REGEXP:
        f->text = own_text(b, d->args[2].text);
        ok = read_regexp(b, f, &d->args[1]);
        break;
    case FILTER_DELETE:
    case FILTER_HASH:
        break;
    }
    return ok ? f : NULL;
}

void log_filter_append(struct log_filter **list, struct log_filter *f)
{
    while (*list) {
        list = &(*list)->next;
    }
    *list = f;
}
