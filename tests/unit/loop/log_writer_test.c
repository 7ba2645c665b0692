/* The log writer on real files and FIFOs: order, sharing, rotation, modes, full pipes, the end. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/base/clock.h"
#include "proxy/base/dstr.h"
#include "proxy/loop/log_writer.h"

#define DEADLINE_MS 20000
#define FILE_MAX_BYTES ((size_t)32 * 1024 * 1024)

static char folder[64];

static const char *path_of(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static struct log_sink *open_sink(const char *name)
{
    struct err err;
    struct log_sink *s = log_sink_open(path_of(name), &err);
    assert_non_null(s);
    return s;
}

static void read_file(const char *name, struct dstr *out)
{
    int fd = open(path_of(name), O_RDONLY | O_CLOEXEC);
    dstr_reset(out);
    if (fd < 0) {
        return;
    }
    for (;;) {
        char *p = dstr_reserve(out, 65536);
        assert_non_null(p);
        ssize_t n = read(fd, p, 65536);
        if (n <= 0) {
            break;
        }
        out->n += (size_t)n;
    }
    close(fd);
}

static bool within_deadline(int64_t start_ms)
{
    struct timespec t = {.tv_nsec = 5 * 1000 * 1000};
    nanosleep(&t, NULL);
    return clock_mono_ms() - start_ms < DEADLINE_MS;
}

static void await_text(const char *name, struct slice wanted)
{
    struct dstr got;
    int64_t start_ms = clock_mono_ms();
    dstr_init(&got, FILE_MAX_BYTES);
    do {
        read_file(name, &got);
    } while (slice_find_slice(dstr_slice(&got), wanted) == SLICE_NPOS && within_deadline(start_ms));
    assert_true(slice_find_slice(dstr_slice(&got), wanted) != SLICE_NPOS);
    dstr_fini(&got);
}

static void start(void)
{
    struct err err;
    assert_true(log_writer_start(&err));
}

static void lines_arrive_and_the_file_is_private(void **state UNUSED)
{
    struct stat st;
    mode_t old = umask(0);
    start();
    struct log_sink *s = open_sink("a.log");
    umask(old);
    log_sink_write(s, S("one\n"));
    await_text("a.log", S("one\n"));
    log_sink_write(s, S("two\n"));
    await_text("a.log", S("one\ntwo\n"));
    assert_int_equal(stat(path_of("a.log"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    log_sink_unref(s);
    log_writer_stop(DEADLINE_MS);
}

static void the_same_target_is_shared(void **state UNUSED)
{
    struct log_sink *a = open_sink("shared.log");
    struct log_sink *b = open_sink("shared.log");
    assert_ptr_equal(a, b);
    log_sink_unref(a);
    log_sink_write(b, S("still open\n")); /* no writer thread: written at once */
    await_text("shared.log", S("still open\n"));
    log_sink_unref(b);
}

static void a_missing_folder_is_an_error(void **state UNUSED)
{
    struct err err;
    assert_null(log_sink_open(path_of("none/x.log"), &err));
    assert_non_null(strstr(err.text, "none/x.log"));
}

enum { WRITERS = 3, LINES = 4000 };

static void *write_lines(void *arg)
{
    char line[64];
    static _Atomic int next_id;
    int id = next_id++;
    for (int i = 0; i < LINES; i++) {
        int n = snprintf(line, sizeof(line), "%d %d\n", id, i);
        log_sink_write(arg, slice_of(line, (size_t)n));
    }
    return NULL;
}

static void threads_keep_their_order_and_stop_writes_out(void **state UNUSED)
{
    start();
    struct log_sink *s = open_sink("threads.log");
    pthread_t threads[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, s), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
    }
    log_writer_stop(DEADLINE_MS);
    struct dstr got;
    dstr_init(&got, FILE_MAX_BYTES);
    read_file("threads.log", &got);
    uint64_t next[WRITERS] = {0};
    struct slice rest = dstr_slice(&got);
    struct slice line;
    while (slice_cut(&rest, '\n', &line) && line.n) {
        uint64_t id;
        uint64_t number;
        assert_true(line.n > 2 && slice_u64(slice_upto(line, 1), WRITERS - 1, &id));
        assert_true(slice_u64(slice_from(line, 2), LINES, &number));
        assert_true(number == next[id]);
        next[id]++;
    }
    for (int i = 0; i < WRITERS; i++) {
        assert_true(next[i] == LINES);
    }
    dstr_fini(&got);
    log_sink_unref(s);
}

static void a_file_rotated_away_is_opened_again(void **state UNUSED)
{
    char old[128];
    start();
    struct log_sink *s = open_sink("r.log");
    log_sink_write(s, S("before\n"));
    await_text("r.log", S("before\n"));
    (void)snprintf(old, sizeof(old), "%s", path_of("r.log.1"));
    assert_int_equal(rename(path_of("r.log"), old), 0);
    log_sinks_reopen();
    log_sink_write(s, S("asked\n"));
    await_text("r.log", S("asked\n"));
    assert_int_equal(rename(path_of("r.log"), old), 0);
    int64_t start_ms = clock_mono_ms();
    while (access(path_of("r.log"), F_OK) != 0) { /* found out without being told */
        assert_true(within_deadline(start_ms));
        log_sink_write(s, S("noticed\n"));
    }
    await_text("r.log", S("noticed\n"));
    log_sink_unref(s);
    log_writer_stop(DEADLINE_MS);
}

static size_t drain(int fd, struct dstr *out)
{
    size_t total = 0;
    for (;;) {
        char *p = dstr_reserve(out, 65536);
        assert_non_null(p);
        ssize_t n = read(fd, p, 65536);
        if (n <= 0) {
            return total;
        }
        out->n += (size_t)n;
        total += (size_t)n;
    }
}

struct account {
    uint64_t lines;
    uint64_t dropped; /* as the notices say; there may be several */
};

static struct account add_up(struct slice text, size_t line_bytes)
{
    struct account sum = {0};
    struct slice line;
    while (slice_find(text, '\n') != SLICE_NPOS && slice_cut(&text, '\n', &line)) {
        size_t at = slice_find_slice(line, S("\"count\":"));
        uint64_t count;
        if (at == SLICE_NPOS) {
            assert_int_equal(line.n, line_bytes);
            sum.lines++;
            continue;
        }
        struct slice digits = slice_from(line, at + 8);
        assert_true(slice_u64(slice_upto(digits, slice_find(digits, '}')), UINT32_MAX, &count));
        sum.dropped += count;
    }
    return sum;
}

static void a_full_pipe_drops_counts_and_says_so(void **state UNUSED)
{
    enum { LINE_BYTES = 1024, SENT = 12000 }; /* 12 MB into 4 MiB */
    char line[LINE_BYTES];
    memset(line, 'x', sizeof(line));
    line[LINE_BYTES - 1] = '\n';
    assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
    int reader = open(path_of("fifo"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(reader >= 0);
    start();
    struct log_sink *s = open_sink("fifo");
    struct log_sink *other = open_sink("other.log");
    for (int i = 0; i < SENT; i++) {
        log_sink_write(s, slice_of(line, sizeof(line)));
    }
    log_sink_write(other, S("not held up\n"));
    await_text("other.log", S("not held up\n"));
    struct dstr got;
    dstr_init(&got, FILE_MAX_BYTES);
    int64_t start_ms = clock_mono_ms();
    struct account sum;
    do {
        drain(reader, &got);
        sum = add_up(dstr_slice(&got), LINE_BYTES - 1);
    } while (sum.lines + sum.dropped < SENT && within_deadline(start_ms));
    assert_true(sum.dropped > 0);
    assert_true(sum.lines + sum.dropped == SENT);
    assert_true(got.n <= (size_t)5 * 1024 * 1024);
    dstr_fini(&got);
    log_sink_unref(s);
    log_sink_unref(other);
    log_writer_stop(DEADLINE_MS);
    close(reader);
}

static void stop_does_not_wait_for_a_stuck_reader(void **state UNUSED)
{
    char junk[4096];
    memset(junk, 'y', sizeof(junk));
    int reader = open(path_of("fifo"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    start();
    struct log_sink *s = open_sink("fifo");
    for (int i = 0; i < 100; i++) {
        log_sink_write(s, slice_of(junk, sizeof(junk)));
    }
    int64_t start_ms = clock_mono_ms();
    log_writer_stop(50);
    assert_true(clock_mono_ms() - start_ms < DEADLINE_MS);
    log_sink_unref(s);
    close(reader);
}

static int make_folder(void **state UNUSED)
{
    (void)snprintf(folder, sizeof(folder), "/tmp/caddis-log-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state UNUSED)
{
    static const char *const names[] = {"a.log",   "shared.log", "threads.log", "r.log",
                                        "r.log.1", "fifo",       "other.log"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)unlink(path_of(names[i]));
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_arrive_and_the_file_is_private),
        cmocka_unit_test(the_same_target_is_shared),
        cmocka_unit_test(a_missing_folder_is_an_error),
        cmocka_unit_test(threads_keep_their_order_and_stop_writes_out),
        cmocka_unit_test(a_file_rotated_away_is_opened_again),
        cmocka_unit_test(a_full_pipe_drops_counts_and_says_so),
        cmocka_unit_test(stop_does_not_wait_for_a_stuck_reader),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
