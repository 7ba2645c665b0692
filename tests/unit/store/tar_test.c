/* Archives of a store: what is written is read again, names of every length, and what is cut,
 * damaged or none. Walking a store. */
#include "tests/unit/store/helper.h"

#include "store/tar.h"
#include "store/walk.h"

static bool append(void *ctx, struct slice bytes, struct err *err UNUSED)
{
    dstr_append(ctx, bytes);
    return true;
}

static ssize_t read_bits(void *ctx, char *at, size_t n, struct err *err UNUSED)
{
    struct slice *rest = ctx;
    size_t take = rest->n < n ? rest->n : n;
    take = take > 100 ? 100 : take; /* as a pipe may */
    memcpy(at, rest->p, take);
    *rest = slice_from(*rest, take);
    return (ssize_t)take;
}

static void round_trip(void **state UNUSED)
{
    struct dstr tar, name, value;
    struct err err;
    char key[1100];
    static const size_t lengths[] = {1, 50, 100, 101, 154, 200, 255, 256, 257, 300, 1000};
    dstr_init(&tar, (size_t)8 << 20);
    dstr_init(&name, TAR_NAME_MAX);
    dstr_init(&value, STORE_VALUE_MAX);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        for (int slashes = 0; slashes < 2; slashes++) {
            memset(key, 'k', sizeof(key));
            for (size_t k = 60; slashes && k < lengths[i]; k += 60) {
                key[k - 1] = '/';
            }
            assert_true(tar_write(append, &tar, slice_of(key, lengths[i]),
                                  slice_of(key, lengths[i] * (i % 2)), 1000, &err));
        }
    }
    assert_true(tar_write_end(append, &tar, &err));
    assert_int_equal(tar.n % 512, 0);
    struct slice rest = dstr_slice(&tar);
    struct tar_reader r = {read_bits, &rest};
    enum tar_kind kind;
    for (size_t i = 0; i < 2 * ARRAY_LEN(lengths); i++) {
        assert_int_equal(tar_next(&r, &name, &kind, &value, &err), TAR_ENTRY);
        assert_int_equal(kind, TAR_VALUE);
        assert_int_equal(name.n, lengths[i / 2]);
        assert_int_equal(value.n, lengths[i / 2] * (i / 2 % 2));
    }
    assert_int_equal(tar_next(&r, &name, &kind, &value, &err), TAR_END);
    /* Cut anywhere: whole entries, and then an error or the end, never something else. */
    for (size_t n = 0; n < 3000; n += 7) {
        enum tar_result result;
        size_t entries = 0;
        rest = slice_upto(dstr_slice(&tar), n);
        while ((result = tar_next(&r, &name, &kind, &value, &err)) == TAR_ENTRY) {
            entries++;
        }
        assert_int_equal(result, n % 512 ? TAR_FAILED : result);
        assert_true(entries <= n / 512);
    }
    rest = dstr_slice(&tar);
    tar.p[5] ^= 1;
    assert_int_equal(tar_next(&r, &name, &kind, &value, &err), TAR_FAILED);
    dstr_fini(&tar);
    dstr_fini(&name);
    store_wipe(&value);
}

static bool note(void *ctx, struct slice key)
{
    struct dstr *d = ctx;
    dstr_printf(d, "%.*s ", SLICE_ARG(key));
    return !slice_eq(key, S("stop"));
}

static void walking(void **state UNUSED)
{
    static const char *const keys[] = {"a/b/c", "a/d", "b", "a/b/e", "stop", "z"};
    char folder[PATH_BYTES];
    temp_folder(folder);
    struct err err;
    struct store *stores[] = {store_open_memory(), store_open_fs(folder, &err)};
    for (size_t i = 0; i < ARRAY_LEN(stores); i++) {
        struct dstr seen;
        dstr_init(&seen, 4096);
        for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
            assert_int_equal(store_put(stores[i], slice_str(keys[k]), S("v"), &err), STORE_OK);
        }
        assert_int_equal(store_walk(stores[i], S(""), note, &seen, &err), STORE_OK);
        assert_string_equal(seen.p, "a/b/c a/b/e a/d b stop ");
        dstr_reset(&seen);
        assert_int_equal(store_walk(stores[i], S("a/b"), note, &seen, &err), STORE_OK);
        assert_string_equal(seen.p, "a/b/c a/b/e ");
        assert_int_equal(store_walk(stores[i], S("none"), note, &seen, &err), STORE_MISSING);
        dstr_fini(&seen);
        store_close(stores[i]);
    }
    remove_tree(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(walking),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
