/* Certificate and key as one thing: a writer and a tidying reader that die or fail at every step,
 * every mixture a crash can leave, damage of every kind, readers beside writers. What Caddy would
 * read (.crt and .key) is looked at, too. */
#include "tests/unit/store/helper.h"

#include <pthread.h>
#include <stdatomic.h>

#include "store/pair.h"

#define CA              "ca.example-directory"
#define NAME            "a.example"
#define FOLDER          "certificates/" CA "/" NAME
#define FILE_OF(suffix) FOLDER "/" NAME suffix

static char folder[PATH_BYTES];
static struct store *s;

static int setup(void **state UNUSED)
{
    temp_folder(folder);
    s = open_store(folder);
    return 0;
}

static int teardown(void **state UNUSED)
{
    store_fs_step = NULL;
    store_close(s);
    remove_tree(folder);
    return 0;
}

/* Stand-ins for PEM: "CRT <id> END" and "KEY <id> END" belong together. */
static bool matches(void *ctx UNUSED, struct slice crt, struct slice key)
{
    return crt.n > 8 && slice_starts(crt, S("CRT ")) && slice_starts(key, S("KEY ")) &&
           slice_ends(crt, S(" END")) && slice_eq(slice_from(crt, 4), slice_from(key, 4));
}

static enum store_result put_pair(const char *id, struct err *err)
{
    struct store_pair p;
    store_pair_init(&p);
    dstr_printf(&p.chain_pem, "CRT %s END", id);
    dstr_printf(&p.key_pem, "KEY %s END", id);
    dstr_printf(&p.meta_json, "{\"id\":\"%s\"}", id);
    enum store_result r = store_pair_put(s, S(CA), S(NAME), &p, err);
    store_pair_fini(&p);
    return r;
}

static void must_put(const char *id)
{
    struct err err = {0};
    if (put_pair(id, &err) != STORE_OK) {
        fail_msg("%s", err.text);
    }
}

static bool last_damaged;

/* The id of the pair that a reader gets, NULL if there is none. */
static const char *read_pair(void)
{
    static char id[64];
    struct store_pair p;
    struct err err = {0};
    store_pair_init(&p);
    enum store_result r = store_pair_get(s, S(CA), S(NAME), matches, NULL, &p, &last_damaged, &err);
    if (r == STORE_FAILED) {
        fail_msg("%s", err.text);
    }
    if (r == STORE_OK) {
        assert_true(matches(NULL, dstr_slice(&p.chain_pem), dstr_slice(&p.key_pem)));
        (void)snprintf(id, sizeof(id), "%.*s", (int)p.chain_pem.n - 8, p.chain_pem.p + 4);
    }
    store_pair_fini(&p);
    return r == STORE_OK ? id : NULL;
}

static void expect_pair(const char *id)
{
    const char *got = read_pair();
    assert_non_null(got);
    assert_string_equal(got, id);
}

/* What Caddy sees: both files by their plain names, and nothing unfinished beside them. */
static void expect_caddy(const char *id)
{
    char want[64];
    (void)snprintf(want, sizeof(want), "CRT %s END", id);
    assert_string_equal(get(s, FILE_OF(".crt")), want);
    (void)snprintf(want, sizeof(want), "KEY %s END", id);
    assert_string_equal(get(s, FILE_OF(".key")), want);
    /* (A .json.new alone means nothing and goes with the next write.) */
    assert_false(exists(folder, FILE_OF(".crt.new")));
    assert_false(exists(folder, FILE_OF(".key.new")));
}

/* Empties the folder and puts the given files there: suffix, text, suffix, text, ..., NULL. */
static void lay_out(const char *suffix, ...)
{
    va_list ap;
    va_start(ap, suffix);
    if (exists(folder, "certificates")) {
        remove_tree(path_in(folder, "certificates"));
    }
    for (; suffix; suffix = va_arg(ap, const char *)) {
        char key[256];
        (void)snprintf(key, sizeof(key), FOLDER "/" NAME "%s", suffix);
        put(s, key, va_arg(ap, const char *));
    }
    va_end(ap);
}

#define C(id) "CRT " id " END"
#define K(id) "KEY " id " END"

static void put_and_get(void **state UNUSED)
{
    assert_null(read_pair());
    assert_false(last_damaged);
    must_put("1");
    expect_caddy("1");
    expect_pair("1");
    must_put("2");
    expect_caddy("2");
    expect_pair("2");
    assert_string_equal(get(s, FILE_OF(".json")), "{\"id\":\"2\"}");
    assert_string_equal(get(s, FILE_OF(".crt.prev")), C("1"));
    assert_string_equal(get(s, FILE_OF(".key.prev")), K("1"));
    must_put("3");
    expect_caddy("3");
    assert_string_equal(get(s, FILE_OF(".key.prev")), K("2"));
    assert_int_equal(mode_of(folder, FILE_OF(".key")), 0600);
    assert_int_equal(mode_of(folder, FILE_OF(".key.prev")), 0600);
    assert_false(last_damaged);
}

static void meta_comes_along(void **state UNUSED)
{
    struct store_pair p;
    struct err err;
    must_put("1");
    store_pair_init(&p);
    dstr_append(&p.key_pem, S("what was there before"));
    assert_int_equal(store_pair_get(s, S(CA), S(NAME), matches, NULL, &p, NULL, &err), STORE_OK);
    assert_string_equal(p.meta_json.p, "{\"id\":\"1\"}");
    assert_string_equal(p.key_pem.p, K("1"));
    /* A pair without it does not inherit the old one's half-way. */
    dstr_reset(&p.meta_json);
    assert_int_equal(store_pair_put(s, S(CA), S(NAME), &p, &err), STORE_OK);
    store_pair_fini(&p);
    store_pair_init(&p);
    assert_int_equal(store_pair_put(s, S(CA), S(NAME), &p, &err), STORE_FAILED);
    store_pair_fini(&p);
    expect_pair("1");
}

static void in_memory_too(void **state UNUSED)
{
    store_close(s);
    s = store_open_memory();
    must_put("1");
    must_put("2");
    expect_pair("2");
    put(s, FILE_OF(".key"), "");
    expect_pair("1"); /* from .prev */
    assert_true(last_damaged);
}

/* ---- dying ---- */

static void put_old(void)
{
    lay_out(".crt", C("old"), ".key", K("old"), ".json", "{}", ".crt.prev", C("older"), ".key.prev",
            K("older"), NULL);
}

static void act_put(void *ctx)
{
    struct err err;
    if (put_pair(ctx, &err) != STORE_OK) {
        _exit(7);
    }
}

static void act_get(void *ctx UNUSED)
{
    (void)read_pair();
}

static void killed_anywhere_a_renewal_is_whole(void **state UNUSED)
{
    int steps = 0, olds = 0, news = 0;
    char new_id[] = "new";
    for (bool killed = true; killed; steps++) {
        put_old();
        killed = killed_at_step(steps + 1, act_put, new_id);
        const char *id = read_pair();
        assert_non_null(id);
        assert_false(last_damaged);
        bool is_new = strcmp(id, "new") == 0;
        assert_true(is_new || strcmp(id, "old") == 0);
        assert_true(is_new || killed);
        assert_true(olds == 0 || is_new || news == 0); /* never back again */
        olds += !is_new;
        news += is_new;
        expect_caddy(is_new ? "new" : "old");
        expect_pair(is_new ? "new" : "old");
        assert_int_equal(count_names(path_in(folder, FOLDER), "damaged"), 0);
        assert_string_equal(get(s, FILE_OF(".json")), is_new ? "{\"id\":\"new\"}" : "{}");
        age_temps(path_in(folder, FOLDER));
        must_put("next");
        expect_caddy("next");
        expect_pair("next");
        assert_int_equal(count_names(path_in(folder, FOLDER), STORE_TEMP_PREFIX), 0);
    }
    assert_true(steps > 25);
    assert_true(olds > 10 && news > 8);
}

static void killed_anywhere_a_first_write_is_whole(void **state UNUSED)
{
    char id[] = "new";
    bool killed = true;
    for (int i = 1; killed; i++) {
        lay_out(NULL);
        killed = killed_at_step(i, act_put, id);
        if (read_pair()) {
            expect_caddy("new");
            assert_string_equal(get(s, FILE_OF(".json")), "{\"id\":\"new\"}");
        } else {
            assert_true(killed);
            assert_null(get(s, FILE_OF(".crt")));
            must_put("other");
            expect_caddy("other");
        }
    }
}

/* A crash, a reader that is killed while it tidies at each of its steps, then a reader. */
static void killed_readers_leave_the_pair(void **state UNUSED)
{
    char id[] = "new";
    bool killed = true;
    for (int i = 1; killed; i++) {
        bool reader_killed = true;
        for (int j = 1 + i % 5; reader_killed; j += 5) { /* a fifth: they are many */
            put_old();
            killed = killed_at_step(i, act_put, id);
            reader_killed = killed_at_step(j, act_get, NULL);
            const char *got = read_pair();
            assert_non_null(got);
            assert_true(strcmp(got, "old") == 0 || strcmp(got, "new") == 0);
            expect_caddy(strcmp(got, "new") == 0 ? "new" : "old");
        }
    }
}

/* A second writer straight after the crash, killed at each step as well: no reader in between. */
static void killed_writers_one_after_another(void **state UNUSED)
{
    char first[] = "first", second[] = "second";
    bool killed = true;
    for (int i = 1; killed; i++) {
        bool again = true;
        for (int j = 1 + i % 3; again; j += 3) { /* a third: they are many */
            put_old();
            killed = killed_at_step(i, act_put, first);
            again = killed_at_step(j, act_put, second);
            const char *got = read_pair();
            assert_non_null(got);
            if (!again) {
                assert_string_equal(got, "second");
            }
            /* Dying damages nothing. */
            assert_false(last_damaged);
            assert_int_equal(count_names(path_in(folder, FOLDER), "damaged"), 0);
            char id[64];
            (void)snprintf(id, sizeof(id), "%s", got);
            expect_caddy(id);
        }
    }
}

/* ---- failing ---- */

static void fail_puts(int errnum, int (*hook)(const char *))
{
    int descriptors = open_descriptors();
    bool done = false;
    int not_taken_back = 0;
    for (int i = 1; !done; i++) {
        struct err err = {0};
        put_old();
        step_errno = errnum;
        step_countdown = i;
        store_fs_step = hook;
        enum store_result r = put_pair("new", &err);
        /* While the disk is still failing, too, the pair can be read. */
        char id[64];
        (void)snprintf(id, sizeof(id), "%s", read_pair());
        done = step_countdown > 0;
        store_fs_step = NULL;
        if (strcmp(id, "new") == 0 && r == STORE_FAILED) {
            not_taken_back++;
        } else {
            assert_string_equal(id, r == STORE_OK ? "new" : "old");
        }
        expect_pair(id);
        expect_caddy(id);
        if (r == STORE_FAILED) {
            assert_non_null(strstr(err.text, strerror(errnum)));
        }
    }
    /* Only where the fsync after the last rename of the new files fails, and the unlink too. */
    assert_true(not_taken_back <= (hook == fail_from_step));
    assert_int_equal(open_descriptors(), descriptors);
}

static void failing_disks(void **state UNUSED)
{
    fail_puts(ENOSPC, fail_from_step);
    fail_puts(EROFS, fail_from_step);
    fail_puts(ENOSPC, fail_at_step);
    fail_puts(EIO, fail_at_step);
    fail_puts(EPERM, fail_at_step); /* also: no hard links */
}

static void a_file_that_cannot_be_read_is_not_damage(void **state UNUSED)
{
    struct store_pair p;
    struct err err = {0};
    bool damaged;
    store_pair_init(&p);
    assert_int_equal(symlink("elsewhere", path_in(folder, "certificates")), 0);
    assert_int_equal(store_pair_get(s, S(CA), S(NAME), matches, NULL, &p, &damaged, &err),
                     STORE_FAILED);
    assert_false(damaged);
    assert_non_null(strstr(err.text, "certificates is a symbolic link"));
    store_pair_fini(&p);
}

/* Too large, a link, a folder: it will never be a value, so it is damage. */
static void what_can_be_no_value_is_set_aside(void **state UNUSED)
{
    for (int i = 0; i < 3; i++) {
        struct store_pair p;
        struct err err = {0};
        bool damaged;
        lay_out(".key", K("1"), ".crt.prev", C("1"), NULL);
        const char *crt = path_in(folder, FILE_OF(".crt"));
        if (i == 0) {
            assert_int_equal(symlink("elsewhere", crt), 0);
        } else if (i == 1) {
            assert_int_equal(mkdir(crt, 0700), 0);
        } else {
            write_raw(folder, FILE_OF(".crt"), "x");
            assert_int_equal(truncate(crt, (off_t)STORE_VALUE_MAX + 1), 0);
        }
        store_pair_init(&p);
        assert_int_equal(store_pair_get(s, S(CA), S(NAME), matches, NULL, &p, &damaged, &err),
                         STORE_OK);
        assert_true(damaged);
        assert_true(exists(folder, FILE_OF(".crt.damaged-1")));
        assert_string_equal(get(s, FILE_OF(".crt")), C("1"));
        store_pair_fini(&p);
        remove_tree(path_in(folder, "certificates"));
    }
}

/* ---- every mixture of {new, current, prev}, each of two generations or absent ---- */

static void every_mixture_that_matches_is_read(void **state UNUSED)
{
    static const char *const suffixes[6] = {".crt.new", ".key.new",  ".crt",
                                            ".key",     ".crt.prev", ".key.prev"};
    /* Each file: absent, generation 1, generation 2, garbled. */
    for (int code = 0; code < 4096; code += 1) {
        int what[6];
        bool matchable = false;
        for (int i = 0; i < 6; i++) {
            what[i] = code >> (2 * i) & 3;
        }
        if (what[4] == 3 || what[5] == 3 || code % 3 != 0) {
            continue; /* a third of them is plenty */
        }
        if (exists(folder, "certificates")) {
            remove_tree(path_in(folder, "certificates"));
        }
        assert_int_equal(mkdir(path_in(folder, "certificates"), 0700), 0);
        assert_int_equal(mkdir(path_in(folder, "certificates/" CA), 0700), 0);
        assert_int_equal(mkdir(path_in(folder, FOLDER), 0700), 0);
        for (int i = 0; i < 6; i++) {
            char name[128], text[32];
            (void)snprintf(name, sizeof(name), FOLDER "/" NAME "%s", suffixes[i]);
            (void)snprintf(text, sizeof(text), "%s %d END", i % 2 ? "KEY" : "CRT", what[i]);
            if (what[i]) {
                write_raw(folder, name, what[i] == 3 ? "garbled" : text);
            }
            for (int j = 0; j < 6; j++) {
                matchable = matchable || (i % 2 == 0 && j % 2 == 1 && what[i] == what[j] &&
                                          (what[i] == 1 || what[i] == 2));
            }
        }
        const char *id = read_pair();
        assert_int_equal(id != NULL, matchable);
        if (id) {
            char first[64];
            (void)snprintf(first, sizeof(first), "%s", id);
            expect_caddy(first);
            expect_pair(first);
            assert_false(last_damaged);
        } else {
            assert_null(read_pair());
            assert_false(last_damaged); /* it was set aside the first time */
            must_put("fresh");
            expect_caddy("fresh");
        }
    }
}

static void the_newest_is_preferred(void **state UNUSED)
{
    lay_out(".crt.new", C("2"), ".key.new", K("2"), ".crt", C("1"), ".key", K("1"), NULL);
    expect_pair("2");
    assert_string_equal(get(s, FILE_OF(".key.prev")), K("1"));
    lay_out(".crt.new", C("2"), ".crt", C("1"), ".key", K("2"), ".crt.prev", C("1"), ".key.prev",
            K("1"), NULL);
    expect_pair("2");
    expect_caddy("2");
    lay_out(".key.new", K("2"), ".crt", C("1"), ".key", K("1"), NULL);
    expect_pair("1");
    expect_caddy("1");
    assert_false(last_damaged);
    assert_int_equal(count_names(path_in(folder, FOLDER), "damaged"), 0);
}

/* ---- damage ---- */

static void damage(const char *suffix, const char *text)
{
    char name[128];
    lay_out(".crt", C("good"), ".key", K("good"), ".json", "{}", NULL);
    put(s, "certificates/" CA "/b.example/b.example.crt", C("b"));
    put(s, "certificates/" CA "/b.example/b.example.key", K("b"));
    (void)snprintf(name, sizeof(name), FOLDER "/" NAME "%s", suffix);
    if (text) {
        write_raw(folder, name, text);
    } else {
        assert_int_equal(unlink(path_in(folder, name)), 0);
    }
    assert_null(read_pair());
    assert_true(last_damaged);
    assert_null(get(s, FILE_OF(".crt")));
    assert_null(get(s, FILE_OF(".key")));
    assert_int_equal(count_names(path_in(folder, FOLDER), ".damaged-1"), text ? 2 : 1);
    assert_string_equal(get(s, "certificates/" CA "/b.example/b.example.crt"), C("b"));
    assert_string_equal(get(s, "certificates/" CA "/b.example/b.example.key"), K("b"));
    must_put("fresh");
    expect_pair("fresh");
}

static void damaged_pairs_are_set_aside(void **state UNUSED)
{
    static const char *const suffixes[] = {".crt", ".key"};
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        damage(suffixes[i], "");
        damage(suffixes[i], "KEY go");
        damage(suffixes[i], "\x01\x02 garbage");
        damage(suffixes[i], i ? K("other") : C("other"));
        damage(suffixes[i], NULL);
    }
}

static void a_damaged_pair_falls_back_to_the_one_before(void **state UNUSED)
{
    must_put("1");
    must_put("2");
    write_raw(folder, FILE_OF(".key"), "");
    expect_pair("1");
    assert_true(last_damaged);
    expect_caddy("1");
    assert_string_equal(get(s, FILE_OF(".key.damaged-1")), "");
    assert_string_equal(get(s, FILE_OF(".crt.damaged-1")), C("2"));
    expect_pair("1");
    assert_false(last_damaged);
    must_put("3");
    expect_caddy("3");
}

/* Bringing the one before back may be killed at each step. */
static void killed_anywhere_a_fallback_is_whole(void **state UNUSED)
{
    bool killed = true;
    for (int i = 1; killed; i++) {
        lay_out(".crt", C("2"), ".key", "garbled", ".crt.prev", C("1"), ".key.prev", K("1"), NULL);
        killed = killed_at_step(i, act_get, NULL);
        expect_pair("1");
        expect_caddy("1");
    }
}

static void names_are_one_part(void **state UNUSED)
{
    struct store_pair p;
    struct err err;
    store_pair_init(&p);
    dstr_append(&p.chain_pem, S(C("x")));
    dstr_append(&p.key_pem, S(K("x")));
    assert_int_equal(store_pair_put(s, S("../.."), S("../../x"), &p, &err), STORE_OK);
    assert_string_equal(get(s, "certificates/_/x/x.crt"), C("x"));
    assert_int_equal(store_pair_put(s, S(CA), S("*.a.example"), &p, &err), STORE_OK);
    assert_string_equal(get(s, "certificates/" CA "/wildcard_.a.example/wildcard_.a.example.crt"),
                        C("x"));
    char longest[300];
    memset(longest, 'l', sizeof(longest));
    assert_int_equal(store_pair_put(s, S(CA), slice_of(longest, 300), &p, &err), STORE_FAILED);
    store_pair_fini(&p);
}

/* ---- readers beside writers ---- */

struct race {
    atomic_bool stop;
    atomic_int broken, reads;
};

static void *read_on(void *arg)
{
    struct race *r = arg;
    while (!atomic_load(&r->stop)) {
        struct store_pair p;
        struct err err;
        bool damaged;
        store_pair_init(&p);
        if (store_pair_get(s, S(CA), S(NAME), matches, NULL, &p, &damaged, &err) != STORE_OK ||
            damaged || !matches(NULL, dstr_slice(&p.chain_pem), dstr_slice(&p.key_pem))) {
            atomic_fetch_add(&r->broken, 1);
        }
        atomic_fetch_add(&r->reads, 1);
        store_pair_fini(&p);
    }
    return NULL;
}

static void readers_beside_writers(void **state UNUSED)
{
    struct race r = {.broken = 0};
    pthread_t threads[3];
    must_put("first");
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &r), 0);
    }
    for (int i = 0; i < 60 || atomic_load(&r.reads) < 200; i++) {
        char id[32];
        (void)snprintf(id, sizeof(id), "%d", i);
        must_put(id);
    }
    atomic_store(&r.stop, true);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(atomic_load(&r.broken), 0);
    assert_int_equal(count_names(path_in(folder, FOLDER), "damaged"), 0);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(put_and_get),
        TEST(meta_comes_along),
        TEST(in_memory_too),
        TEST(killed_anywhere_a_renewal_is_whole),
        TEST(killed_anywhere_a_first_write_is_whole),
        TEST(killed_readers_leave_the_pair),
        TEST(killed_writers_one_after_another),
        TEST(failing_disks),
        TEST(a_file_that_cannot_be_read_is_not_damage),
        TEST(what_can_be_no_value_is_set_aside),
        TEST(every_mixture_that_matches_is_read),
        TEST(the_newest_is_preferred),
        TEST(damaged_pairs_are_set_aside),
        TEST(a_damaged_pair_falls_back_to_the_one_before),
        TEST(killed_anywhere_a_fallback_is_whole),
        TEST(names_are_one_part),
        TEST(readers_beside_writers),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
