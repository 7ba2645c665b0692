/* In: a request's conditions and ranges, and what is known of the file. Out: the status. In the
 * order of RFC 9110 section 13.2.2. */
#include "proxy/handler/file_conditions.h"

#include "proxy/base/clock.h"

/* The opaque part of an entity tag without W/; weak says whether there was one. */
static struct slice opaque(struct slice tag, bool *weak)
{
    *weak = slice_starts(tag, S("W/"));
    return *weak ? slice_from(tag, 2) : tag;
}

/* Takes the next entity tag off a list; false at its end or where it is broken. */
static bool next_tag(struct slice *rest, struct slice *tag)
{
    while (rest->n && (rest->p[0] == ' ' || rest->p[0] == '\t' || rest->p[0] == ',')) {
        *rest = slice_from(*rest, 1);
    }
    size_t start = slice_starts(*rest, S("W/\"")) ? 3 : 1;
    size_t end = rest->n > start && rest->p[start - 1] == '"'
                     ? slice_find(slice_from(*rest, start), '"')
                     : SLICE_NPOS;
    if (end == SLICE_NPOS) {
        return false;
    }
    *tag = slice_upto(*rest, start + end + 1);
    *rest = slice_from(*rest, tag->n);
    return true;
}

static bool list_has(struct slice list, struct slice etag, bool strong)
{
    struct slice tag;
    bool weak_a, weak_b;
    struct slice ours = opaque(etag, &weak_a);
    if (slice_eq(slice_trim(list), S("*"))) {
        return true;
    }
    while (next_tag(&list, &tag)) {
        if (slice_eq(opaque(tag, &weak_b), ours) && !(strong && (weak_a || weak_b))) {
            return etag.n > 0;
        }
    }
    return false;
}

static const struct field *one(const struct request *req, struct slice name)
{
    return fields_find(&req->fields, name);
}

/* Unknown (-1) when the field is missing or no date. */
static int64_t date_of(const struct request *req, struct slice name)
{
    const struct field *f = one(req, name);
    int64_t ms;
    return f && clock_parse_http_date(f->value, &ms) ? ms / 1000 : -1;
}

static int preconditions(const struct request *req, const struct file_facts *facts)
{
    const struct field *match = one(req, S("If-Match"));
    const struct field *none = one(req, S("If-None-Match"));
    int64_t unmodified = date_of(req, S("If-Unmodified-Since"));
    int64_t modified = date_of(req, S("If-Modified-Since"));
    if (match ? !list_has(match->value, facts->etag, true)
              : unmodified >= 0 && facts->modified_s > unmodified) {
        return 412;
    }
    if (none ? list_has(none->value, facts->etag, false)
             : modified >= 0 && facts->modified_s > 0 && facts->modified_s <= modified) {
        return 304;
    }
    return 200;
}

/* If-Range: ranges only if it is still the same (section 13.1.5). */
static bool range_holds(const struct request *req, const struct file_facts *facts)
{
    const struct field *f = one(req, S("If-Range"));
    int64_t ms;
    if (!f) {
        return true;
    }
    if (clock_parse_http_date(f->value, &ms)) {
        return facts->modified_s > 0 && ms / 1000 == facts->modified_s;
    }
    return list_has(f->value, facts->etag, true) && !slice_eq(f->value, S("*"));
}

/* "0-99", "100-", "-50". False: not a range at all. An unsatisfiable one has length 0. */
static bool parse_range(struct slice text, uint64_t size, struct file_range *out)
{
    uint64_t first, last = size ? size - 1 : 0;
    size_t dash = slice_find(text, '-');
    if (dash == SLICE_NPOS) {
        return false;
    }
    struct slice a = slice_upto(text, dash), b = slice_from(text, dash + 1);
    *out = (struct file_range){0, 0};
    if (a.n == 0) {
        uint64_t suffix;
        if (!slice_u64(b, INT64_MAX, &suffix)) {
            return false;
        }
        suffix = suffix < size ? suffix : size;
        *out = (struct file_range){size - suffix, suffix};
        return true;
    }
    if (!slice_u64(a, INT64_MAX, &first) || (b.n && !slice_u64(b, INT64_MAX, &last)) ||
        (b.n && last < first)) {
        return false;
    }
    if (first < size) {
        last = last < size ? last : size - 1;
        *out = (struct file_range){first, last - first + 1};
    }
    return true;
}

int file_conditions(const struct request *req, const struct file_facts *facts,
                    struct file_range *ranges, unsigned *count)
{
    const struct field *range = fields_find_id(&req->fields, FIELD_RANGE);
    int status = preconditions(req, facts);
    *count = 0;
    if (status != 200 || !range || req->method != METHOD_GET || !range_holds(req, facts) ||
        !slice_eq_case(slice_upto(range->value, 6), S("bytes="))) {
        return status;
    }
    struct slice rest = slice_from(range->value, 6), item;
    uint64_t sum = 0;
    bool any = false;
    while (slice_cut(&rest, ',', &item)) {
        struct file_range r;
        item = slice_trim(item);
        if (item.n == 0) {
            continue;
        }
        if (*count == FILE_RANGES_MAX || !parse_range(item, facts->size, &r)) {
            *count = 0;
            return 200; /* a field that means nothing is ignored (section 14.2) */
        }
        any = true;
        sum += r.length;
        ranges[*count] = r;
        *count += r.length > 0;
    }
    if (!any) {
        return 200;
    }
    if (*count == 0) {
        return 416;
    }
    /* Ranges that overlap to more than the whole are no request but an attack. */
    if (sum > facts->size) {
        *count = 0;
        return 200;
    }
    return 206;
}
