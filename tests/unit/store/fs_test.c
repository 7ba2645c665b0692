/* The file-system back end: modes, links and strange files, dying and failing at every step, locks
 * between processes, a root that comes and goes. */
#include "tests/unit/store/helper.h"

#include "store/fs.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

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

static void modes_whatever_the_umask(void **state UNUSED)
{
    static const mode_t masks[] = {0, 0022, 0777};
    char path[PATH_BYTES];
    for (size_t i = 0; i < ARRAY_LEN(masks); i++) {
        (void)snprintf(path, sizeof(path), "%.200s/u%zu/deep/root", folder, i);
        mode_t before = umask(masks[i]);
        struct store *t = open_store(path);
        put(t, "a/b/value", "x");
        struct store_lock *lock = store_lock(t, S("l"), 0, NULL, NULL, NULL);
        umask(before);
        assert_non_null(lock);
        store_unlock(lock);
        assert_int_equal(mode_of(path, ".."), 0700);
        assert_int_equal(mode_of(path, "."), 0700);
        assert_int_equal(mode_of(path, "a"), 0700);
        assert_int_equal(mode_of(path, "a/b"), 0700);
        assert_int_equal(mode_of(path, "a/b/value"), 0600);
        assert_int_equal(mode_of(path, "locks"), 0700);
        assert_int_equal(mode_of(path, "locks/l.caddis.lock"), 0600);
        store_close(t);
    }
    /* A value written over one with loose rights has tight ones. */
    write_raw(folder, "loose", "x");
    assert_int_equal(chmod(path_in(folder, "loose"), 0666), 0);
    put(s, "loose", "y");
    assert_int_equal(mode_of(folder, "loose"), 0600);
}

static void the_root_may_be_linked(void **state UNUSED)
{
    char real[PATH_BYTES], link[PATH_BYTES], below[PATH_BYTES];
    (void)snprintf(real, sizeof(real), "%.200s/real", folder);
    (void)snprintf(link, sizeof(link), "%.200s/link", folder);
    (void)snprintf(below, sizeof(below), "%.200s/link/new/store///", folder);
    assert_int_equal(mkdir(real, 0755), 0);
    assert_int_equal(symlink(real, link), 0);
    struct store *t = open_store(link);
    put(t, "k", "v");
    assert_true(exists(real, "k"));
    store_close(t);
    t = open_store(below);
    put(t, "k", "v");
    assert_true(exists(real, "new/store/k"));
    store_close(t);
}

static void a_relative_root_stays_where_it_was(void **state UNUSED)
{
    char before[PATH_BYTES];
    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir(folder), 0);
    struct store *t = open_store("relative/store");
    assert_int_equal(chdir(before), 0);
    put(t, "k", "v");
    assert_true(exists(folder, "relative/store/k"));
    assert_int_equal(store_path(t)[0], '/');
    store_close(t);
}

static void roots_that_cannot_be(void **state UNUSED)
{
    struct err err = {0};
    write_raw(folder, "file", "x");
    assert_null(store_open_fs(path_in(folder, "file"), &err));
    assert_non_null(strstr(err.text, "/file"));
    assert_non_null(strstr(err.text, "Not a directory"));
    assert_null(store_open_fs(path_in(folder, "file/below"), &err));
    assert_null(store_open_fs("", &err));
    assert_null(store_open_fs(NULL, NULL));
    assert_int_equal(symlink("/nonexistent/caddis", path_in(folder, "dangling")), 0);
    assert_null(store_open_fs(path_in(folder, "dangling"), &err));
    step_errno = EROFS;
    step_countdown = 1;
    store_fs_step = fail_at_step;
    assert_null(store_open_fs(path_in(folder, "new"), &err));
    assert_non_null(strstr(err.text, "Read-only"));
}

static void a_root_that_comes_later(void **state UNUSED)
{
    struct err err = {0};
    assert_null(store_open_fs_later("", &err));
    write_raw(folder, "file", "x");
    struct store *t = store_open_fs_later(path_in(folder, "file"), &err);
    assert_non_null(t);
    assert_int_equal(get_result(t, "k", &err), STORE_FAILED);
    assert_false(store_check_writable(t, &err));
    assert_non_null(strstr(err.text, "/file"));
    assert_int_equal(unlink(path_in(folder, "file")), 0);
    put(t, "k", "v");
    assert_string_equal(get(t, "k"), "v");
    store_close(t);
    t = store_open_fs_later(path_in(folder, "never"), &err);
    store_close(t);
}

static void expect_refused(const char *key, const char *what)
{
    struct err err = {0};
    assert_int_equal(get_result(s, key, &err), STORE_UNUSABLE);
    if (!strstr(err.text, what) || !strstr(err.text, path_in(folder, key))) {
        fail_msg("'%s' does not name %s and '%s'", err.text, key, what);
    }
}

static void strange_files_are_refused_by_name(void **state UNUSED)
{
    put(s, "d/real", "secret");
    assert_int_equal(symlink("real", path_in(folder, "d/link")), 0);
    assert_int_equal(symlink("nowhere", path_in(folder, "d/dangling")), 0);
    assert_int_equal(mkfifo(path_in(folder, "d/fifo"), 0600), 0);
    assert_int_equal(mkdir(path_in(folder, "d/folder"), 0700), 0);
    assert_int_equal(symlink("/dev/zero", path_in(folder, "d/zero")), 0);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%.90s/d/sock", folder);
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(sock, (struct sockaddr *)&addr, sizeof(addr)), 0);
    write_raw(folder, "d/large", "");
    assert_int_equal(truncate(path_in(folder, "d/large"), (off_t)STORE_VALUE_MAX + 1), 0);
    expect_refused("d/link", "a symbolic link");
    expect_refused("d/dangling", "a symbolic link");
    expect_refused("d/zero", "a symbolic link");
    expect_refused("d/fifo", "a named pipe");
    expect_refused("d/folder", "a folder");
    expect_refused("d/sock", "a socket");
    expect_refused("d/large", "more than");
    /* Only what can be read is listed. */
    assert_string_equal(list(s, "d"), "folder/ large real ");
    /* Writing replaces the link, not what it leads to. */
    put(s, "d/link", "new");
    put(s, "d/fifo", "new");
    assert_string_equal(get(s, "d/real"), "secret");
    assert_string_equal(get(s, "d/link"), "new");
    assert_string_equal(get(s, "d/fifo"), "new");
    struct err err = {0};
    assert_int_equal(store_rename(s, S("d/real"), S("d/folder"), &err), STORE_FAILED);
    assert_int_equal(store_delete(s, S("d/folder"), &err), STORE_FAILED);
    assert_string_equal(get(s, "d/real"), "secret");
    /* Until it is set aside; a second time too. */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(store_set_aside(s, S("d/folder"), &err), STORE_OK);
        assert_int_equal(get_result(s, "d/folder", &err), STORE_MISSING);
        assert_int_equal(mkdir(path_in(folder, "d/folder"), 0700), 0);
    }
    /* Writing sets it aside by itself. */
    put(s, "d/folder", "new");
    assert_string_equal(get(s, "d/folder"), "new");
    assert_int_equal(store_set_aside(s, S("d/large"), &err), STORE_OK);
    assert_int_equal(get_result(s, "d/large", &err), STORE_MISSING);
    close(sock);
}

static void linked_folders_are_refused(void **state UNUSED)
{
    struct err err = {0};
    char outside[PATH_BYTES];
    temp_folder(outside);
    write_raw(outside, "k", "outside");
    assert_int_equal(symlink(outside, path_in(folder, "certificates")), 0);
    assert_int_equal(get_result(s, "certificates/k", &err), STORE_FAILED);
    assert_non_null(strstr(err.text, "certificates is a symbolic link"));
    assert_int_equal(store_put(s, S("certificates/new"), S("x"), &err), STORE_FAILED);
    assert_int_equal(store_delete(s, S("certificates/k"), &err), STORE_FAILED);
    assert_int_equal(store_list(s, S("certificates"), append_name, NULL, &err), STORE_FAILED);
    assert_int_equal(symlink(outside, path_in(folder, "locks")), 0);
    assert_null(store_lock(s, S("l"), 0, NULL, NULL, &err));
    assert_non_null(strstr(err.text, "locks"));
    assert_int_equal(count_names(outside, ""), 3); /* ".", ".." and k */
    write_raw(folder, "plain", "x");
    assert_int_equal(get_result(s, "plain/k", &err), STORE_FAILED);
    assert_non_null(strstr(err.text, "a file, not a folder"));
    remove_tree(outside);
}

/* And never followed, nor waited for. */
static void what_is_no_lock_file_is_set_aside(void **state UNUSED)
{
    static const char *const names[] = {"l", "p", "f"};
    struct err err = {0};
    assert_int_equal(mkdir(path_in(folder, "locks"), 0700), 0);
    write_raw(folder, "victim", "x");
    assert_int_equal(symlink("../victim", path_in(folder, "locks/l.caddis.lock")), 0);
    assert_int_equal(mkfifo(path_in(folder, "locks/p.caddis.lock"), 0600), 0);
    assert_int_equal(mkdir(path_in(folder, "locks/f.caddis.lock"), 0700), 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct store_lock *lock = store_lock(s, slice_str(names[i]), 1000, NULL, NULL, &err);
        assert_non_null(lock);
        store_unlock(lock);
    }
    assert_string_equal(get(s, "victim"), "x");
    assert_int_equal(count_names(path_in(folder, "locks"), ".damaged-1"), 3);
}

static void temps_of_the_dead_are_swept(void **state UNUSED)
{
    put(s, "d/k", "v");
    write_raw(folder, "d/" STORE_TEMP_PREFIX "dead", "half");
    write_raw(folder, "d/" STORE_TEMP_PREFIX "old", "");
    age_temps(path_in(folder, "d"));
    write_raw(folder, "d/" STORE_TEMP_PREFIX "young", "");
    write_raw(folder, "d/" STORE_FOREIGN_TEMP_PREFIX "caddy", "half");
    write_raw(folder, "d/" STORE_TEMP_PREFIX "alive", "half");
    int alive = open(path_in(folder, "d/" STORE_TEMP_PREFIX "alive"), O_RDWR | O_CLOEXEC);
    pid_t pid = fork(); /* a living writer in another process */
    if (pid == 0) {
        _exit(fs_lock_file(alive) == 0 && pause() ? 0 : 1);
    }
    close(alive);
    /* Until the child holds it: a lock that we can take means not yet. */
    for (bool held = false; !held;) {
        int fd = open(path_in(folder, "d/" STORE_TEMP_PREFIX "alive"), O_RDWR | O_CLOEXEC);
        held = fs_lock_file(fd) != 0;
        close(fd);
        usleep(1000);
    }
    assert_string_equal(list(s, "d"), "k ");
    put(s, "d/k", "w");
    assert_false(exists(folder, "d/" STORE_TEMP_PREFIX "dead"));
    assert_false(exists(folder, "d/" STORE_TEMP_PREFIX "old"));
    assert_true(exists(folder, "d/" STORE_TEMP_PREFIX "young"));
    assert_true(exists(folder, "d/" STORE_TEMP_PREFIX "alive"));
    assert_true(exists(folder, "d/" STORE_FOREIGN_TEMP_PREFIX "caddy"));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    put(s, "d/k", "x");
    assert_false(exists(folder, "d/" STORE_TEMP_PREFIX "alive"));
}

/* A writer that is slow between making its temp file and holding it, beside another. */
static int creations;

static int slow_fchmod(const char *call)
{
    creations += strcmp(call, "create") == 0;
    if (strcmp(call, "fchmod") == 0 && creations == 1) {
        put(s, "d/other", "v"); /* sweeps */
    }
    return 0;
}

static void a_temp_just_made_is_not_swept(void **state UNUSED)
{
    creations = 0;
    store_fs_step = slow_fchmod;
    put(s, "d/k", "v");
    assert_int_equal(creations, 2); /* none had to be made again */
    store_fs_step = NULL;
    assert_string_equal(list(s, "d"), "k other ");
    assert_int_equal(count_names(path_in(folder, "d"), STORE_TEMP_PREFIX), 0);
}

static void put_new(void *ctx UNUSED)
{
    put(s, "a/b/k", "new value");
}

static void killed_anywhere_a_put_is_whole(void **state UNUSED)
{
    int steps = 0;
    bool saw_old = false, saw_new = false;
    put(s, "a/b/k", "old");
    for (bool killed = true; killed; steps++) {
        put(s, "a/b/k", "old");
        killed = killed_at_step(steps + 1, put_new, NULL);
        const char *v = get(s, "a/b/k");
        assert_non_null(v);
        saw_old = saw_old || strcmp(v, "old") == 0;
        saw_new = saw_new || strcmp(v, "new value") == 0;
        assert_true(strcmp(v, "old") == 0 || strcmp(v, "new value") == 0);
        assert_string_equal(list(s, "a/b"), "k ");
    }
    assert_true(saw_old && saw_new);
    assert_true(steps >= 6); /* create, fchmod, write, fsync, rename, fsync */
    age_temps(path_in(folder, "a/b"));
    put(s, "a/b/k", "last");
    assert_int_equal(count_names(path_in(folder, "a/b"), STORE_TEMP_PREFIX), 0);
}

static void killed_anywhere_a_first_put_is_whole(void **state UNUSED)
{
    for (int i = 1;; i++) {
        bool killed = killed_at_step(i, put_new, NULL);
        const char *v = get(s, "a/b/k");
        assert_true(v ? strcmp(v, "new value") == 0 : killed);
        put_new(NULL); /* what is left of it is no hindrance */
        assert_string_equal(get(s, "a/b/k"), "new value");
        remove_tree(path_in(folder, "a"));
        if (!killed) {
            break;
        }
    }
}

/* A put that fails at each step in turn, for good from there on or only once. */
static void fail_everywhere(int errnum, int (*hook)(const char *), const char *text)
{
    int descriptors = open_descriptors();
    for (int i = 1;; i++) {
        struct err err = {0};
        put(s, "a/b/k", "old");
        step_errno = errnum;
        step_countdown = i;
        store_fs_step = hook;
        enum store_result r = store_put(s, S("a/b/k"), S("new value"), &err);
        store_fs_step = NULL;
        const char *v = get(s, "a/b/k");
        assert_non_null(v);
        if (r == STORE_OK) {
            assert_string_equal(v, "new value");
            break;
        }
        assert_non_null(strstr(err.text, path_in(folder, "a/b/k")));
        assert_non_null(strstr(err.text, text));
        /* Only the last step, the folder's fsync, comes after the new value is in place. */
        assert_true(strcmp(v, "old") == 0 || strstr(err.text, "durable"));
    }
    age_temps(path_in(folder, "a/b"));
    put(s, "a/b/k", "works again");
    assert_int_equal(count_names(path_in(folder, "a/b"), STORE_TEMP_PREFIX), 0);
    assert_int_equal(open_descriptors(), descriptors);
}

static void failing_disks(void **state UNUSED)
{
    fail_everywhere(ENOSPC, fail_at_step, "No space left");
    fail_everywhere(ENOSPC, fail_from_step, "No space left");
    fail_everywhere(EROFS, fail_from_step, "Read-only");
    fail_everywhere(EACCES, fail_at_step, "Permission denied");
    fail_everywhere(EIO, fail_at_step, "Input/output error");
}

static void other_changes_fail_cleanly(void **state UNUSED)
{
    struct err err = {0};
    put(s, "a/k", "v");
    step_errno = EROFS;
    store_fs_step = fail_from_step;
    step_countdown = 1;
    assert_int_equal(store_delete(s, S("a/k"), &err), STORE_FAILED);
    assert_non_null(strstr(err.text, "a/k"));
    step_countdown = 1;
    assert_int_equal(store_rename(s, S("a/k"), S("a/l"), &err), STORE_FAILED);
    step_countdown = 1;
    assert_int_equal(store_set_aside(s, S("a/k"), &err), STORE_FAILED);
    step_countdown = 1;
    assert_int_equal(store_copy(s, S("a/k"), S("a/l"), &err), STORE_FAILED);
    step_countdown = 1;
    assert_null(store_lock(s, S("l"), 5000, NULL, NULL, &err));
    assert_non_null(strstr(err.text, "Read-only"));
    step_countdown = 1;
    assert_false(store_check_writable(s, &err));
    assert_non_null(strstr(err.text, folder));
    store_fs_step = NULL;
    assert_string_equal(get(s, "a/k"), "v");
    assert_string_equal(list(s, "a"), "k ");
}

static void copies_without_links(void **state UNUSED)
{
    struct err err = {0};
    put(s, "a/k", "v");
    step_errno = EPERM; /* as vfat says */
    step_countdown = 1;
    store_fs_step = fail_at_step;
    assert_int_equal(store_copy(s, S("a/k"), S("a/l"), &err), STORE_OK);
    assert_string_equal(get(s, "a/l"), "v");
}

static void a_real_short_write(void **state UNUSED)
{
    put(s, "a/k", "old");
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit limit = {.rlim_cur = 1000, .rlim_max = 1000};
        static char big[5000];
        struct err err = {0};
        signal(SIGXFSZ, SIG_IGN);
        (void)setrlimit(RLIMIT_FSIZE, &limit);
        enum store_result r = store_put(s, S("a/k"), slice_of(big, sizeof(big)), &err);
        _exit(r == STORE_FAILED && strstr(err.text, "File too large") ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_string_equal(get(s, "a/k"), "old");
    assert_int_equal(count_names(path_in(folder, "a"), STORE_TEMP_PREFIX), 0);
}

static void a_store_for_reading_only(void **state UNUSED)
{
    put(s, "a/k", "v");
    assert_int_equal(chmod(path_in(folder, "a/k"), 0444), 0);
    assert_int_equal(chmod(path_in(folder, "a"), 0555), 0);
    assert_int_equal(chmod(folder, 0555), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct err err = {0};
        if (geteuid() == 0 && setuid(65534) != 0) {
            _exit(2);
        }
        struct store *t = store_open_fs(folder, &err);
        bool ok = t && strcmp(get(t, "a/k"), "v") == 0 && !store_check_writable(t, &err) &&
                  strstr(err.text, "Permission denied") && strstr(err.text, folder) &&
                  store_put(t, S("a/k"), S("w"), &err) == STORE_FAILED &&
                  strstr(err.text, "a/k: Permission denied") &&
                  store_put(t, S("new/k"), S("w"), &err) == STORE_FAILED &&
                  !store_lock(t, S("l"), 5000, NULL, NULL, &err) &&
                  strstr(err.text, "Permission denied");
        store_close(t);
        _exit(ok ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(chmod(folder, 0700), 0);
    assert_int_equal(chmod(path_in(folder, "a"), 0700), 0);
    assert_int_equal(status, 0);
    assert_string_equal(get(s, "a/k"), "v");
}

static void the_root_is_deleted_under_us(void **state UNUSED)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%.200s/root", folder);
    struct store *t = open_store(path);
    put(t, "a/k", "v");
    remove_tree(path);
    assert_null(get(t, "a/k"));
    put(t, "a/k", "again");
    assert_string_equal(get(t, "a/k"), "again");
    assert_true(exists(path, "a/k"));
    store_close(t);
}

static void a_dead_process_holds_no_lock(void **state UNUSED)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct store *t = open_store(folder);
        if (store_lock(t, S("l"), 0, NULL, NULL, NULL) && write(ready[1], "x", 1) == 1) {
            pause();
        }
        _exit(1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    struct err err;
    assert_null(store_lock(s, S("l"), 50, NULL, NULL, &err));
    assert_string_equal(err.text, "");
    kill(pid, SIGKILL);
    struct store_lock *lock = store_lock(s, S("l"), 5000, NULL, NULL, &err);
    assert_non_null(lock);
    waitpid(pid, NULL, 0);
    assert_true(exists(folder, "locks/l.caddis.lock"));
    store_unlock(lock);
    close(ready[0]);
    close(ready[1]);
}

static void left_and_foreign_lock_files_block_nobody(void **state UNUSED)
{
    assert_int_equal(mkdir(path_in(folder, "locks"), 0700), 0);
    write_raw(folder, "locks/l.caddis.lock", "left behind");
    write_raw(folder, "locks/l.lock", "{\"created\":\"2020-01-01T00:00:00Z\"}");
    struct store_lock *lock = store_lock(s, S("l"), 0, NULL, NULL, NULL);
    assert_non_null(lock);
    assert_true(exists(folder, "locks/l.lock"));
    /* Whoever deletes the file of a held lock gets no deadlock, and we no crash. */
    assert_int_equal(unlink(path_in(folder, "locks/l.caddis.lock")), 0);
    store_unlock(lock);
    lock = store_lock(s, S("l"), 0, NULL, NULL, NULL);
    assert_non_null(lock);
    store_unlock(lock);
}

static void a_forked_child_does_not_prolong_a_lock(void **state UNUSED)
{
    struct store_lock *lock = store_lock(s, S("l"), 0, NULL, NULL, NULL);
    assert_non_null(lock);
    pid_t pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    store_unlock(lock);
    lock = store_lock(s, S("l"), 0, NULL, NULL, NULL);
    assert_non_null(lock);
    store_unlock(lock);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void no_descriptor_is_lost(void **state UNUSED)
{
    struct err err;
    put(s, "a/k", "v");
    int before = open_descriptors();
    for (int i = 0; i < 3; i++) {
        put(s, "a/k", "v");
        (void)get(s, "a/k");
        (void)get(s, "a/none");
        (void)get(s, "none/none");
        (void)list(s, "a");
        (void)list(s, "none");
        assert_int_equal(get_result(s, "a/k/below", &err), STORE_FAILED);
        assert_int_equal(store_rename(s, S("a/none"), S("b/none"), &err), STORE_MISSING);
        assert_int_equal(store_copy(s, S("a/k"), S("a/l"), &err), STORE_OK);
        assert_int_equal(store_set_aside(s, S("a/l"), &err), STORE_OK);
        struct store_lock *lock = store_lock(s, S("l"), 0, NULL, NULL, NULL);
        assert_null(store_lock(s, S("l"), 0, NULL, NULL, NULL));
        store_unlock(lock);
        assert_true(store_check_writable(s, &err));
    }
    assert_int_equal(open_descriptors(), before);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(modes_whatever_the_umask),
        TEST(the_root_may_be_linked),
        TEST(a_relative_root_stays_where_it_was),
        TEST(roots_that_cannot_be),
        TEST(a_root_that_comes_later),
        TEST(strange_files_are_refused_by_name),
        TEST(linked_folders_are_refused),
        TEST(what_is_no_lock_file_is_set_aside),
        TEST(temps_of_the_dead_are_swept),
        TEST(a_temp_just_made_is_not_swept),
        TEST(killed_anywhere_a_put_is_whole),
        TEST(killed_anywhere_a_first_put_is_whole),
        TEST(failing_disks),
        TEST(other_changes_fail_cleanly),
        TEST(copies_without_links),
        TEST(a_real_short_write),
        TEST(a_store_for_reading_only),
        TEST(the_root_is_deleted_under_us),
        TEST(a_dead_process_holds_no_lock),
        TEST(left_and_foreign_lock_files_block_nobody),
        TEST(a_forked_child_does_not_prolong_a_lock),
        TEST(no_descriptor_is_lost),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
