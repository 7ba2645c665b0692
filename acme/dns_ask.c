/* In: a question, servers. Out: the answer's bytes. A channel lives for one question: they are few,
 * and the system's configuration is then never an old one. */
#include "acme/dns_ask.h"

#include <ares.h>
#include <poll.h>

#include "proxy/base/mem.h"
#include "proxy/base/rand.h"

/* c-ares 1.34 deprecates what 1.18 has nothing else for. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#define TRY_MS 3000
#define TRIES 2
#define LOOK_MS 100
#define SERVERS_MAX 256

struct asked {
    struct dstr *out;
    int status;
    bool ended;
};

static void on_answer(void *arg, int status, int timeouts, unsigned char *bytes, int n)
{
    struct asked *q = arg;
    (void)timeouts;
    q->status = status;
    q->ended = true;
    if (bytes && n > 0) {
        dstr_append(q->out, slice_of(bytes, (size_t)n));
    }
}

/* Serves the sockets once. */
static void turn(ares_channel channel)
{
    ares_socket_t fds[ARES_GETSOCK_MAXNUM];
    struct pollfd polled[ARES_GETSOCK_MAXNUM];
    /* The library's own macros shift a signed 1 by 31. */
    unsigned bits = (unsigned)ares_getsock(channel, fds, ARES_GETSOCK_MAXNUM);
    nfds_t n = 0;
    for (unsigned i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
        short events = (short)((bits >> i & 1 ? POLLIN : 0) |
                               (bits >> (i + ARES_GETSOCK_MAXNUM) & 1 ? POLLOUT : 0));
        if (events) {
            polled[n++] = (struct pollfd){fds[i], events, 0};
        }
    }
    if (poll(polled, n, LOOK_MS) <= 0) {
        ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
        return;
    }
    for (nfds_t i = 0; i < n; i++) {
        bool error = polled[i].revents & (POLLERR | POLLHUP);
        if (polled[i].revents) {
            ares_process_fd(channel,
                            error || polled[i].revents & POLLIN ? polled[i].fd : ARES_SOCKET_BAD,
                            polled[i].revents & POLLOUT ? polled[i].fd : ARES_SOCKET_BAD);
        }
    }
}

static bool open_channel(ares_channel *channel, struct slice servers, struct err *err)
{
    char lookups[] = "b";
    struct ares_options o = {
        .flags = ARES_FLAG_NOCHECKRESP, .timeout = TRY_MS, .tries = TRIES, .lookups = lookups};
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS;
#ifdef ARES_OPT_QUERY_CACHE
    o.qcache_max_ttl = 0; /* what has changed is what is looked for */
    mask |= ARES_OPT_QUERY_CACHE;
#endif
    int status = ares_init_options(channel, &o, mask);
    if (status != ARES_SUCCESS) {
        return err_set(err, "starting the resolver: %s", ares_strerror(status));
    }
    if (servers.n) {
        char *list = mem_dup(servers);
        status = ares_set_servers_ports_csv(*channel, list);
        free(list);
        if (status != ARES_SUCCESS) {
            ares_destroy(*channel);
            return err_set(err, "\"%.*s\" are no name servers", SLICE_ARG(servers));
        }
    }
    return true;
}

bool dns_ask_servers_valid(struct slice servers)
{
    ares_channel channel;
    bool ok = servers.n > 0 && servers.n <= SERVERS_MAX && open_channel(&channel, servers, NULL);
    if (ok) {
        ares_destroy(channel);
    }
    return ok;
}

bool dns_ask(struct slice servers, struct slice name, unsigned type, bool recursion,
             struct stop *stop, struct dstr *out, struct dns_message *m, struct err *err)
{
    struct dstr question;
    ares_channel channel;
    struct asked q = {.out = out, .status = ARES_ECANCELLED};
    dstr_reset(out);
    dstr_init(&question, 512);
    if (!dns_put_question(&question, (unsigned)rand_below(65536), name, type, recursion)) {
        dstr_fini(&question);
        return err_set(err, "\"%.*s\" is no name that can be asked for", SLICE_ARG(name));
    }
    if (!open_channel(&channel, servers, err)) {
        dstr_fini(&question);
        return false;
    }
    ares_send(channel, (const unsigned char *)question.p, (int)question.n, on_answer, &q);
    while (!q.ended && !stop_requested(stop)) {
        turn(channel);
    }
    ares_destroy(channel); /* answers what is under way */
    dstr_fini(&question);
    if (dns_read(dstr_slice(out), m) && m->response) {
        return true;
    }
    return err_set(err, "asking %.*s for %.*s: %s",
                   SLICE_ARG(servers.n ? servers : S("the system's name servers")),
                   SLICE_ARG(name), ares_strerror(q.status));
}
