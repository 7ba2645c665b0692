/* Sockets: listening, probing, who has the port, what accepted connections inherit, Unix paths. */
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/stat.h>

#include "tests/unit/net/helper.h"

static int get_int(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);
    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static void check_tuned(int fd)
{
    assert_int_equal(get_int(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(get_int(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(get_int(fd, IPPROTO_TCP, TCP_KEEPIDLE), 15);
    assert_int_equal(get_int(fd, IPPROTO_TCP, TCP_KEEPINTVL), 15);
    assert_int_equal(get_int(fd, IPPROTO_TCP, TCP_KEEPCNT), 9);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static void wait_for_fd(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
}

static void connect_and_accept(void **state UNUSED)
{
    struct addr a;
    struct addr peer;
    struct addr local;
    bool pending;
    int listening = listen_on(S("127.0.0.1"), &a);
    assert_int_equal(sock_accept(listening, &peer), -1);
    assert_int_equal(errno, EAGAIN);
    int client = sock_connect(&a, NULL, &pending);
    assert_true(client >= 0);
    wait_for_fd(client, POLLOUT);
    assert_int_equal(sock_connect_result(client), 0);
    wait_for_fd(listening, POLLIN);
    int served = sock_accept(listening, &peer);
    assert_true(served >= 0);
    sock_local(client, &local);
    assert_true(addr_eq(&peer, &local));
    check_tuned(client);
    check_tuned(served); /* without a call of its own */
    close(served);
    close(client);
    close(listening);
}

static void refusal(void **state UNUSED)
{
    struct addr a;
    bool pending;
    assert_true(addr_parse_ip(S("127.0.0.1"), dead_port(S("127.0.0.1")), &a));
    int fd = sock_connect(&a, NULL, &pending);
    if (fd >= 0) {
        wait_for_fd(fd, POLLOUT);
        assert_int_equal(sock_connect_result(fd), ECONNREFUSED);
        close(fd);
    } else {
        assert_int_equal(errno, ECONNREFUSED);
    }
}

static void a_taken_port_names_its_owner(void **state UNUSED)
{
    static const struct slice ips[] = {S_INIT("127.0.0.1"), S_INIT("::1"), S_INIT("0.0.0.0")};
    char pid[32];
    (void)snprintf(pid, sizeof(pid), "(pid %ld)", (long)getpid());
    for (size_t i = 0; i < ARRAY_LEN(ips); i++) {
        struct addr a;
        struct err err;
        char text[ADDR_TEXT_BYTES];
        int fd = listen_on(ips[i], &a);
        assert_false(sock_probe(&a, &err));
        assert_non_null(strstr(err.text, pid));
        addr_text(&a, text);
        assert_non_null(strstr(err.text, text));
        int second = sock_listen(&a, true, &err); /* our own: SO_REUSEPORT shares it */
        assert_true(second >= 0);
        close(second);
        close(fd);
        assert_true(sock_probe(&a, &err));
    }
}

static void both_wildcards_at_one_port(void **state UNUSED)
{
    struct addr a;
    struct addr b;
    struct err err;
    int four = listen_on(S("0.0.0.0"), &a);
    assert_true(addr_parse_ip(S("::"), addr_port(&a), &b));
    int six = sock_listen(&b, false, &err);
    assert_true(six >= 0);
    close(six);
    close(four);
}

static void unix_sockets(void **state UNUSED)
{
    char path[64];
    struct addr a;
    struct err err;
    struct stat st;
    (void)snprintf(path, sizeof(path), "/tmp/caddis-sock-test-%ld", (long)getpid());
    assert_true(addr_unix(slice_str(path), &a));
    assert_true(sock_probe(&a, &err));
    mode_t old = umask(0);
    int fd = sock_listen(&a, false, &err);
    umask(old);
    assert_true(fd >= 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(sock_listen(&a, false, &err), -1); /* alive: not replaced */
    assert_non_null(strstr(err.text, path));
    assert_false(sock_probe(&a, &err));
    close(fd);
    assert_true(sock_probe(&a, &err)); /* dead: replaced */
    fd = sock_listen(&a, false, &err);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(unlink(path), 0);
    int file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    close(file);
    assert_int_equal(sock_listen(&a, false, &err), -1); /* not a socket: left alone */
    assert_int_equal(stat(path, &st), 0);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connect_and_accept),
        cmocka_unit_test(refusal),
        cmocka_unit_test(a_taken_port_names_its_owner),
        cmocka_unit_test(both_wildcards_at_one_port),
        cmocka_unit_test(unix_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
