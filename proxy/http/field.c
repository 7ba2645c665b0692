/* Header and trailer fields: the list itself, and which name is which id.
 *
 * In: names and values that someone else validated (or field_name_valid and field_value_valid).
 * Out: struct fields whose items live in the caller's arena; the bytes are borrowed. */
#include "proxy/http/field.h"

#include "proxy/http/chars.h"

static const struct {
    struct slice name; /* lower-case */
    unsigned flags;
} table[FIELD_ID_COUNT] = {
#define X(id, text, bits) [FIELD_##id] = {S_INIT(text), (bits)},
    HTTP_FIELD_TABLE(X)
#undef X
};

/* ---- names -------- */

static uint64_t load8(const char *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof(w));
    return w;
}

static uint32_t load4(const char *p)
{
    uint32_t w;
    memcpy(&w, p, sizeof(w));
    return w;
}

/* Eight bytes of any case against eight of the lower-case table. Only where the table has a letter
 * (bit 0x40 set) is the case bit forgiven, so that CR does not pass for '-'. */
static bool word_eq(uint64_t any, uint64_t lower)
{
    return (any | ((lower & UINT64_C(0x4040404040404040)) >> 1)) == lower;
}

/* Both have n bytes, n >= 2. */
static bool name_eq(const char *any, const char *lower, size_t n)
{
    if (n >= 8) {
        for (size_t i = 0; i + 8 <= n; i += 8) {
            if (!word_eq(load8(any + i), load8(lower + i))) {
                return false;
            }
        }
        return word_eq(load8(any + n - 8), load8(lower + n - 8));
    }
    if (n >= 4) {
        return word_eq(load4(any), load4(lower)) &&
               word_eq(load4(any + n - 4), load4(lower + n - 4));
    }
    return ascii_lower(any[0]) == lower[0] && ascii_lower(any[1]) == lower[1] &&
           ascii_lower(any[n - 1]) == lower[n - 1];
}

/* The only id that a name of this length and these letters can have. A new row in the table needs
 * a line here; the unit test asks for every row. */
static enum field_id candidate(const char *p, size_t n)
{
    char c = (char)(p[0] | 0x20);
    switch (n) {
    case 2: return FIELD_TE;
    case 3: return FIELD_VIA;
    case 4: return c == 'h' ? FIELD_HOST : c == 'd' ? FIELD_DATE : FIELD_VARY;
    case 5: return FIELD_RANGE;
    case 6: return c == 'c' ? FIELD_COOKIE : c == 'e' ? FIELD_EXPECT : FIELD_SERVER;
    case 7:
        return c == 'r'   ? FIELD_REFERER
               : c == 'u' ? FIELD_UPGRADE
               : c == 't' ? FIELD_TRAILER
                          : FIELD_ALT_SVC;
    case 8: return FIELD_LOCATION;
    case 9: return FIELD_FORWARDED;
    case 10:
        return c == 'c'   ? FIELD_CONNECTION
               : c == 'u' ? FIELD_USER_AGENT
               : c == 's' ? FIELD_SET_COOKIE
                          : FIELD_KEEP_ALIVE;
    case 11: return FIELD_RETRY_AFTER;
    case 12: return c == 'c' ? FIELD_CONTENT_TYPE : FIELD_MAX_FORWARDS;
    case 13:
        return c == 'a'                    ? FIELD_AUTHORIZATION
               : (p[1] | 0x20) == 'a'      ? FIELD_CACHE_CONTROL
                                           : FIELD_CONTENT_RANGE;
    case 14: return FIELD_CONTENT_LENGTH;
    case 15: return c == 'a' ? FIELD_ACCEPT_ENCODING : FIELD_X_FORWARDED_FOR;
    case 16:
        return c == 'c'   ? FIELD_CONTENT_ENCODING
               : c == 'x' ? FIELD_X_FORWARDED_HOST
               : c == 'w' ? FIELD_WWW_AUTHENTICATE
                          : FIELD_PROXY_CONNECTION;
    case 17: return c == 't' ? FIELD_TRANSFER_ENCODING : FIELD_X_FORWARDED_PROTO;
    case 18: return FIELD_PROXY_AUTHENTICATE;
    case 19: return FIELD_PROXY_AUTHORIZATION;
    default: return FIELD_OTHER;
    }
}

enum field_id field_id(struct slice name)
{
    if (name.n < 2) {
        return FIELD_OTHER;
    }
    enum field_id id = candidate(name.p, name.n);
    return id != FIELD_OTHER && name_eq(name.p, table[id].name.p, name.n) ? id : FIELD_OTHER;
}

unsigned field_flags(enum field_id id)
{
    return table[id].flags;
}

bool field_name_valid(struct slice name)
{
    if (http_surely_token(name.p, name.n)) {
        return true;
    }
    return name.n > 0 && http_token_end(name.p, name.p + name.n) == name.p + name.n;
}

bool field_value_valid(struct slice value)
{
    return http_all_value(value.p, value.n);
}

/* ---- the list -------- */

bool fields_reserve(struct fields *f, struct arena *a, unsigned more)
{
    if (more <= f->cap - f->count) {
        return true;
    }
    if (more > FIELDS_MAX - f->count) {
        return false;
    }
    unsigned cap = f->cap ? f->cap * 2 : 16;
    cap = cap < f->count + more ? f->count + more : cap;
    cap = cap > FIELDS_MAX ? FIELDS_MAX : cap;
    struct field *items = arena_alloc(a, cap * sizeof(*items));
    if (!items) {
        return false;
    }
    if (f->count) {
        memcpy(items, f->items, f->count * sizeof(*items));
    }
    f->items = items;
    f->cap = cap;
    return true;
}

bool fields_copy(struct fields *to, struct arena *a, const struct fields *from)
{
    to->count = 0;
    if (!fields_reserve(to, a, from->count)) {
        return false;
    }
    if (from->count) {
        memcpy(to->items, from->items, from->count * sizeof(*to->items));
    }
    to->count = from->count;
    return true;
}

bool fields_add(struct fields *f, struct arena *a, struct slice name, struct slice value)
{
    return fields_add_id(f, a, field_id(name), name, value);
}

static bool is_named(const struct field *x, enum field_id id, struct slice name)
{
    return x->id == id && (id != FIELD_OTHER || slice_eq_case(x->name, name));
}

static struct field *find(const struct fields *f, enum field_id id, struct slice name)
{
    for (unsigned i = 0; i < f->count; i++) {
        if (is_named(&f->items[i], id, name)) {
            return &f->items[i];
        }
    }
    return NULL;
}

/* Removes those from position `from` on. */
static unsigned remove_from(struct fields *f, unsigned from, enum field_id id, struct slice name)
{
    unsigned kept = from;
    for (unsigned i = from; i < f->count; i++) {
        if (!is_named(&f->items[i], id, name)) {
            f->items[kept++] = f->items[i];
        }
    }
    unsigned removed = f->count - kept;
    f->count = kept;
    return removed;
}

bool fields_set(struct fields *f, struct arena *a, struct slice name, struct slice value)
{
    enum field_id id = field_id(name);
    struct field *first = find(f, id, name);
    if (!first) {
        return fields_add_id(f, a, id, name, value);
    }
    *first = (struct field){name, value, id, 0};
    remove_from(f, (unsigned)(first - f->items) + 1, id, name);
    return true;
}

unsigned fields_remove(struct fields *f, struct slice name)
{
    return remove_from(f, 0, field_id(name), name);
}

unsigned fields_remove_id(struct fields *f, enum field_id id)
{
    must(id != FIELD_OTHER);
    return remove_from(f, 0, id, (struct slice){NULL, 0});
}

struct field *fields_find(const struct fields *f, struct slice name)
{
    return find(f, field_id(name), name);
}

struct field *fields_find_id(const struct fields *f, enum field_id id)
{
    must(id != FIELD_OTHER);
    return find(f, id, (struct slice){NULL, 0});
}

bool fields_have_token(const struct fields *f, enum field_id id, struct slice token)
{
    for (unsigned i = 0; i < f->count; i++) {
        if (f->items[i].id == id && slice_list_has(f->items[i].value, token)) {
            return true;
        }
    }
    return false;
}

/* ---- what is not forwarded -------- */

/* A peer sends at most 128 fields, so more options than this are padding; the bound keeps the
 * work of one head linear in its size. */
#define CONNECTION_OPTIONS_MAX 256u

static bool is_usual_option(struct slice option)
{
    return slice_eq_case(option, S("close")) || slice_eq_case(option, S("keep-alive")) ||
           slice_eq_case(option, S("upgrade"));
}

/* Marks what one Connection field names, by emptying the name: nobody else has empty names. Host
 * stays whatever a Connection field says: routing needs it and the next hop insists on it. */
static void mark_named(struct fields *f, struct slice list, unsigned *budget)
{
    struct slice option;
    while (slice_cut(&list, ',', &option) && *budget > 0) {
        option = slice_trim(option);
        --*budget;
        if (option.n == 0 || is_usual_option(option)) {
            continue;
        }
        for (unsigned i = 0; i < f->count; i++) {
            struct field *x = &f->items[i];
            if (x->id != FIELD_CONNECTION && x->id != FIELD_HOST &&
                slice_eq_case(x->name, option)) {
                x->name.n = 0;
            }
        }
    }
}

static bool is_hop_by_hop(const struct field *x)
{
    return x->name.n == 0 || (table[x->id].flags & FIELD_HOP) || x->id == FIELD_CONTENT_LENGTH;
}

void fields_strip_hop_by_hop(struct fields *f)
{
    unsigned budget = CONNECTION_OPTIONS_MAX;
    for (unsigned i = 0; i < f->count; i++) {
        if (f->items[i].id == FIELD_CONNECTION) {
            mark_named(f, f->items[i].value, &budget);
        }
    }
    unsigned kept = 0;
    for (unsigned i = 0; i < f->count; i++) {
        if (!is_hop_by_hop(&f->items[i])) {
            f->items[kept++] = f->items[i];
        }
    }
    f->count = kept;
}

void fields_strip_trailers(struct fields *f)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < f->count; i++) {
        if (!(table[f->items[i].id].flags & (FIELD_HOP | FIELD_NO_TRAILER))) {
            f->items[kept++] = f->items[i];
        }
    }
    f->count = kept;
}

void fields_strip_request_trailers(struct fields *trailers, const struct fields *request)
{
    fields_strip_trailers(trailers);
    unsigned kept = 0;
    for (unsigned i = 0; i < trailers->count; i++) {
        const struct field *f = &trailers->items[i];
        if (slice_find(f->name, '_') == SLICE_NPOS &&
            !fields_have_token(request, FIELD_CONNECTION, f->name)) {
            trailers->items[kept++] = *f;
        }
    }
    trailers->count = kept;
}
