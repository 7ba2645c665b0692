/* Keys of the store in CertMagic's layout (names.h). In: names as people and CAs write them. Out:
 * keys in the caller's arena whose parts can never leave their folder. An arena that is full gives
 * an empty key, which every store operation refuses. */
#include "store/names.h"

#include "store/backend.h"

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_kept(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c) || c == '_' || c == '@' || c == '.' || c == '-';
}

/* One character (or "..") of the name; returns how many bytes of it were used. */
static size_t safe_step(struct dstr *out, struct slice rest)
{
    char c = ascii_lower(rest.p[0]);
    if (slice_starts(rest, S(".."))) {
        return 2;
    }
    switch (c) {
    case ' ': dstr_byte(out, '_'); break;
    case '+': dstr_append(out, S("_plus_")); break;
    case '*': dstr_append(out, S("wildcard_")); break;
    case ':': dstr_byte(out, '-'); break;
    default:
        if (is_kept(c)) {
            dstr_byte(out, c);
        }
    }
    return 1;
}

struct slice store_safe_name(struct arena *a, struct slice name)
{
    while (name.n && is_space(name.p[0])) {
        name = slice_from(name, 1);
    }
    while (name.n && is_space(name.p[name.n - 1])) {
        name.n--;
    }
    struct dstr d;
    dstr_init(&d, STORE_VALUE_MAX);
    while (name.n) {
        name = slice_from(name, safe_step(&d, name));
    }
    struct slice safe = dstr_slice(&d);
    /* Removing bytes can make dots meet ("./." becomes ".."), and nothing may become no part at
     * all or one of our temp files. */
    if (safe.n == 0 || slice_eq(safe, S(".")) || slice_eq(safe, S("..")) ||
        slice_starts(safe, S(STORE_TEMP_PREFIX))) {
        safe = arena_printf(a, "_%.*s", SLICE_ARG(safe));
    } else {
        safe = d.failed ? slice_of(NULL, 0) : arena_copy(a, safe);
    }
    dstr_fini(&d);
    return safe;
}

struct slice store_ca_name(struct arena *a, struct slice url)
{
    size_t scheme = slice_find_slice(url, S("://"));
    struct slice rest = scheme == SLICE_NPOS ? url : slice_from(url, scheme + 3);
    /* Neither query nor fragment belongs to the name. */
    rest = slice_upto(rest, slice_find(rest, '?'));
    rest = slice_upto(rest, slice_find(rest, '#'));
    size_t slash = slice_find(rest, '/');
    struct slice host = slice_upto(rest, slash);
    size_t at = slice_rfind(host, '@');
    host = at == SLICE_NPOS ? host : slice_from(host, at + 1);
    struct slice path = slash == SLICE_NPOS ? slice_of(NULL, 0) : slice_from(rest, slash);
    struct dstr d;
    dstr_init(&d, STORE_KEY_MAX);
    for (size_t i = 0; i < path.n; i++) {
        dstr_byte(&d, path.p[i] == '/' || path.p[i] == '\\' ? '-' : path.p[i]);
    }
    struct slice hyphened = dstr_slice(&d);
    while (hyphened.n && hyphened.p[0] == '-') {
        hyphened = slice_from(hyphened, 1);
    }
    while (hyphened.n && hyphened.p[hyphened.n - 1] == '-') {
        hyphened.n--;
    }
    struct slice whole =
        arena_printf(a, "%.*s%s%.*s", SLICE_ARG(host), hyphened.n ? "-" : "", SLICE_ARG(hyphened));
    dstr_fini(&d);
    return store_safe_name(a, whole);
}

struct slice store_cert_key(struct arena *a, struct slice ca, struct slice name, const char *suffix)
{
    struct slice c = store_safe_name(a, ca), n = store_safe_name(a, name);
    return arena_printf(a, "certificates/%.*s/%.*s/%.*s%s", SLICE_ARG(c), SLICE_ARG(n),
                        SLICE_ARG(n), suffix);
}

struct slice store_account_key(struct arena *a, struct slice ca, struct slice email,
                               const char *suffix)
{
    if (slice_trim(email).n == 0) {
        email = S("default");
    }
    /* The folder has the whole address, the file only what is before the '@'. */
    size_t at = slice_find(email, '@');
    struct slice user = at == SLICE_NPOS ? email
                        : at == 0        ? slice_from(email, 1)
                                         : slice_upto(email, at);
    if (user.n == 0) {
        user = slice_eq(slice_str(suffix), S(".key")) ? S("private") : S("registration");
    }
    struct slice c = store_safe_name(a, ca), folder = store_safe_name(a, email);
    struct slice file = store_safe_name(a, user);
    return arena_printf(a, "acme/%.*s/users/%.*s/%.*s%s", SLICE_ARG(c), SLICE_ARG(folder),
                        SLICE_ARG(file), suffix);
}

struct slice store_challenge_key(struct arena *a, struct slice ca, struct slice name)
{
    struct slice c = store_safe_name(a, ca), n = store_safe_name(a, name);
    return arena_printf(a, "acme/%.*s/challenge_tokens/%.*s.json", SLICE_ARG(c), SLICE_ARG(n));
}

struct slice store_pki_key(struct arena *a, struct slice id, const char *file)
{
    struct slice i = store_safe_name(a, id), f = store_safe_name(a, slice_str(file));
    return arena_printf(a, "pki/authorities/%.*s/%.*s", SLICE_ARG(i), SLICE_ARG(f));
}

struct slice store_schedule_key(struct arena *a, struct slice ca, struct slice name)
{
    struct slice c = store_safe_name(a, ca), n = store_safe_name(a, name);
    return arena_printf(a, "caddis/schedule/%.*s/%.*s.json", SLICE_ARG(c), SLICE_ARG(n));
}

struct slice store_order_key(struct arena *a, struct slice ca, struct slice name,
                             const char *suffix)
{
    struct slice c = store_safe_name(a, ca), n = store_safe_name(a, name);
    return arena_printf(a, "caddis/order/%.*s/%.*s%s", SLICE_ARG(c), SLICE_ARG(n), suffix);
}

struct slice store_worked_key(struct arena *a, struct slice name)
{
    return arena_printf(a, "caddis/challenge/%.*s.json", SLICE_ARG(store_safe_name(a, name)));
}

struct slice store_dns_key(struct arena *a, struct slice name)
{
    return arena_printf(a, "caddis/dns/%.*s.json", SLICE_ARG(store_safe_name(a, name)));
}

struct slice store_ari_key(struct arena *a, struct slice ca, struct slice name)
{
    struct slice c = store_safe_name(a, ca), n = store_safe_name(a, name);
    return arena_printf(a, "caddis/ari/%.*s/%.*s.json", SLICE_ARG(c), SLICE_ARG(n));
}

struct slice store_ledger_key(struct arena *a, struct slice ca, struct slice what)
{
    struct slice c = store_safe_name(a, ca), w = store_safe_name(a, what);
    return arena_printf(a, "caddis/ledger/%.*s/%.*s.json", SLICE_ARG(c), SLICE_ARG(w));
}
