/* c-ares on a loop; see dns.h. A channel is c-ares' set of servers with its sockets: one for the
 * system's configuration, one for each list of servers somebody asks for, and one that only reads
 * /etc/hosts. Its sockets become watches, its earliest timeout a timer.
 *
 * Who owns what: channels belong to the dns and live while questions are under way on them; a
 * question's `asked` belongs to its channel's list until all c-ares callbacks have come. */
#include "proxy/net/dns.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "proxy/base/rand.h"

/* c-ares 1.34 deprecates what 1.18 has nothing else for. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#define CHANNELS_MAX 16
/* The first try; the second takes twice as long. Both are over before dial_timeout's 3 s, so that a
 * remembered answer can still be used when the name servers are gone. */
#define TRY_MS 800
#define TRIES 2
#define OTHER_FAMILY_MS 250
#define HOSTS_TTL_MS 5000
#define RESOLV_CONF "/etc/resolv.conf"
#define RESOLV_CONF_CHECK_MS 5000

struct dns {
    struct loop *loop;
    struct list channels;
    unsigned channel_count;
    ares_channel hosts;
    int64_t checked_ms; /* when /etc/resolv.conf was looked at */
    struct timespec resolv_conf; /* its time of change */
};

struct channel {
    struct list node;
    struct dns *dns;
    ares_channel ares;
    struct list sockets; /* of struct ares_watch */
    struct list asked;
    struct timer timer;
    bool retired; /* the system's configuration has changed: not for new questions */
    char servers[DNS_SERVERS_MAX + 1];
};

struct ares_watch {
    struct list node;
    struct watch watch;
    struct channel *channel;
    int fd;
};

/* A question under way. */
struct asked {
    struct list node;
    struct channel *channel;
    struct dns_query *query; /* NULL once it is answered: late callbacks are waited for */
    struct timer other_family;
    struct task free_task;
    unsigned callbacks; /* c-ares will still call so many */
    int status;         /* the first failure */
    int64_t ttl_ms;
    unsigned v6_count; /* they stand first */
    unsigned count;
    union {
        struct addr addrs[DNS_ADDRS_MAX];
        struct dns_srv srv[DNS_SRV_MAX];
    } u;
};

/* ---- answers --------------------------------------------------------------------------------- */

static const char *error_text(int status)
{
    switch (status) {
    case ARES_ENODATA:
    case ARES_ENOTFOUND:
    case ARES_ENONAME:
    case ARES_EBADNAME: return "name not known";
    case ARES_ETIMEOUT: return "timed out";
    case ARES_ENOMEM: return "out of memory";
    case ARES_ECONNREFUSED: return "no name server can be reached";
    case ARES_ECANCELLED:
    case ARES_EDESTRUCTION: return "shutting down";
    default: return "look-up failed";
    }
}

/* How much a failure says: "no such name" only if nothing else went wrong. */
static int weight(int status)
{
    switch (status) {
    case ARES_SUCCESS: return 0;
    case ARES_ENODATA: return 1;
    case ARES_ENOTFOUND: return 2;
    default: return 3;
    }
}

static void answer(struct asked *q)
{
    struct dns_query *query = q->query;
    if (!query) {
        return;
    }
    struct dns_answer a = {
        .addrs = query->kind == DNS_ADDRS ? q->u.addrs : NULL,
        .srv = query->kind == DNS_SRV ? q->u.srv : NULL,
        .count = q->count,
        .ttl_ms = q->ttl_ms,
        .error = q->count ? NULL : error_text(q->status),
    };
    q->query = NULL;
    timer_clear(&q->other_family);
    query->done(query, &a);
}

static void asked_free(struct asked *q)
{
    list_remove(&q->node);
    task_cancel(&q->free_task);
    timer_fini(&q->other_family);
    free(q);
}

static void run_free(struct task *t)
{
    asked_free(container_of(t, struct asked, free_task));
}

/* A callback of c-ares has come: answers with the last one, or soon after the first that has
 * addresses. The memory goes in a task: dns_start may still be looking at it. */
static void callback_came(struct asked *q, int status)
{
    q->callbacks--;
    q->status = weight(status) > weight(q->status) ? status : q->status;
    if (q->callbacks == 0) {
        answer(q);
        loop_post(q->channel->dns->loop, &q->free_task);
    } else if (q->query && q->count && !timer_set(&q->other_family, OTHER_FAMILY_MS)) {
        answer(q);
    }
}

static void on_other_family(struct timer *t)
{
    answer(container_of(t, struct asked, other_family));
}

static void note_ttl(struct asked *q, int ttl_s)
{
    int64_t ms = ttl_s < 0 ? 0 : (int64_t)ttl_s * 1000;
    if (q->ttl_ms < 0 || ms < q->ttl_ms) {
        q->ttl_ms = ms;
    }
}

static bool has_addr(const struct asked *q, const struct addr *a)
{
    for (unsigned i = 0; i < q->count; i++) {
        if (addr_eq(&q->u.addrs[i], a)) {
            return true;
        }
    }
    return false;
}

/* IPv6 goes in front of IPv4. */
static void add_addr(struct asked *q, const struct ares_addrinfo_node *n)
{
    struct addr a;
    bool v6 = n->ai_family == AF_INET6;
    if ((!v6 && n->ai_family != AF_INET) || (size_t)n->ai_addrlen > sizeof(a.u)) {
        return;
    }
    memset(&a, 0, sizeof(a));
    memcpy(&a.u, n->ai_addr, (size_t)n->ai_addrlen);
    a.len = (socklen_t)n->ai_addrlen;
    addr_set_port(&a, 0);
    if (q->count == DNS_ADDRS_MAX || (v6 && q->v6_count == DNS_ADDRS_MAX / 2) || has_addr(q, &a)) {
        return;
    }
    unsigned at = v6 ? q->v6_count++ : q->count;
    memmove(&q->u.addrs[at + 1], &q->u.addrs[at], (q->count - at) * sizeof(a));
    q->u.addrs[at] = a;
    q->count++;
}

static void on_addrs(void *arg, int status, int timeouts UNUSED, struct ares_addrinfo *found)
{
    struct asked *q = arg;
    if (q->query && found) {
        for (const struct ares_addrinfo_node *n = found->nodes; n; n = n->ai_next) {
            add_addr(q, n);
            note_ttl(q, n->ai_ttl);
        }
        for (const struct ares_addrinfo_cname *c = found->cnames; c; c = c->next) {
            note_ttl(q, c->ttl);
        }
    }
    if (found) {
        ares_freeaddrinfo(found);
    }
    callback_came(q, status);
}

/* RFC 2782: by priority; among equals at random, each with its weight. */
static void order_srv(struct dns_srv *srv, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned best = i;
        uint64_t total = 0;
        for (unsigned k = i; k < count; k++) {
            if (srv[k].priority < srv[best].priority) {
                best = k;
                total = 0;
            }
            if (srv[k].priority == srv[best].priority) {
                total += srv[k].weight + 1U;
                best = rand_below(total) <= srv[k].weight ? k : best;
            }
        }
        struct dns_srv first = srv[best];
        srv[best] = srv[i];
        srv[i] = first;
    }
}

static void on_srv(void *arg, int status, int timeouts UNUSED, unsigned char *bytes, int n)
{
    struct asked *q = arg;
    struct ares_srv_reply *list = NULL;
    if (status == ARES_SUCCESS) {
        status = ares_parse_srv_reply(bytes, n, &list);
    }
    for (const struct ares_srv_reply *r = list; q->query && r && q->count < DNS_SRV_MAX;
         r = r->next) {
        struct slice target = slice_str(r->host);
        /* "." says that there is no such service. */
        if (target.n == 0 || target.n > DNS_NAME_MAX || slice_eq(target, S(".")) || r->port == 0) {
            continue;
        }
        struct dns_srv *srv = &q->u.srv[q->count++];
        memcpy(srv->target, target.p, target.n + 1);
        srv->port = r->port;
        srv->priority = r->priority;
        srv->weight = r->weight;
    }
    if (list) {
        ares_free_data(list);
    }
    if (q->query) {
        order_srv(q->u.srv, q->count);
    }
    callback_came(q, status == ARES_SUCCESS && q->count == 0 ? ARES_ENODATA : status);
}

/* ---- sockets and time ------------------------------------------------------------------------ */

static void arm(struct channel *c)
{
    struct timeval tv;
    if (!ares_timeout(c->ares, NULL, &tv)) {
        timer_clear(&c->timer);
        return;
    }
    int64_t ms = (int64_t)tv.tv_sec * 1000 + tv.tv_usec / 1000;
    (void)timer_set(&c->timer, ms + 1); /* without memory for it the next event sees to it */
}

static void process(struct channel *c, int readable, int writable)
{
    ares_process_fd(c->ares, readable, writable);
    arm(c);
}

static void on_ready(struct watch *w, unsigned events)
{
    struct ares_watch *a = container_of(w, struct ares_watch, watch);
    /* An error is found by reading. a may be gone afterwards. */
    bool error = events & WATCH_ERROR;
    process(a->channel, error || events & WATCH_READ ? a->fd : ARES_SOCKET_BAD,
            events & WATCH_WRITE ? a->fd : ARES_SOCKET_BAD);
}

static void on_timer(struct timer *t)
{
    process(container_of(t, struct channel, timer), ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

static struct ares_watch *find_watch(struct channel *c, int fd)
{
    LIST_EACH(node, &c->sockets) {
        struct ares_watch *a = LIST_ENTRY(node, struct ares_watch, node);
        if (a->fd == fd) {
            return a;
        }
    }
    return NULL;
}

/* From c-ares: what it waits for; neither: it is about to close fd. */
static void on_socket(void *arg, int fd, int readable, int writable)
{
    struct channel *c = arg;
    struct ares_watch *a = find_watch(c, fd);
    if (!readable && !writable) {
        if (a) {
            watch_fini(&a->watch);
            list_remove(&a->node);
            free(a);
        }
        return;
    }
    if (!a) {
        a = calloc(1, sizeof(*a));
        if (!a) {
            return; /* this try times out */
        }
        a->channel = c;
        a->fd = fd;
        watch_init(&a->watch, c->dns->loop, fd, on_ready);
        list_push_back(&c->sockets, &a->node);
    }
    watch_set(&a->watch, (readable ? (unsigned)WATCH_READ : 0U) |
                             (writable ? (unsigned)WATCH_WRITE : 0U));
}

/* ---- channels -------------------------------------------------------------------------------- */

static int init_ares(ares_channel *out, struct channel *c)
{
    char lookups[] = "b"; /* DNS; /etc/hosts is ours to ask */
    char hosts[] = "f";
    struct ares_options o = {.timeout = TRY_MS, .tries = TRIES, .lookups = c ? lookups : hosts};
    int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS;
    if (c) {
        o.sock_state_cb = on_socket;
        o.sock_state_cb_data = c;
        mask |= ARES_OPT_SOCK_STATE_CB;
    }
#ifdef ARES_OPT_QUERY_CACHE
    o.qcache_max_ttl = 0; /* after a failed connection the servers are to be asked, not a cache */
    mask |= ARES_OPT_QUERY_CACHE;
#endif
    return ares_init_options(out, &o, mask);
}

static void channel_free(struct channel *c)
{
    ares_destroy(c->ares); /* closes the sockets, answers what is under way */
    while (!list_empty(&c->asked)) {
        asked_free(LIST_ENTRY(c->asked.next, struct asked, node));
    }
    must(list_empty(&c->sockets));
    timer_fini(&c->timer);
    list_remove(&c->node);
    c->dns->channel_count--;
    free(c);
}

static struct channel *channel_new(struct dns *d, struct slice servers)
{
    struct channel *c = calloc(1, sizeof(*c));
    if (!c) {
        return NULL;
    }
    c->dns = d;
    if (servers.n) {
        memcpy(c->servers, servers.p, servers.n);
    }
    list_init(&c->sockets);
    list_init(&c->asked);
    timer_init(&c->timer, d->loop, on_timer);
    if (init_ares(&c->ares, c) != ARES_SUCCESS) {
        timer_fini(&c->timer);
        free(c);
        return NULL;
    }
    list_push_front(&d->channels, &c->node);
    d->channel_count++;
    if (servers.n && ares_set_servers_ports_csv(c->ares, c->servers) != ARES_SUCCESS) {
        channel_free(c);
        return NULL;
    }
    return c;
}

/* Idle channels that nobody will ask again, or too many of them. */
static void sweep(struct dns *d)
{
    for (struct list *it = d->channels.prev; it != &d->channels;) {
        struct channel *c = LIST_ENTRY(it, struct channel, node);
        it = it->prev;
        if (list_empty(&c->asked) && (c->retired || d->channel_count >= CHANNELS_MAX)) {
            channel_free(c);
        }
    }
}

/* c-ares reads the system's configuration once: after a change there has to be a new channel. */
static void check_resolv_conf(struct dns *d)
{
    struct stat st;
    int64_t now_ms = loop_now_ms(d->loop);
    if (d->checked_ms && now_ms - d->checked_ms < RESOLV_CONF_CHECK_MS) {
        return;
    }
    bool first = d->checked_ms == 0;
    d->checked_ms = now_ms;
    struct timespec changed = stat(RESOLV_CONF, &st) == 0 ? st.st_mtim : (struct timespec){0, 0};
    bool same =
        changed.tv_sec == d->resolv_conf.tv_sec && changed.tv_nsec == d->resolv_conf.tv_nsec;
    d->resolv_conf = changed;
    LIST_EACH(node, &d->channels) {
        struct channel *c = LIST_ENTRY(node, struct channel, node);
        c->retired = c->retired || (!first && !same && c->servers[0] == '\0');
    }
}

static struct channel *channel_for(struct dns *d, struct slice servers)
{
    check_resolv_conf(d);
    LIST_EACH(node, &d->channels) {
        struct channel *c = LIST_ENTRY(node, struct channel, node);
        if (!c->retired && slice_eq(slice_str(c->servers), servers)) {
            list_remove(&c->node);
            list_push_front(&d->channels, &c->node);
            return c;
        }
    }
    sweep(d);
    return d->channel_count < CHANNELS_MAX ? channel_new(d, servers) : NULL;
}

/* ---- questions ------------------------------------------------------------------------------- */

static void refuse(struct dns_query *q, const char *error)
{
    struct dns_answer a = {.count = 0, .ttl_ms = -1, .error = error};
    q->done(q, &a);
}

static void ask_addrs(struct asked *q, const char *name)
{
    struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    /* /etc/hosts is read in this call. What stands there holds for both families. */
    q->callbacks = 3; /* so that the first one is not the last */
    ares_getaddrinfo(q->channel->dns->hosts, name, NULL, &hints, on_addrs, q);
    if (q->count) {
        q->ttl_ms = HOSTS_TTL_MS;
        q->callbacks = 1;
        callback_came(q, ARES_SUCCESS);
        return;
    }
    q->status = ARES_SUCCESS;
    hints.ai_family = AF_INET6;
    ares_getaddrinfo(q->channel->ares, name, NULL, &hints, on_addrs, q);
    hints.ai_family = AF_INET;
    ares_getaddrinfo(q->channel->ares, name, NULL, &hints, on_addrs, q);
}

void dns_start(struct dns *d, struct dns_query *query)
{
    char name[DNS_NAME_MAX + 1];
    struct channel *c = query->servers.n <= DNS_SERVERS_MAX ? channel_for(d, query->servers) : NULL;
    struct asked *q = c ? calloc(1, sizeof(*q)) : NULL;
    if (!q || query->name.n > DNS_NAME_MAX) {
        free(q);
        refuse(query, q ? "name not known" : "out of memory");
        return;
    }
    memcpy(name, query->name.p, query->name.n);
    name[query->name.n] = '\0';
    q->channel = c;
    q->query = query;
    q->ttl_ms = -1;
    q->status = ARES_SUCCESS;
    timer_init(&q->other_family, d->loop, on_other_family);
    task_init(&q->free_task, run_free);
    list_push_back(&c->asked, &q->node);
    if (query->kind == DNS_ADDRS) {
        ask_addrs(q, name);
    } else {
        q->callbacks = 1;
        ares_query(c->ares, name, ns_c_in, ns_t_srv, on_srv, q);
    }
    arm(c);
}

bool dns_servers_valid(struct slice servers)
{
    struct slice one;
    if (servers.n == 0 || servers.n > DNS_SERVERS_MAX) {
        return false;
    }
    while (slice_cut(&servers, ',', &one)) {
        struct addr a;
        uint64_t port = 53;
        struct slice ip = one;
        size_t close = slice_find(one, ']');
        bool brackets = slice_starts(one, S("[")) && close != SLICE_NPOS;
        size_t colon = brackets ? close + 1 : slice_find(one, ':');
        bool bare_v6 = !brackets && colon != SLICE_NPOS && slice_rfind(one, ':') != colon;
        if (!bare_v6 && colon < one.n) {
            if (one.p[colon] != ':' || !slice_u64(slice_from(one, colon + 1), 65535, &port)) {
                return false;
            }
            ip = slice_upto(one, colon);
        }
        if (brackets) {
            ip = slice_of(one.p + 1, close - 1);
        }
        if (port == 0 || !addr_parse_ip(ip, 0, &a)) {
            return false;
        }
    }
    return true;
}

struct dns *dns_new(struct loop *l, struct err *err)
{
    struct dns *d = calloc(1, sizeof(*d));
    int status = ares_library_init(ARES_LIB_INIT_ALL);
    if (!d || status != ARES_SUCCESS) {
        err_set(err, "starting the resolver: %s", d ? ares_strerror(status) : "out of memory");
        free(d);
        return NULL;
    }
    d->loop = l;
    list_init(&d->channels);
    status = init_ares(&d->hosts, NULL);
    if (status != ARES_SUCCESS) {
        err_set(err, "starting the resolver: %s", ares_strerror(status));
        ares_library_cleanup();
        free(d);
        return NULL;
    }
    return d;
}

void dns_free(struct dns *d)
{
    if (!d) {
        return;
    }
    while (!list_empty(&d->channels)) {
        channel_free(LIST_ENTRY(d->channels.next, struct channel, node));
    }
    ares_destroy(d->hosts);
    ares_library_cleanup();
    free(d);
}
