/* Ranges and the client behind proxies; see ip_ranges.h. */
#include "proxy/route/ip_ranges.h"

/* Addresses read from one request's fields at the most: they come from outside. */
#define LISTED_MAX 1024u

/* ---- ranges ---------------------------------------------------------------------------------- */

static bool add_range(struct arena *a, struct ip_ranges *r, struct slice text)
{
    struct cidr range;
    if (!cidr_parse(text, &range)) {
        return false;
    }
    if (r->count == r->cap) {
        size_t cap = r->cap * 2 + 8;
        struct cidr *items = ARENA_ARRAY(a, struct cidr, cap);
        must(items);
        if (r->count) {
            memcpy(items, r->items, r->count * sizeof(*items));
        }
        r->items = items;
        r->cap = cap;
    }
    r->items[r->count++] = range;
    return true;
}

bool ip_ranges_add(struct arena *a, struct ip_ranges *r, const struct cf_token *token,
                   struct cf_diags *diags)
{
    if (r->count + CIDR_PRIVATE_COUNT > IP_RANGES_MAX) {
        cf_error(diags, token, "more than %d ranges", IP_RANGES_MAX);
        return false;
    }
    if (slice_eq(token->text, S("private_ranges"))) {
        for (size_t i = 0; i < CIDR_PRIVATE_COUNT; i++) {
            must(add_range(a, r, cidr_private[i]));
        }
        return true;
    }
    if (add_range(a, r, token->text)) {
        return true;
    }
    static const struct slice names[] = {S_INIT("private_ranges")};
    struct cf_diag *d = cf_error(diags, token, "\"%.*s\" is no IP address or range such as"
                                 " 192.0.2.0/24 or 2001:db8::/32", SLICE_ARG(token->text));
    if (d) {
        cf_did_you_mean(diags, d, token->text, names, ARRAY_LEN(names));
    }
    return false;
}

bool ip_ranges_have(const struct ip_ranges *r, const struct addr *a)
{
    return cidr_list_has(r->items, r->count, a);
}

/* ---- the client ------------------------------------------------------------------------------ */

bool client_ip_trusts(const struct client_ip_policy *p, const struct addr *peer)
{
    return addr_is_unix(peer) ? p->trust_unix : ip_ranges_have(&p->trusted, peer);
}

/* One item of the list: an address, perhaps with a port ("1.2.3.4:80", "[::1]:80") or a zone. */
static bool parse_item(struct slice item, struct addr *out)
{
    struct slice s = slice_trim(item);
    size_t colon = slice_rfind(s, ':');
    if (s.n && s.p[0] == '[') {
        size_t end = slice_find(s, ']');
        if (end == SLICE_NPOS || (end + 1 < s.n && s.p[end + 1] != ':')) {
            return false;
        }
        s = slice_of(s.p + 1, end - 1);
    } else if (colon != SLICE_NPOS && slice_find(s, ':') == colon) {
        s = slice_upto(s, colon);
    }
    return addr_parse_ip(slice_upto(s, slice_find(s, '%')), 0, out);
}

/* Takes the last item off *list. */
static struct slice take_last(struct slice *list)
{
    size_t comma = slice_rfind(*list, ',');
    struct slice item = comma == SLICE_NPOS ? *list : slice_from(*list, comma + 1);
    *list = comma == SLICE_NPOS ? (struct slice){NULL, 0} : slice_upto(*list, comma);
    return item;
}

static bool left_most(const struct fields *fields, struct slice name, unsigned *budget,
                      struct addr *out)
{
    for (unsigned i = 0; i < fields->count; i++) {
        struct slice rest = fields->items[i].value;
        struct slice item;
        while (slice_eq_case(fields->items[i].name, name) && *budget &&
               slice_cut(&rest, ',', &item)) {
            --*budget;
            if (parse_item(item, out)) {
                return true;
            }
        }
    }
    return false;
}

static bool right_most(const struct client_ip_policy *p, const struct fields *fields,
                       struct slice name, unsigned *budget, struct addr *out)
{
    for (unsigned i = fields->count; i-- > 0;) {
        struct slice rest = fields->items[i].value;
        while (slice_eq_case(fields->items[i].name, name) && rest.p && *budget) {
            --*budget;
            if (parse_item(take_last(&rest), out) && !ip_ranges_have(&p->trusted, out)) {
                return true;
            }
        }
    }
    return false;
}

bool client_ip_find(const struct client_ip_policy *p, const struct fields *fields, struct addr *out)
{
    unsigned budget = LISTED_MAX;
    for (size_t i = 0; i < p->field_count; i++) {
        struct slice name = p->field_names[i];
        if (p->strict ? right_most(p, fields, name, &budget, out)
                      : left_most(fields, name, &budget, out)) {
            return true;
        }
    }
    return false;
}
