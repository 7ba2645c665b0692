/* PCRE2 behind regex.h. Patterns are compiled with JIT where the machine has it (else interpreted,
 * under the same limits). Match data and the JIT's stack belong to the thread and end with it. */
#include "proxy/route/regex.h"

#include <pthread.h>
#include <stdlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "proxy/base/mem.h"
#include "proxy/route/regex_dialect.h"

/* About 10 ms of an event loop's time at the most. */
#define MATCH_LIMIT 1000000u
#define DEPTH_LIMIT 10000u
#define HEAP_LIMIT_KIB 4096u
#define JIT_STACK_MIN ((size_t)32 * 1024)
#define JIT_STACK_MAX ((size_t)512 * 1024)

struct regex {
    pcre2_code *code;
    uint32_t groups;
};

/* What a thread needs to match. */
struct matching {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

static void free_matching(void *arg)
{
    struct matching *m = arg;
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    pcre2_jit_stack_free(m->stack);
    free(m);
}

static void make_key(void)
{
    must(pthread_key_create(&key, free_matching) == 0);
}

/* NULL: memory. */
static struct matching *matching_of_thread(void)
{
    must(pthread_once(&once, make_key) == 0);
    struct matching *m = pthread_getspecific(key);
    if (m) {
        return m;
    }
    m = calloc(1, sizeof(*m));
    if (!m) {
        return NULL;
    }
    m->data = pcre2_match_data_create(REGEX_CAPTURES_MAX, NULL);
    m->context = pcre2_match_context_create(NULL);
    m->stack = pcre2_jit_stack_create(JIT_STACK_MIN, JIT_STACK_MAX, NULL);
    if (!m->data || !m->context || !m->stack || pthread_setspecific(key, m) != 0) {
        free_matching(m);
        return NULL;
    }
    pcre2_set_match_limit(m->context, MATCH_LIMIT);
    pcre2_set_depth_limit(m->context, DEPTH_LIMIT);
    pcre2_set_heap_limit(m->context, HEAP_LIMIT_KIB);
    pcre2_jit_stack_assign(m->context, NULL, m->stack);
    return m;
}

/* ---- compiling ------------------------------------------------------------------------------- */

static void free_code(void *arg)
{
    struct regex *re = arg;
    pcre2_code_free(re->code);
}

static struct slice pcre_message(struct arena *a, int code)
{
    PCRE2_UCHAR text[160];
    return pcre2_get_error_message(code, text, sizeof(text)) >= 0
               ? arena_printf(a, "%s", (const char *)text)
               : S("it is malformed");
}

static pcre2_code *compile(struct arena *a, struct slice pattern, struct slice *why)
{
    int error;
    PCRE2_SIZE at;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    must(context);
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(context, 200);
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n,
                                     PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_DOLLAR_ENDONLY |
                                         PCRE2_NEVER_BACKSLASH_C,
                                     &error, &at, context);
    pcre2_compile_context_free(context);
    if (!code) {
        *why = pcre_message(a, error);
    }
    return code;
}

struct regex *regex_compile(struct arena *a, struct slice pattern, struct slice *why)
{
    const char *refused = NULL;
    struct dstr text;
    struct regex *re = ARENA_NEW(a, struct regex);
    must(re);
    if (pattern.n > REGEX_PATTERN_MAX) {
        *why = S("it is too long");
        return NULL;
    }
    dstr_init(&text, REGEX_PATTERN_MAX * 4 + 1);
    dstr_append(&text, S(""));
    if (regex_from_re2(pattern, &text, &refused)) {
        struct slice s = dstr_slice(&text);
        re->code = compile(a, s.p ? s : S(""), why);
    } else {
        *why = slice_str(refused);
    }
    dstr_fini(&text);
    if (!re->code) {
        return NULL;
    }
    (void)pcre2_jit_compile(re->code, PCRE2_JIT_COMPLETE); /* without it: interpreted */
    (void)pcre2_pattern_info(re->code, PCRE2_INFO_CAPTURECOUNT, &re->groups);
    re->groups++;
    arena_on_fini(a, free_code, re);
    if (re->groups > REGEX_CAPTURES_MAX) {
        *why = S("it has more than 31 groups");
        return NULL;
    }
    return re;
}

/* ---- matching -------------------------------------------------------------------------------- */

static enum regex_result match_at(const struct regex *re, struct slice text, size_t from,
                                  uint32_t options, struct matching **out)
{
    struct matching *m = matching_of_thread();
    if (!m) {
        return REGEX_LIMIT;
    }
    *out = m;
    int rc = pcre2_match(re->code, (PCRE2_SPTR)(text.p ? text.p : ""), text.n, from, options,
                         m->data, m->context);
    return rc >= 0 ? REGEX_MATCH : rc == PCRE2_ERROR_NOMATCH ? REGEX_NO : REGEX_LIMIT;
}

static struct slice group_of(const struct matching *m, struct slice text, size_t i)
{
    const PCRE2_SIZE *v = pcre2_get_ovector_pointer(m->data);
    if (v[2 * i] == PCRE2_UNSET || v[2 * i] > v[2 * i + 1]) {
        return (struct slice){NULL, 0};
    }
    return slice_of((text.p ? text.p : "") + v[2 * i], v[2 * i + 1] - v[2 * i]);
}

enum regex_result regex_search(const struct regex *re, struct slice text, struct slice *captures,
                               size_t max, size_t *count)
{
    struct matching *m;
    enum regex_result r = match_at(re, text, 0, 0, &m);
    size_t n = max < re->groups ? max : re->groups;
    if (r == REGEX_MATCH) {
        for (size_t i = 0; i < n; i++) {
            captures[i] = group_of(m, text, i);
        }
    }
    if (count) {
        *count = r == REGEX_MATCH ? n : 0;
    }
    return r;
}

size_t regex_group_count(const struct regex *re)
{
    return re->groups;
}

/* Entry number i of the table of names: its group, and the name. False: there is none. */
static bool name_entry(const struct regex *re, uint32_t i, size_t *group, struct slice *name)
{
    PCRE2_SPTR table;
    uint32_t count = 0;
    uint32_t size = 0;
    (void)pcre2_pattern_info(re->code, PCRE2_INFO_NAMECOUNT, &count);
    (void)pcre2_pattern_info(re->code, PCRE2_INFO_NAMEENTRYSIZE, &size);
    (void)pcre2_pattern_info(re->code, PCRE2_INFO_NAMETABLE, &table);
    if (i >= count) {
        return false;
    }
    const unsigned char *entry = table + (size_t)i * size;
    *group = ((size_t)entry[0] << 8) | entry[1];
    *name = slice_str((const char *)entry + 2);
    return true;
}

size_t regex_group_number(const struct regex *re, struct slice name)
{
    size_t group;
    struct slice have;
    for (uint32_t i = 0; name_entry(re, i, &group, &have); i++) {
        if (slice_eq(have, name)) {
            return group;
        }
    }
    return 0;
}

struct slice regex_group_name(const struct regex *re, size_t group)
{
    size_t number;
    struct slice name;
    for (uint32_t i = 0; name_entry(re, i, &number, &name); i++) {
        if (number == group) {
            return name;
        }
    }
    return S("");
}

/* ---- replacing ------------------------------------------------------------------------------- */

static bool is_name_byte(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c) || c == '_';
}

/* The name behind a '$' at the front of s; *used is what it takes with its braces. Empty: none. */
static struct slice reference_name(struct slice s, size_t *used)
{
    bool braces = s.n && s.p[0] == '{';
    size_t i = braces ? 1 : 0;
    while (i < s.n && is_name_byte(s.p[i])) {
        i++;
    }
    struct slice name = slice_of(s.p + (braces ? 1 : 0), i - (braces ? 1 : 0));
    if (braces && (i == s.n || s.p[i] != '}')) {
        name.n = 0;
    }
    *used = i + (braces ? 1 : 0);
    return name;
}

static void append_group(const struct regex *re, const struct matching *m, struct slice text,
                         struct slice name, struct dstr *out)
{
    uint64_t number;
    if (!slice_u64(name, 1000, &number)) {
        number = regex_group_number(re, name);
        if (number == 0) {
            return;
        }
    }
    if (number < re->groups) {
        dstr_append(out, group_of(m, text, number));
    }
}

static void append_replacement(const struct regex *re, const struct matching *m, struct slice text,
                               struct slice with, struct dstr *out)
{
    size_t at;
    while ((at = slice_find(with, '$')) != SLICE_NPOS) {
        dstr_append(out, slice_upto(with, at));
        with = slice_from(with, at + 1);
        size_t used;
        struct slice name = reference_name(with, &used);
        if (name.n) {
            append_group(re, m, text, name, out);
            with = slice_from(with, used);
        } else {
            dstr_byte(out, '$');
            with = slice_from(with, with.n && with.p[0] == '$' ? 1 : 0);
        }
    }
    dstr_append(out, with);
}

enum regex_result regex_expand(const struct regex *re, struct slice text, struct slice with,
                               struct dstr *out)
{
    struct matching *m;
    enum regex_result r = match_at(re, text, 0, 0, &m);
    if (r == REGEX_MATCH) {
        append_replacement(re, m, text, with, out);
    }
    return r;
}

/* How long the character at p is; 1 for a stray byte. */
static size_t character_bytes(struct slice s)
{
    size_t n = 1;
    while (n < s.n && n < 4 && ((unsigned char)s.p[n] & 0xc0) == 0x80) {
        n++;
    }
    return n;
}

enum regex_result regex_replace_all(const struct regex *re, struct slice text, struct slice with,
                                    struct dstr *out)
{
    size_t done = 0;   /* copied so far */
    size_t from = 0;   /* where to look next */
    while (from <= text.n) {
        struct matching *m;
        enum regex_result r = match_at(re, text, from, 0, &m);
        if (r == REGEX_LIMIT) {
            return r;
        }
        if (r == REGEX_NO) {
            break;
        }
        const PCRE2_SIZE *v = pcre2_get_ovector_pointer(m->data);
        size_t start = v[0];
        size_t end = v[1];
        dstr_append(out, slice_upto(slice_from(text, done), start - done));
        if (end > done || start == 0) { /* not an empty one right behind another (as in Go) */
            append_replacement(re, m, text, with, out);
        }
        done = end;
        size_t step = from < text.n ? character_bytes(slice_from(text, from)) : 1;
        from = from + step > end ? from + step : end;
        if (out->failed) {
            break;
        }
    }
    dstr_append(out, slice_from(text, done));
    return REGEX_MATCH;
}
