/* Do the origins' names resolve, and does somebody answer? See look_origins.h. */
#include "cmd/look_origins.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/route/matcher.h"

#define CONNECT_TIMEOUT_MS 2000

struct looking {
    struct arena arena;
    struct map seen; /* "host port" */
    unsigned count;
    look_found *found;
    void *ctx;
};

/* 0, or why not. */
static int try_connect(const struct addrinfo *a)
{
    int error = 0;
    socklen_t size = sizeof(error);
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return errno;
    }
    if (connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        error = errno != EINPROGRESS                      ? errno
                : poll(&p, 1, CONNECT_TIMEOUT_MS) != 1    ? ETIMEDOUT
                : getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) ? errno
                                                          : error;
    }
    (void)close(fd);
    return error;
}

static void ask(struct looking *l, const struct cf_token *t, const char *host, const char *port)
{
    struct addrinfo *list = NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    char text[512];
    int why = getaddrinfo(host, port, &hints, &list);
    if (why) {
        (void)snprintf(text, sizeof(text), "the origin \"%s\" has no address: %s; requests for it"
                       " would get 502", host,
                       why == EAI_SYSTEM ? strerror(errno) : gai_strerror(why));
        l->found(l->ctx, true, &t->at, text);
        return;
    }
    int error = 0;
    for (const struct addrinfo *a = list; a; a = a->ai_next) {
        error = try_connect(a);
        if (!error) {
            break;
        }
    }
    freeaddrinfo(list);
    if (error) {
        (void)snprintf(text, sizeof(text), "nobody answers at the origin \"%s\", port %s, now (%s):"
                       " does it run?", host, port, strerror(error));
        l->found(l->ctx, false, &t->at, text);
    }
}

/* The first port of a range, or what the scheme means. */
static struct slice port_of(const struct cf_address *a)
{
    struct slice first = slice_upto(a->port, slice_find(a->port, '-'));
    return first.n ? first : slice_eq(a->scheme, S("https")) ? S("443") : S("80");
}

static void look(struct looking *l, const struct cf_token *t)
{
    static char yes;
    struct cf_address a;
    struct slice why;
    bool text = slice_find(t->text, '{') == SLICE_NPOS && !slice_starts(t->text, S("unix"));
    if (!text || l->count >= LOOK_ORIGINS_MAX ||
        !cf_parse_address(&l->arena, t->text, &a, &why)) {
        return;
    }
    struct slice host = a.host.n ? a.host : S("localhost");
    struct slice port = port_of(&a);
    struct slice key = arena_printf(&l->arena, "%.*s %.*s", SLICE_ARG(host), SLICE_ARG(port));
    if (!key.p || map_put(&l->seen, key, &yes)) {
        return;
    }
    l->count++;
    ask(l, t, arena_cstr(&l->arena, host), arena_cstr(&l->arena, port));
}

static void look_in(struct looking *l, const struct cf_directive *first)
{
    for (const struct cf_directive *d = first; d; d = d->next) {
        bool proxy = slice_eq(d->name.text, S("php_fastcgi")) ||
                     slice_eq(d->name.text, S("reverse_proxy")) ||
                     slice_eq(d->name.text, S("forward_auth"));
        for (size_t i = 0; proxy && i < d->arg_count; i++) {
            if (i > 0 || !matcher_is_token(&d->args[0])) {
                look(l, &d->args[i]);
            }
        }
        for (const struct cf_directive *o = d->children; proxy && o; o = o->next) {
            for (size_t i = 0; slice_eq(o->name.text, S("to")) && i < o->arg_count; i++) {
                look(l, &o->args[i]);
            }
        }
        look_in(l, d->children);
    }
}

unsigned look_at_origins(const struct cf_document *doc, look_found *found, void *ctx)
{
    struct looking l = {.found = found, .ctx = ctx};
    arena_init(&l.arena, ARENA_NO_MAX);
    map_init(&l.seen);
    for (const struct cf_named_route *n = doc->named_routes; n; n = n->next) {
        look_in(&l, n->directives);
    }
    for (const struct cf_site *s = doc->sites; s; s = s->next) {
        look_in(&l, s->directives);
    }
    map_fini(&l.seen);
    arena_fini(&l.arena);
    return l.count;
}
