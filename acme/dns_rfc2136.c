/* Name servers that take dynamic updates (BIND, Knot, PowerDNS, Windows): dns rfc2136 { key_name
 * ...; key_alg ...; key ...; server HOST[:PORT] }. RFC 2136, signed with TSIG (RFC 8945), over
 * TCP. */
#include "acme/dns_provider.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "acme/dns_update.h"
#include "proxy/base/clock.h"
#include "proxy/base/rand.h"

#define TTL_S 60
#define TIMEOUT_MS 15000
#define LOOK_MS 100
#define PORT "53"

static const struct dns_option options[] = {
    {S_INIT("key_name"), DNS_REQUIRED}, {S_INIT("key_alg"), DNS_REQUIRED},
    {S_INIT("key"), DNS_REQUIRED},      {S_INIT("server"), DNS_REQUIRED},
    {S_INIT(""), DNS_OPTIONAL},
};

static bool key_of(const struct acme_dns *dns, struct tsig_key *key, struct err *err)
{
    return tsig_key_init(key, dns_value(dns, "key_name"), dns_value(dns, "key_alg"),
                         dns_value(dns, "key"), err);
}

static bool check(const struct acme_dns *dns, struct err *err)
{
    struct tsig_key key;
    bool ok = key_of(dns, &key, err);
    tsig_key_fini(&key);
    return ok;
}

/* ---- one exchange over TCP (RFC 7766) -------------------------------------------------------- */

static bool wait_for(struct dns_call *c, int fd, short events, int64_t end_ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    while (clock_mono_ms() < end_ms && !stop_requested(c->stop)) {
        if (poll(&p, 1, LOOK_MS) > 0) {
            return true;
        }
    }
    errno = ETIMEDOUT;
    return false;
}

static bool send_all(struct dns_call *c, int fd, struct slice bytes, int64_t end_ms)
{
    while (bytes.n) {
        ssize_t n = send(fd, bytes.p, bytes.n, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return false;
        }
        bytes = slice_from(bytes, n > 0 ? (size_t)n : 0);
        if (bytes.n && !wait_for(c, fd, POLLOUT, end_ms)) {
            return false;
        }
    }
    return true;
}

static bool receive(struct dns_call *c, int fd, struct dstr *out, size_t n, int64_t end_ms)
{
    while (out->n < n) {
        char *at = dstr_reserve(out, n - out->n);
        ssize_t got = at ? recv(fd, at, n - out->n, 0) : -1;
        if (got == 0) {
            errno = ECONNRESET;
        }
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
            return false;
        }
        out->n += got > 0 ? (size_t)got : 0;
        if (out->n < n && !wait_for(c, fd, POLLIN, end_ms)) {
            return false;
        }
    }
    return true;
}

static int connect_one(struct dns_call *c, const struct addrinfo *a, int64_t end_ms)
{
    int error = 0;
    socklen_t n = sizeof(error);
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0 ||
        (errno == EINPROGRESS && wait_for(c, fd, POLLOUT, end_ms) &&
         getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0 && error == 0)) {
        return fd;
    }
    error = error ? error : errno;
    close(fd);
    errno = error;
    return -1;
}

/* "HOST", "HOST:PORT", "[IPv6]:PORT". */
static bool split(struct slice server, char host[256], char port[8])
{
    struct slice h = server, p = S(PORT);
    size_t colon = slice_rfind(server, ':');
    bool brackets = slice_starts(server, S("["));
    if (brackets) {
        size_t end = slice_find(server, ']');
        h = end == SLICE_NPOS ? server : slice_of(server.p + 1, end - 1);
        p = colon != SLICE_NPOS && colon > end ? slice_from(server, colon + 1) : p;
    } else if (colon != SLICE_NPOS && slice_find(server, ':') == colon) {
        h = slice_upto(server, colon);
        p = slice_from(server, colon + 1);
    }
    uint64_t number;
    if (h.n == 0 || h.n > 255 || !slice_u64(p, 65535, &number) || number == 0) {
        return false;
    }
    memcpy(host, h.p, h.n);
    host[h.n] = '\0';
    memcpy(port, p.p, p.n);
    port[p.n] = '\0';
    return true;
}

static int connect_server(struct dns_call *c, int64_t end_ms, struct err *err)
{
    char host[256], port[8];
    struct slice server = dns_value(c->dns, "server");
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list = NULL;
    if (!split(server, host, port)) {
        (void)err_set(err, "rfc2136: server \"%.*s\" is no HOST[:PORT]", SLICE_ARG(server));
        return -1;
    }
    int rc = getaddrinfo(host, port, &hints, &list);
    if (rc != 0) {
        (void)err_set(err, "rfc2136: looking up %s: %s", host, gai_strerror(rc));
        return -1;
    }
    int fd = -1;
    errno = ENOENT;
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = connect_one(c, a, end_ms);
    }
    int error = errno;
    freeaddrinfo(list);
    if (fd < 0) {
        (void)err_errno(err, error, "rfc2136: connecting to %.*s", SLICE_ARG(server));
    }
    return fd;
}

static bool exchange(struct dns_call *c, struct slice request, struct dstr *answer,
                     struct err *err)
{
    int64_t end_ms = clock_mono_ms() + TIMEOUT_MS;
    char prefix[2] = {(char)(request.n >> 8), (char)request.n};
    int fd = connect_server(c, end_ms, err);
    if (fd < 0) {
        return false;
    }
    struct dstr length;
    dstr_init(&length, 2);
    dstr_reset(answer);
    bool ok = send_all(c, fd, slice_of(prefix, 2), end_ms) && send_all(c, fd, request, end_ms) &&
              receive(c, fd, &length, 2, end_ms) &&
              receive(c, fd, answer,
                      (size_t)(unsigned char)length.p[0] << 8 | (unsigned char)length.p[1], end_ms);
    int error = errno;
    close(fd);
    dstr_fini(&length);
    return ok || err_errno(err, error, "rfc2136: talking to %.*s",
                           SLICE_ARG(dns_value(c->dns, "server")));
}

/* ---- the two steps --------------------------------------------------------------------------- */

/* The server itself says which zone the name is in: by the SOA record in its answer. */
static bool find_zone(struct dns_call *c, struct err *err)
{
    struct dstr question, answer;
    struct dns_message m;
    struct dns_record r;
    dstr_init(&question, 512);
    dstr_init(&answer, DNS_MESSAGE_MAX + 1);
    unsigned id = (unsigned)rand_below(65536);
    bool ok = dns_put_question(&question, id, c->name, DNS_SOA, false) ||
              err_set(err, "rfc2136: \"%.*s\" is no name", SLICE_ARG(c->name));
    ok = ok && exchange(c, dstr_slice(&question), &answer, err);
    if (ok && dns_read(dstr_slice(&answer), &m) && m.response && m.id == id) {
        while (!c->zone.n && dns_next(&m, &r)) {
            if (r.type == DNS_SOA && slice_ends(c->name, slice_str(r.name))) {
                c->zone = arena_copy(&c->arena, slice_str(r.name));
            }
        }
    }
    dstr_fini(&question);
    dstr_fini(&answer);
    return ok && (c->zone.n ||
                  err_set(err, "rfc2136: %.*s does not say which zone %.*s is in; is it the name"
                               " server of that zone?",
                          SLICE_ARG(dns_value(c->dns, "server")), SLICE_ARG(c->name)));
}

static bool update(struct dns_call *c, const struct tsig_key *key, bool add, struct err *err)
{
    struct dstr request, answer;
    struct tsig_mac mac;
    unsigned id = (unsigned)rand_below(65536);
    uint32_t ttl = (uint32_t)(c->dns->ttl_s ? c->dns->ttl_s : TTL_S);
    int64_t now_s = clock_wall_ms() / 1000;
    dstr_init(&request, 4096);
    dstr_init(&answer, DNS_MESSAGE_MAX + 1);
    bool ok = (dns_put_update(&request, id, c->zone, c->name, c->value, add, ttl) &&
               tsig_sign(key, &request, now_s, &mac)) ||
              err_set(err, "rfc2136: the update cannot be written");
    ok = ok && exchange(c, dstr_slice(&request), &answer, err);
    if (ok && !tsig_answer_ok(key, dstr_slice(&answer), id, &mac, now_s, err)) {
        ok = err_prefix(err, "rfc2136: %.*s does not take the update of %.*s: ",
                        SLICE_ARG(dns_value(c->dns, "server")), SLICE_ARG(c->zone));
    }
    dstr_fini(&request);
    dstr_fini(&answer);
    return ok;
}

static bool change(struct dns_call *c, bool add, struct err *err)
{
    struct tsig_key key;
    bool ok = key_of(c->dns, &key, err) && find_zone(c, err) && update(c, &key, add, err);
    tsig_key_fini(&key);
    return ok;
}

static bool put(struct dns_call *c, struct err *err)
{
    return change(c, true, err);
}

static bool take(struct dns_call *c, struct err *err)
{
    return change(c, false, err);
}

const struct dns_provider dns_rfc2136 = {
    .name = S_INIT("rfc2136"), .options = options, .put = put, .take = take, .check = check};
