/* What every back end of the store must do: the same tests on a folder and in memory. */
#include "tests/unit/store/helper.h"

#include <pthread.h>
#include <stdatomic.h>

#include "proxy/base/clock.h"

struct fixture {
    char folder[PATH_BYTES]; /* empty: in memory */
    struct store *s;
};

static int setup_fs(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    temp_folder(f->folder);
    f->s = open_store(f->folder);
    *state = f;
    return 0;
}

static int setup_memory(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->s = store_open_memory();
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    store_close(f->s);
    if (f->folder[0]) {
        remove_tree(f->folder);
    }
    free(f);
    return 0;
}

static void values(void **state)
{
    struct store *s = ((struct fixture *)*state)->s;
    struct err err;
    assert_null(get(s, "a/b/c.json"));
    put(s, "a/b/c.json", "one");
    assert_string_equal(get(s, "a/b/c.json"), "one");
    put(s, "a/b/c.json", "two, which is longer");
    assert_string_equal(get(s, "a/b/c.json"), "two, which is longer");
    put(s, "a/b/c.json", "");
    assert_string_equal(get(s, "a/b/c.json"), "");
    put(s, "top", "at the root");
    assert_string_equal(get(s, "top"), "at the root");
    assert_int_equal(store_delete(s, S("a/b/c.json"), &err), STORE_OK);
    assert_null(get(s, "a/b/c.json"));
    assert_int_equal(store_delete(s, S("a/b/c.json"), &err), STORE_OK);
    assert_int_equal(store_delete(s, S("no/such/folder"), &err), STORE_OK);
}

static void get_appends_within_the_readers_maximum(void **state)
{
    struct store *s = ((struct fixture *)*state)->s;
    struct err err = {0};
    struct dstr d;
    put(s, "k", "12345");
    dstr_init(&d, 10);
    dstr_append(&d, S("abcde"));
    assert_int_equal(store_get(s, S("k"), &d, &err), STORE_OK);
    assert_string_equal(d.p, "abcde12345");
    dstr_fini(&d);
    dstr_init(&d, 4);
    assert_int_equal(store_get(s, S("k"), &d, &err), STORE_UNUSABLE);
    assert_non_null(strstr(err.text, "k"));
    dstr_fini(&d);
}

static void size_limit(void **state)
{
    struct store *s = ((struct fixture *)*state)->s;
    struct err err = {0};
    char *big = calloc(1, STORE_VALUE_MAX + 1);
    assert_non_null(big);
    put(s, "k", "old");
    assert_int_equal(store_put(s, S("k"), slice_of(big, STORE_VALUE_MAX + 1), &err), STORE_FAILED);
    assert_non_null(strstr(err.text, "k"));
    assert_string_equal(get(s, "k"), "old");
    assert_int_equal(store_put(s, S("k"), slice_of(big, STORE_VALUE_MAX), &err), STORE_OK);
    assert_int_equal(get_result(s, "k", &err), STORE_OK);
    free(big);
}

static void keys_cannot_leave(void **state)
{
    struct store *s = ((struct fixture *)*state)->s;
    static const char *const bad[] = {
        "",
        "/",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a/..",
        "a//b",
        "a/",
        ".",
        "a/./b",
        "a\nb",
        "a/\x7f",
        "a/b/c/d/e/f/g/h/i",
        "a/" STORE_TEMP_PREFIX "1",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err = {0};
        struct slice k = slice_str(bad[i]);
        assert_int_equal(store_put(s, k, S("x"), &err), STORE_FAILED);
        assert_true(err.text[0]);
        assert_int_equal(get_result(s, bad[i], &err), STORE_FAILED);
        assert_int_equal(store_delete(s, k, &err), STORE_FAILED);
        assert_int_equal(store_rename(s, k, S("x"), &err), STORE_FAILED);
        assert_int_equal(store_rename(s, S("x"), k, &err), STORE_FAILED);
        assert_int_equal(store_set_aside(s, k, &err), STORE_FAILED);
    }
    struct err err = {0};
    assert_int_equal(store_put(s, slice_of("a\0b", 3), S("x"), &err), STORE_FAILED);
    char part[STORE_PART_MAX + 2];
    memset(part, 'x', sizeof(part));
    assert_int_equal(store_put(s, slice_of(part, STORE_PART_MAX + 1), S("x"), &err), STORE_FAILED);
    assert_string_equal(list(s, ""), "");
}

static void lists(void **state)
{
    struct store *s = ((struct fixture *)*state)->s;
    assert_null(list(s, "certificates"));
    put(s, "certificates/ca/b.example/b.example.crt", "x");
    put(s, "certificates/ca/a.example/a.example.crt", "x");
    put(s, "certificates/ca/a.example/a.example.key", "x");
    put(s, "certificates/ca/z", "x");
    put(s, "certificatesX", "x");
    assert_string_equal(list(s, ""), "certificates/ certificatesX ");
    assert_string_equal(list(s, "certificates"), "ca/ ");
    assert_string_equal(list(s, "certificates/ca"), "a.example/ b.example/ z ");
    assert_string_equal(list(s, "certificates/ca/a.example"), "a.example.crt a.example.key ");
    assert_null(list(s, "certificates/other"));
}

static void renames_and_copies(void **state)
{
    struct store *s = ((struct fixture *)*state)->s;
    struct err err;
    assert_int_equal(store_rename(s, S("a/1"), S("a/2"), &err), STORE_MISSING);
    assert_int_equal(store_copy(s, S("a/1"), S("a/2"), &err), STORE_MISSING);
    put(s, "a/1", "one");
    put(s, "a/2", "two");
    assert_int_equal(store_rename(s, S("a/1"), S("a/2"), &err), STORE_OK);
    assert_null(get(s, "a/1"));
    assert_string_equal(get(s, "a/2"), "one");
    assert_int_equal(store_rename(s, S("a/2"), S("b/c/3"), &err), STORE_OK);
    assert_string_equal(get(s, "b/c/3"), "one");
    assert_int_equal(store_rename(s, S("b/c/3"), S("b/c/3"), &err), STORE_OK);
    assert_string_equal(get(s, "b/c/3"), "one");
    assert_int_equal(store_copy(s, S("b/c/3"), S("b/c/4"), &err), STORE_OK);
    assert_int_equal(store_copy(s, S("b/c/3"), S("b/c/4"), &err), STORE_OK);
    assert_int_equal(store_copy(s, S("b/c/3"), S("b/c/3"), &err), STORE_OK);
    put(s, "b/c/3", "changed");
    assert_string_equal(get(s, "b/c/4"), "one");
    /* A copy renamed back over its source leaves one. */
    assert_int_equal(store_copy(s, S("b/c/3"), S("b/c/4"), &err), STORE_OK);
    assert_int_equal(store_rename(s, S("b/c/4"), S("b/c/3"), &err), STORE_OK);
    assert_string_equal(list(s, "b/c"), "3 ");
}

static void sets_aside_a_few(void **state)
{
    struct store *s = ((struct fixture *)*state)->s;
    struct err err;
    assert_int_equal(store_set_aside(s, S("f/k"), &err), STORE_MISSING);
    put(s, "f/k", "bad 1");
    put(s, "f/other", "fine");
    assert_int_equal(store_set_aside(s, S("f/k"), &err), STORE_OK);
    assert_null(get(s, "f/k"));
    assert_string_equal(get(s, "f/k.damaged-1"), "bad 1");
    for (int i = 2; i <= 20; i++) {
        char text[32];
        (void)snprintf(text, sizeof(text), "bad %d", i);
        put(s, "f/k", text);
        assert_int_equal(store_set_aside(s, S("f/k"), &err), STORE_OK);
    }
    assert_string_equal(list(s, "f"),
                        "k.damaged-13 k.damaged-14 k.damaged-15 k.damaged-16 k.damaged-17 "
                        "k.damaged-18 k.damaged-19 k.damaged-20 other ");
    assert_string_equal(get(s, "f/k.damaged-20"), "bad 20");
    put(s, "k", "at the root");
    assert_int_equal(store_set_aside(s, S("k"), &err), STORE_OK);
    assert_string_equal(get(s, "k.damaged-1"), "at the root");
}

static bool cancel_third(void *ctx)
{
    int *asked = ctx;
    return ++*asked == 3;
}

static void locks_exclude(void **state)
{
    struct store *s = ((struct fixture *)*state)->s;
    struct err err;
    struct store_lock *a = store_lock(s, S("issue_cert_example.com"), 0, NULL, NULL, &err);
    assert_non_null(a);
    err.text[0] = 'x';
    assert_null(store_lock(s, S("issue_cert_example.com"), 0, NULL, NULL, &err));
    assert_string_equal(err.text, "");
    struct store_lock *b = store_lock(s, S("issue_cert_example.org"), 0, NULL, NULL, &err);
    assert_non_null(b);
    int64_t start_ms = clock_mono_ms();
    assert_null(store_lock(s, S("issue_cert_example.com"), 120, NULL, NULL, &err));
    assert_true(clock_mono_ms() - start_ms >= 120);
    assert_string_equal(err.text, "");
    int asked = 0;
    assert_null(store_lock(s, S("issue_cert_example.com"), -1, cancel_third, &asked, &err));
    assert_int_equal(asked, 3);
    assert_non_null(strstr(err.text, "cancelled"));
    store_unlock(a);
    a = store_lock(s, S("issue_cert_example.com"), 0, NULL, NULL, NULL);
    assert_non_null(a);
    store_unlock(a);
    store_unlock(b);
    store_unlock(NULL);
}

static void lock_names_are_safe(void **state)
{
    struct store *s = ((struct fixture *)*state)->s;
    struct err err;
    char longest[2000];
    memset(longest, 'l', sizeof(longest));
    struct store_lock *a = store_lock(s, S("../../../etc/x"), 0, NULL, NULL, &err);
    struct store_lock *b = store_lock(s, slice_of(longest, 1999), 0, NULL, NULL, &err);
    struct store_lock *c = store_lock(s, slice_of(longest, 2000), 0, NULL, NULL, &err);
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c); /* cut names do not meet */
    store_unlock(a);
    store_unlock(b);
    store_unlock(c);
}

#define THREADS 4
#define ROUNDS  50

struct contest {
    struct store *s;
    int plain;         /* only under the lock: TSan watches */
    atomic_int inside; /* never above 1 */
    atomic_int broken;
};

static void *contend(void *arg)
{
    struct contest *c = arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct store_lock *lock = store_lock(c->s, S("contest"), -1, NULL, NULL, NULL);
        if (!lock || atomic_fetch_add(&c->inside, 1) != 0) {
            atomic_fetch_add(&c->broken, 1);
        }
        c->plain++;
        atomic_fetch_sub(&c->inside, 1);
        store_unlock(lock);
    }
    return NULL;
}

static void locks_exclude_threads(void **state)
{
    struct contest c = {.s = ((struct fixture *)*state)->s};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, contend, &c), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(c.plain, THREADS * ROUNDS);
    assert_int_equal(atomic_load(&c.broken), 0);
}

static void *write_one_key(void *arg)
{
    struct contest *c = arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct dstr d;
        struct err err;
        dstr_init(&d, 64);
        if (store_put(c->s, S("x/shared"), i % 2 ? S("aaaaaaaa") : S("bbbb"), &err) != STORE_OK ||
            store_get(c->s, S("x/shared"), &d, &err) != STORE_OK ||
            !(slice_eq(dstr_slice(&d), S("aaaaaaaa")) || slice_eq(dstr_slice(&d), S("bbbb")))) {
            atomic_fetch_add(&c->broken, 1);
        }
        dstr_fini(&d);
    }
    return NULL;
}

static void writers_of_one_key_never_mix(void **state)
{
    struct contest c = {.s = ((struct fixture *)*state)->s};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_one_key, &c), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(atomic_load(&c.broken), 0);
    assert_string_equal(list(c.s, "x"), "shared ");
}

static void write_check(void **state)
{
    struct store *s = ((struct fixture *)*state)->s;
    struct err err;
    assert_true(store_check_writable(s, &err));
    assert_true(store_check_writable(s, NULL));
    assert_true(store_path(s)[0]);
    const char *left = list(s, "caddis");
    assert_true(!left || !*left);
}

#define BOTH(test)                                                                                 \
    cmocka_unit_test_setup_teardown(test, setup_fs, teardown),                                     \
    {                                                                                              \
#test " (memory)", test, setup_memory, teardown, NULL                                      \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(values),
        BOTH(get_appends_within_the_readers_maximum),
        BOTH(size_limit),
        BOTH(keys_cannot_leave),
        BOTH(lists),
        BOTH(renames_and_copies),
        BOTH(sets_aside_a_few),
        BOTH(locks_exclude),
        BOTH(lock_names_are_safe),
        BOTH(locks_exclude_threads),
        BOTH(writers_of_one_key_never_mix),
        BOTH(write_check),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
