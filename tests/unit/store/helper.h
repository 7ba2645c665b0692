/* What the store's tests share: a temporary folder, short forms of the calls, children that are
 * killed before the n-th system call that changes the disk, and calls that fail at the n-th. */
#ifndef TESTS_UNIT_STORE_HELPER_H
#define TESTS_UNIT_STORE_HELPER_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/base/log.h"
#include "store/backend.h"
#include "store/fs_sys.h"
#include "store/store.h"

#define PATH_BYTES 512

/* Warnings are expected here; only the tests' own words matter. */
static inline int quiet(void **state UNUSED)
{
    log_set_threshold(LOG_ERROR);
    return 0;
}

/* ---- folders ---- */

static inline void temp_folder(char out[PATH_BYTES])
{
    (void)snprintf(out, PATH_BYTES, "/tmp/caddis-store-XXXXXX");
    assert_non_null(mkdtemp(out));
}

static inline int remove_one(const char *path, const struct stat *st UNUSED, int kind UNUSED,
                             struct FTW *ftw UNUSED)
{
    return remove(path);
}

static inline void remove_tree(const char *path)
{
    assert_int_equal(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static inline const char *path_in(const char *folder, const char *rest)
{
    static char out[PATH_BYTES * 4];
    (void)snprintf(out, sizeof(out), "%s/%s", folder, rest);
    return out;
}

static inline void write_raw(const char *folder, const char *name, const char *text)
{
    FILE *f = fopen(path_in(folder, name), "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static inline bool exists(const char *folder, const char *name)
{
    struct stat st;
    return lstat(path_in(folder, name), &st) == 0;
}

static inline unsigned mode_of(const char *folder, const char *name)
{
    struct stat st;
    assert_int_equal(lstat(path_in(folder, name), &st), 0);
    return st.st_mode & 07777;
}

/* How many entries of the folder have this in their name. */
static inline int count_names(const char *folder, const char *part)
{
    int n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        n += strstr(e->d_name, part) != NULL;
    }
    closedir(d);
    return n;
}

/* Makes the temp files in a folder of the store an hour old: an empty one is not swept before. */
static inline void age_temps(const char *in)
{
    DIR *d = opendir(in);
    assert_non_null(d);
    struct timespec old[2] = {{.tv_sec = time(NULL) - 3600}, {.tv_sec = time(NULL) - 3600}};
    for (struct dirent *e; (e = readdir(d));) {
        if (strstr(e->d_name, STORE_TEMP_PREFIX)) {
            assert_int_equal(utimensat(dirfd(d), e->d_name, old, AT_SYMLINK_NOFOLLOW), 0);
        }
    }
    closedir(d);
}

static inline int open_descriptors(void)
{
    return count_names("/proc/self/fd", "");
}

/* ---- short forms ---- */

static inline struct store *open_store(const char *path)
{
    struct err err = {0};
    struct store *s = store_open_fs(path, &err);
    if (!s) {
        fail_msg("%s", err.text);
    }
    return s;
}

static inline void put(struct store *s, const char *key, const char *value)
{
    struct err err = {0};
    if (store_put(s, slice_str(key), slice_str(value), &err) != STORE_OK) {
        fail_msg("%s", err.text);
    }
}

/* The value as a string (until the next call), or NULL if it is missing. */
static inline const char *get(struct store *s, const char *key)
{
    static char out[4096];
    struct dstr d;
    struct err err = {0};
    dstr_init(&d, sizeof(out) - 1);
    enum store_result r = store_get(s, slice_str(key), &d, &err);
    if (r == STORE_FAILED) {
        fail_msg("%s", err.text);
    }
    (void)snprintf(out, sizeof(out), "%s", d.p ? d.p : "");
    dstr_fini(&d);
    return r == STORE_OK ? out : NULL;
}

static inline enum store_result get_result(struct store *s, const char *key, struct err *err)
{
    struct dstr d;
    dstr_init(&d, STORE_VALUE_MAX);
    enum store_result r = store_get(s, slice_str(key), &d, err);
    dstr_fini(&d);
    return r;
}

static inline void append_name(void *ctx, struct slice name, bool is_folder)
{
    dstr_printf(ctx, "%.*s%s ", SLICE_ARG(name), is_folder ? "/" : "");
}

/* "a b/ c " or NULL for a missing folder. */
static inline const char *list(struct store *s, const char *prefix)
{
    static char out[4096];
    struct dstr d;
    struct err err = {0};
    dstr_init(&d, sizeof(out) - 1);
    enum store_result r = store_list(s, slice_str(prefix), append_name, &d, &err);
    if (r == STORE_FAILED) {
        fail_msg("%s", err.text);
    }
    (void)snprintf(out, sizeof(out), "%s", d.p ? d.p : "");
    dstr_fini(&d);
    return r == STORE_OK ? out : NULL;
}

/* ---- dying and failing at the n-th step ---- */

static int step_countdown;
static int step_errno;

static inline int die_at_step(const char *call UNUSED)
{
    if (--step_countdown == 0) {
        _exit(42);
    }
    return 0;
}

static inline int fail_at_step(const char *call UNUSED)
{
    return --step_countdown == 0 ? step_errno : 0;
}

/* From the n-th step on everything fails, as on a disk that stays full. */
static inline int fail_from_step(const char *call UNUSED)
{
    return --step_countdown <= 0 ? step_errno : 0;
}

/* Runs act(ctx) in a child that dies before its n-th step. False if it was done before that. */
static inline bool killed_at_step(int n, void (*act)(void *ctx), void *ctx)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        step_countdown = n;
        store_fs_step = die_at_step;
        act(ctx);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 42);
    return WEXITSTATUS(status) == 42;
}

#endif
