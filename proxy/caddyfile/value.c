/* Durations, sizes and files as directives write them.
 *
 * In:  the text of one token.
 * Out: a number, or false; the caller says what was expected and where. Of a file: can it be read?
 * Nothing is allocated. All arithmetic is checked: the text comes from a file a person wrote, but
 * caddis must not turn "9999999999h" into a small number. */
#include "proxy/caddyfile/caddyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MS_PER_DAY INT64_C(86400000)
/* A hundred Julian years: longer is a typing mistake, and shorter sums never overflow. */
#define DURATION_MAX_NS (INT64_C(36525) * MS_PER_DAY * 1000000)

struct unit {
    struct slice name;
    uint64_t size;
};

static const struct unit duration_units[] = {
    {S_INIT("ns"), 1},
    {S_INIT("us"), 1000},
    {S_INIT("\xc2\xb5s"), 1000}, /* U+00B5 micro sign */
    {S_INIT("\xce\xbcs"), 1000}, /* U+03BC Greek mu */
    {S_INIT("ms"), 1000000},
    {S_INIT("s"), UINT64_C(1000000000)},
    {S_INIT("m"), UINT64_C(60000000000)},
    {S_INIT("h"), UINT64_C(3600000000000)},
    {S_INIT("d"), UINT64_C(86400000000000)},
};

static const struct unit size_units[] = {
    {S_INIT(""), 1},
    {S_INIT("b"), 1},
    {S_INIT("k"), UINT64_C(1000)},
    {S_INIT("kb"), UINT64_C(1000)},
    {S_INIT("ki"), UINT64_C(1) << 10},
    {S_INIT("kib"), UINT64_C(1) << 10},
    {S_INIT("m"), UINT64_C(1000000)},
    {S_INIT("mb"), UINT64_C(1000000)},
    {S_INIT("mi"), UINT64_C(1) << 20},
    {S_INIT("mib"), UINT64_C(1) << 20},
    {S_INIT("g"), UINT64_C(1000000000)},
    {S_INIT("gb"), UINT64_C(1000000000)},
    {S_INIT("gi"), UINT64_C(1) << 30},
    {S_INIT("gib"), UINT64_C(1) << 30},
    {S_INIT("t"), UINT64_C(1000000000000)},
    {S_INIT("tb"), UINT64_C(1000000000000)},
    {S_INIT("ti"), UINT64_C(1) << 40},
    {S_INIT("tib"), UINT64_C(1) << 40},
    {S_INIT("p"), UINT64_C(1000000000000000)},
    {S_INIT("pb"), UINT64_C(1000000000000000)},
    {S_INIT("pi"), UINT64_C(1) << 50},
    {S_INIT("pib"), UINT64_C(1) << 50},
    {S_INIT("e"), UINT64_C(1000000000000000000)},
    {S_INIT("eb"), UINT64_C(1000000000000000000)},
    {S_INIT("ei"), UINT64_C(1) << 60},
    {S_INIT("eib"), UINT64_C(1) << 60},
};

/* A decimal number: whole part and up to nine digits behind the point, in billionths. */
struct decimal {
    uint64_t whole;
    uint32_t nano;
};

/* Takes "12", "1.5" or ".5" from the front of *s. False: no digit, or out of range. */
static bool take_decimal(struct slice *s, struct decimal *out)
{
    size_t digits = 0;
    size_t i = 0;
    *out = (struct decimal){0, 0};
    for (; i < s->n && ascii_is_digit(s->p[i]); i++, digits++) {
        if (__builtin_mul_overflow(out->whole, (uint64_t)10, &out->whole) ||
            __builtin_add_overflow(out->whole, (uint64_t)(s->p[i] - '0'), &out->whole)) {
            return false;
        }
    }
    if (i < s->n && s->p[i] == '.') {
        uint32_t place = 100000000;
        for (i++; i < s->n && ascii_is_digit(s->p[i]); i++, digits++) {
            out->nano += place * (uint32_t)(s->p[i] - '0'); /* past nine digits place is 0 */
            place /= 10;
        }
    }
    *s = slice_from(*s, i);
    return digits > 0;
}

/* number * size, the fraction rounded down; false on overflow. */
static bool scale(struct decimal number, uint64_t size, uint64_t *out)
{
    __extension__ typedef unsigned __int128 wide;
    wide value = (wide)number.whole * size + (wide)number.nano * size / 1000000000U;
    *out = (uint64_t)value;
    return value <= UINT64_MAX;
}

static const struct unit *find_unit(const struct unit *units, size_t count, struct slice name,
                                    bool any_case)
{
    for (size_t i = 0; i < count; i++) {
        if (any_case ? slice_eq_case(units[i].name, name) : slice_eq(units[i].name, name)) {
            return &units[i];
        }
    }
    return NULL;
}

bool cf_parse_duration(struct slice text, int64_t *ms)
{
    if (slice_eq(text, S("0")) || slice_eq(text, S("+0"))) {
        *ms = 0;
        return true;
    }
    if (text.n > 0 && text.p[0] == '+') {
        text = slice_from(text, 1);
    }
    uint64_t total_ns = 0;
    bool any = false;
    while (text.n > 0) {
        struct decimal number;
        if (!take_decimal(&text, &number)) {
            return false;
        }
        size_t n = 0;
        while (n < text.n && text.p[n] != '.' && !ascii_is_digit(text.p[n])) {
            n++;
        }
        const struct unit *unit = find_unit(duration_units, ARRAY_LEN(duration_units),
                                            slice_upto(text, n), false);
        uint64_t ns;
        if (!unit || !scale(number, unit->size, &ns) ||
            __builtin_add_overflow(total_ns, ns, &total_ns) ||
            total_ns > (uint64_t)DURATION_MAX_NS) {
            return false;
        }
        text = slice_from(text, n);
        any = true;
    }
    /* Rounded up: in most options 0 means "off", which a tiny positive time must not become. */
    if (any) {
        *ms = (int64_t)((total_ns + 999999) / 1000000);
    }
    return any;
}

bool cf_parse_size(struct slice text, uint64_t *bytes)
{
    struct decimal number;
    uint64_t value;
    if (!take_decimal(&text, &number)) {
        return false;
    }
    const struct unit *unit =
        find_unit(size_units, ARRAY_LEN(size_units), slice_trim(text), true);
    if (!unit || !scale(number, unit->size, &value)) {
        return false;
    }
    *bytes = value;
    return true;
}

bool cf_check_file(struct cf_diags *d, const struct cf_token *path)
{
    struct stat st;
    int fd = open(path->text.p, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int errnum = fd < 0 ? errno : fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) ? EISDIR : 0;
    if (fd >= 0) {
        close(fd);
    }
    if (errnum) {
        cf_error(d, path, "%s cannot be read: %s", path->text.p, strerrordesc_np(errnum));
    }
    return errnum == 0;
}
