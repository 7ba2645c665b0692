/* The Redis back end against a peer that says what a script tells it to: bounds, errors, fences,
 * and a server that goes away. The real server is in the end-to-end tests. */
#include "tests/unit/store/helper.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "proxy/base/clock.h"
#include "store/kinds.h"
#include "store/redis.h"

/* ---- sealing ---- */

static const unsigned char key[SEAL_KEY_BYTES] = "0123456789abcdef0123456789abcde";

static void sealing(void **state UNUSED)
{
    struct dstr sealed, again, plain;
    struct err err;
    dstr_init(&sealed, 4096);
    dstr_init(&again, 4096);
    dstr_init(&plain, 4096);
    assert_true(seal(key, S("a"), S("secret"), &sealed, &err));
    assert_true(seal(key, S("a"), S("secret"), &again, &err));
    assert_int_equal(sealed.n, 6 + SEAL_OVERHEAD);
    assert_false(slice_eq(dstr_slice(&sealed), dstr_slice(&again))); /* another nonce */
    assert_true(seal_open(key, S("a"), dstr_slice(&sealed), &plain, &err));
    assert_true(slice_eq(dstr_slice(&plain), S("secret")));
    dstr_reset(&plain);
    assert_false(seal_open(key, S("b"), dstr_slice(&sealed), &plain, &err));
    unsigned char other[SEAL_KEY_BYTES] = {1};
    assert_false(seal_open(other, S("a"), dstr_slice(&sealed), &plain, &err));
    for (size_t i = 0; i < sealed.n; i++) {
        sealed.p[i] ^= 1;
        assert_false(seal_open(key, S("a"), dstr_slice(&sealed), &plain, &err));
        sealed.p[i] ^= 1;
        assert_false(seal_open(key, S("a"), slice_upto(dstr_slice(&sealed), i), &plain, &err));
    }
    assert_int_equal(plain.n, 0);
    dstr_reset(&again);
    assert_true(seal(key, S(""), S(""), &again, &err));
    assert_true(seal_open(key, S(""), dstr_slice(&again), &plain, &err));
    assert_int_equal(plain.n, 0);
    dstr_fini(&sealed);
    dstr_fini(&again);
    dstr_fini(&plain);
}

static void keys_to_seal_with(void **state UNUSED)
{
    unsigned char out[SEAL_KEY_BYTES];
    assert_true(seal_key_parse(S("0123456789abcdef0123456789abcde?"), out));
    assert_memory_equal(out, "0123456789abcdef0123456789abcde?", 32);
    assert_true(seal_key_parse(
        S("000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1f"), out));
    assert_int_equal(out[0], 0);
    assert_int_equal(out[31], 31);
    assert_false(seal_key_parse(S("short"), out));
    assert_false(seal_key_parse(
        S("g00102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1f"), out));
}

/* ---- the scripted peer ---- */

struct step {
    const char *expect; /* must be somewhere in the command; NULL: anything */
    const char *answer; /* NULL: closes the connection; "": says nothing more */
    size_t n;           /* of the answer, 0: its strlen */
};

struct peer {
    int listener;
    const struct step *steps;
    size_t count;
    atomic_size_t at;
    atomic_size_t connections;
    atomic_bool wrong;
    pthread_t thread;
    char address[32];
};

/* Reads until a whole command is likely there: its last argument's bytes have come. */
static ssize_t read_command(int fd, char *buf, size_t cap)
{
    size_t have = 0;
    for (;;) {
        ssize_t n = recv(fd, buf + have, cap - 1 - have, have ? MSG_DONTWAIT : 0);
        if (n <= 0) {
            if (n < 0 && (errno == EAGAIN || errno == EINTR) && have >= 2 &&
                buf[have - 1] == '\n') {
                break;
            }
            if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
                continue;
            }
            return -1;
        }
        have += (size_t)n;
    }
    buf[have] = '\0';
    return (ssize_t)have;
}

static void serve_one(struct peer *p, int fd)
{
    static char buf[3 << 20];
    for (;;) {
        ssize_t n = read_command(fd, buf, sizeof(buf));
        size_t at = atomic_load(&p->at);
        if (n < 0 || at >= p->count) {
            return;
        }
        const struct step *s = &p->steps[at];
        if (s->expect && !memmem(buf, (size_t)n, s->expect, strlen(s->expect))) {
            (void)fprintf(stderr, "expected %s, not %s\n", s->expect, buf);
            atomic_store(&p->wrong, true);
        }
        atomic_store(&p->at, at + 1);
        if (!s->answer) {
            return;
        }
        size_t len = s->n ? s->n : strlen(s->answer);
        if (send(fd, s->answer, len, MSG_NOSIGNAL) < 0) {
            return;
        }
    }
}

static void *peer_main(void *arg)
{
    struct peer *p = arg;
    for (;;) {
        int fd = accept(p->listener, NULL, NULL);
        if (fd < 0) {
            return NULL;
        }
        atomic_fetch_add(&p->connections, 1);
        serve_one(p, fd);
        close(fd);
    }
}

static void peer_start(struct peer *p, const struct step *steps, size_t count)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(a);
    *p = (struct peer){.steps = steps, .count = count};
    p->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(p->listener, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(p->listener, 8), 0);
    assert_int_equal(getsockname(p->listener, (struct sockaddr *)&a, &len), 0);
    (void)snprintf(p->address, sizeof(p->address), "127.0.0.1:%u", ntohs(a.sin_port));
    assert_int_equal(pthread_create(&p->thread, NULL, peer_main, p), 0);
}

static void peer_end(struct peer *p)
{
    (void)shutdown(p->listener, SHUT_RDWR);
    pthread_join(p->thread, NULL);
    close(p->listener);
    assert_false(atomic_load(&p->wrong));
    assert_int_equal(atomic_load(&p->at), p->count);
}

static struct store *open_to(const struct peer *p, const unsigned char *seal_key)
{
    struct redis_link_setup setup = {
        .addresses = {slice_str(p->address)}, .address_count = 1, .timeout_ms = 20000};
    return redis_open(&setup, S("t"), seal_key);
}

#define MARKED {"t:mark", "$9\r\npcaddis 1\r\n", 0}
#define RUN(name, ...)                                  \
    static const struct step name##_steps[] = {__VA_ARGS__}; \
    struct peer peer;                                   \
    struct err err = {.text = ""};                      \
    peer_start(&peer, name##_steps, ARRAY_LEN(name##_steps)); \
    struct store *s = open_to(&peer, NULL)

static void end(struct store *s, struct peer *p)
{
    store_close(s);
    peer_end(p);
}

/* ---- values ---- */

static void values(void **state UNUSED)
{
    struct dstr out;
    dstr_init(&out, STORE_VALUE_MAX);
    RUN(values, MARKED, {"t:v:a/b", "$3\r\npxy\r\n", 0}, {"GETRANGE", "$0\r\n\r\n", 0},
        {"GETRANGE", "$1\r\np\r\n", 0}, {"GETRANGE", "$3\r\nqxy\r\n", 0},
        {"GETRANGE", "-WRONGTYPE no\r\n", 0}, {"GETRANGE", ":1\r\n", 0},
        {"GETRANGE", "-LOADING wait\r\n", 0});
    assert_int_equal(store_get(s, S("a/b"), &out, &err), STORE_OK);
    assert_true(slice_eq(dstr_slice(&out), S("xy")));
    assert_int_equal(store_get(s, S("a/b"), &out, &err), STORE_MISSING);
    dstr_reset(&out);
    assert_int_equal(store_get(s, S("a/b"), &out, &err), STORE_OK);
    assert_int_equal(out.n, 0);
    assert_int_equal(store_get(s, S("a/b"), &out, &err), STORE_UNUSABLE);
    assert_int_equal(store_get(s, S("a/b"), &out, &err), STORE_UNUSABLE);
    assert_int_equal(store_get(s, S("a/b"), &out, &err), STORE_FAILED);
    assert_int_equal(store_get(s, S("a/b"), &out, NULL), STORE_FAILED);
    assert_int_equal(atomic_load(&peer.connections), 1);
    dstr_fini(&out);
    end(s, &peer);
}

static void junk_never_becomes_a_value(void **state UNUSED)
{
    static const char *const junk[] = {
        "HTTP/1.1 400 Bad Request\r\n\r\n", "*2000000000\r\n", "*1\r\n*1\r\n$1\r\nx\r\n",
        "$-5\r\n", "$99999999999999999999\r\n", "$3\r\npxy\r\n$3\r\npxy\r\n", "+\r\n", "*0\r\n",
        "%1\r\n+a\r\n+b\r\n", "\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(junk); i++) {
        struct step steps[] = {MARKED, {"GETRANGE", junk[i], 0}, {NULL, NULL, 0}};
        struct peer peer;
        struct dstr out;
        struct err err = {.text = ""};
        dstr_init(&out, STORE_VALUE_MAX);
        peer_start(&peer, steps, 2);
        struct store *s = open_to(&peer, NULL);
        assert_int_equal(store_get(s, S("a"), &out, &err), STORE_FAILED);
        assert_true(err.text[0]);
        assert_int_equal(out.n, 0);
        dstr_fini(&out);
        end(s, &peer);
    }
}

static void an_endless_reply_is_cut_off(void **state UNUSED)
{
    struct dstr out;
    size_t n = STORE_VALUE_MAX + (size_t)100000;
    char *big = malloc(n);
    memset(big, 'x', n);
    memcpy(big, "$1999999\r\n", 10);
    struct step steps[] = {MARKED, {"GETRANGE", big, n}};
    struct peer peer;
    struct err err;
    dstr_init(&out, STORE_VALUE_MAX);
    peer_start(&peer, steps, ARRAY_LEN(steps));
    struct store *s = open_to(&peer, NULL);
    assert_int_equal(store_get(s, S("a"), &out, &err), STORE_FAILED);
    assert_non_null(strstr(err.text, "longer"));
    dstr_fini(&out);
    end(s, &peer);
    free(big);
}

/* ---- changes and locks ---- */

static void changes_are_one_script_each(void **state UNUSED)
{
    RUN(changes, MARKED, {"$2\r\na/\r\n", ":1\r\n", 0}, {"del", ":1\r\n", 0},
        {"GETRANGE", "$2\r\npv\r\n", 0}, {"move", ":1\r\n", 0}, {"GETRANGE", "$2\r\npv\r\n", 0},
        {"copy", ":2\r\n", 0}, {"GETRANGE", "$2\r\npw\r\n", 0}, {"$2\r\npw\r\n", ":1\r\n", 0},
        {"GETRANGE", "-WRONGTYPE no\r\n", 0}, {"raw", ":1\r\n", 0},
        {"put", "-OOM command not allowed\r\n", 0});
    assert_int_equal(store_put(s, S("a/b"), S("v"), &err), STORE_OK);
    assert_int_equal(store_delete(s, S("a/b"), &err), STORE_OK);
    assert_int_equal(store_rename(s, S("a/b"), S("a/c"), &err), STORE_OK);
    assert_int_equal(store_copy(s, S("a/b"), S("a/c"), &err), STORE_OK);
    assert_int_equal(store_rename(s, S("a/b"), S("a/c"), &err), STORE_OK);
    assert_int_equal(store_put(s, S("a/b"), S("v"), &err), STORE_FAILED);
    assert_non_null(strstr(err.text, "memory is full"));
    end(s, &peer);
}

static void a_lock_fences_what_its_thread_changes(void **state UNUSED)
{
    RUN(fences, MARKED, {"t:l:x", "$4\r\n7:me\r\n", 0}, {"$4\r\n7:me\r\n", ":1\r\n", 0},
        {"$4\r\n7:me\r\n", ":-1\r\n", 0}, {"t:l:x", ":0\r\n", 0}, {"del", ":1\r\n", 0});
    struct store_lock *lock = store_lock(s, S("x"), 0, NULL, NULL, &err);
    assert_non_null(lock);
    assert_int_equal(store_put(s, S("a"), S("v"), &err), STORE_OK);
    assert_int_equal(store_put(s, S("a"), S("v"), &err), STORE_FAILED);
    assert_non_null(strstr(err.text, "lost"));
    assert_null(store_lock(s, S("x"), 0, NULL, NULL, &err));
    assert_int_equal(err.text[0], '\0'); /* someone else holds it */
    store_unlock(lock);
    end(s, &peer);
}

static void a_lost_lock_is_noticed_by_the_renewal(void **state UNUSED)
{
    RUN(renewal, MARKED, {"t:l:x", "$4\r\n7:me\r\n", 0}, {"pexpire", ":1\r\n", 0},
        {"pexpire", ":0\r\n", 0}, {"del", ":1\r\n", 0});
    struct store_lock *lock = store_lock(s, S("x"), 0, NULL, NULL, &err);
    assert_non_null(lock);
    /* The peer never hears of a change under it. */
    for (int i = 0; i < 600 && atomic_load(&peer.at) < 4; i++) {
        usleep(50 * 1000);
    }
    enum store_result r = STORE_OK;
    for (int i = 0; i < 100 && r == STORE_OK; i++) {
        struct arena a;
        struct redis_fence fence;
        arena_init(&a, ARENA_NO_MAX);
        r = redis_fence_get(redis_of(s), &a, &fence, &err) ? STORE_OK : STORE_FAILED;
        arena_fini(&a);
        usleep(10 * 1000);
    }
    assert_int_equal(r, STORE_FAILED);
    assert_non_null(strstr(err.text, "lost"));
    store_unlock(lock);
    end(s, &peer);
}

static void count_name(void *ctx, struct slice name, bool is_folder)
{
    struct dstr *d = ctx;
    dstr_printf(d, "%.*s%s ", SLICE_ARG(name), is_folder ? "/" : "");
}

static void lists(void **state UNUSED)
{
    struct dstr names;
    dstr_init(&names, 4096);
    RUN(lists, MARKED,
        {"t:d:a", "*7\r\n$2\r\nz/\r\n$1\r\nb\r\n$2\r\n..\r\n$3\r\na/b\r\n:5\r\n$-1\r\n$1\r\n/\r\n",
         0},
        {"t:d:a", "*0\r\n", 0}, {"t:d:\r\n", "*0\r\n", 0}, {"t:d:a", "$1\r\nx\r\n", 0});
    assert_int_equal(store_list(s, S("a"), count_name, &names, &err), STORE_OK);
    assert_string_equal(names.p, "b z/ ");
    assert_int_equal(store_list(s, S("a"), count_name, &names, &err), STORE_MISSING);
    assert_int_equal(store_list(s, S(""), count_name, &names, &err), STORE_OK);
    assert_int_equal(store_list(s, S("a"), count_name, &names, &err), STORE_FAILED);
    dstr_fini(&names);
    end(s, &peer);
}

/* ---- servers that go away, and wrong settings ---- */

static void a_dead_connection_is_replaced_once(void **state UNUSED)
{
    RUN(dead, MARKED, {"put", ":1\r\n", 0}, {"put", NULL, 0}, MARKED, {"put", ":1\r\n", 0});
    assert_int_equal(store_put(s, S("a"), S("v"), &err), STORE_OK);
    assert_int_equal(store_put(s, S("a"), S("v"), &err), STORE_OK);
    assert_int_equal(atomic_load(&peer.connections), 2);
    end(s, &peer);
}

static void nobody_waits_for_a_server_that_is_away(void **state UNUSED)
{
    RUN(away, {"t:mark", NULL, 0});
    for (int i = 0; i < 50; i++) {
        assert_int_equal(store_put(s, S("a"), S("v"), &err), STORE_FAILED);
        assert_non_null(strstr(err.text, peer.address));
    }
    assert_int_equal(atomic_load(&peer.connections), 1);
    end(s, &peer);
}

static void marks(void **state UNUSED)
{
    static const struct {
        const char *mark;
        const unsigned char *key;
        const char *says;
    } cases[] = {
        {"$9\r\npcaddis 1\r\n", key, "not encrypted"},
        {"$5\r\nsXXXX\r\n", key, "another encryption_key"},
        {"$5\r\nsXXXX\r\n", NULL, "set encryption_key"},
        {"$5\r\nother\r\n", NULL, "not of this caddis"},
        {"-WRONGTYPE x\r\n", NULL, "WRONGTYPE"},
        {"-NOAUTH x\r\n", NULL, "wants a password"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct step steps[] = {{"t:mark", cases[i].mark, 0}};
        struct peer peer;
        struct err err;
        peer_start(&peer, steps, 1);
        struct store *s = open_to(&peer, cases[i].key);
        assert_int_equal(store_put(s, S("a"), S("v"), &err), STORE_FAILED);
        assert_non_null(strstr(err.text, cases[i].says));
        end(s, &peer);
    }
}

/* ---- settings ---- */

static void count_complaint(void *ctx, const struct store_setting *at UNUSED, const char *text)
{
    assert_true(text[0]);
    ++*(int *)ctx;
}

static int complaints(const char *name, const char *value)
{
    struct slice v = slice_str(value);
    struct store_setting item = {slice_str(name), &v, value ? 1 : 0};
    struct store_settings s = {.kind = &store_kind_redis, .items = &item, .count = 1};
    int n = 0;
    store_kind_redis.check(&s, count_complaint, &n);
    return n;
}

static void settings(void **state UNUSED)
{
    static const char *const good[][2] = {
        {"address", "redis.example.com:6380"}, {"address", "[::1]:6379"},
        {"address", "unix//run/redis.sock"}, {"address", "redis.example.com"},
        {"host", "::1"}, {"port", "6380"}, {"db", "3"}, {"timeout", "5"}, {"timeout", "10s"},
        {"tls_enabled", "true"}, {"tls", NULL}, {"client_type", "simple"},
        {"compression", "false"}, {"key_prefix", "caddy"}, {"password", "x"},
        {"encryption_key", "0123456789abcdef0123456789abcdef"},
    };
    static const char *const bad[][2] = {
        {"address", NULL}, {"address", "a:b:c"}, {"address", "host:0"}, {"address", "host:99999"},
        {"db", "x"}, {"db", "-1"}, {"timeout", "0"}, {"timeout", "never"}, {"key_prefix", ""},
        {"key_prefix", "a b"}, {"encryption_key", "short"}, {"tls_insecure", "true"},
        {"tls_enabled", "perhaps"}, {"client_type", "cluster"}, {"compression", "true"},
        {"username", "alice"}, {"nonsense", "x"}, {"password", NULL}, {"host", "a/b"},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(complaints(good[i][0], good[i][1]), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_not_equal(complaints(bad[i][0], bad[i][1]), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sealing),
        cmocka_unit_test(keys_to_seal_with),
        cmocka_unit_test(values),
        cmocka_unit_test(junk_never_becomes_a_value),
        cmocka_unit_test(an_endless_reply_is_cut_off),
        cmocka_unit_test(changes_are_one_script_each),
        cmocka_unit_test(a_lock_fences_what_its_thread_changes),
        cmocka_unit_test(a_lost_lock_is_noticed_by_the_renewal),
        cmocka_unit_test(lists),
        cmocka_unit_test(a_dead_connection_is_replaced_once),
        cmocka_unit_test(nobody_waits_for_a_server_that_is_away),
        cmocka_unit_test(marks),
        cmocka_unit_test(settings),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
