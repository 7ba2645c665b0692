/* See host_addrs.h. */
#include "proxy/net/host_addrs.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <string.h>

#include "proxy/net/dns.h"

static bool take(const struct sockaddr *sa, struct addr *out)
{
    bool v6 = sa->sa_family == AF_INET6;
    if (!v6 && sa->sa_family != AF_INET) {
        return false;
    }
    memset(out, 0, sizeof(*out));
    out->len = v6 ? sizeof(out->u.in6) : sizeof(out->u.in);
    memcpy(&out->u, sa, out->len);
    return !v6 || !IN6_IS_ADDR_LINKLOCAL(&out->u.in6.sin6_addr);
}

static size_t of_interface(const char *name, struct addr *out, size_t max)
{
    struct ifaddrs *all;
    size_t count = 0;
    if (getifaddrs(&all) != 0) {
        return 0;
    }
    for (const struct ifaddrs *i = all; i && count < max; i = i->ifa_next) {
        if (i->ifa_addr && strcmp(i->ifa_name, name) == 0 && take(i->ifa_addr, &out[count])) {
            count++;
        }
    }
    freeifaddrs(all);
    return count;
}

static size_t of_host(const char *name, struct addr *out, struct err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *all;
    bool found = false;
    int rc = getaddrinfo(name, NULL, &hints, &all);
    if (rc != 0) {
        err_set(err, "%s", gai_strerror(rc));
        return 0;
    }
    for (const struct addrinfo *i = all; i && !(found && out->u.sa.sa_family == AF_INET);
         i = i->ai_next) {
        struct addr a;
        if (take(i->ai_addr, &a) && (!found || a.u.sa.sa_family == AF_INET)) {
            *out = a;
            found = true;
        }
    }
    freeaddrinfo(all);
    if (!found) {
        err_set(err, "it has no address");
    }
    return found;
}

size_t host_addrs(struct slice word, struct addr *out, size_t max, struct err *err)
{
    char name[DNS_NAME_MAX + 1];
    if (word.n == 0 || word.n > DNS_NAME_MAX || memchr(word.p, '\0', word.n)) {
        err_set(err, "it is no name");
        return 0;
    }
    memcpy(name, word.p, word.n);
    name[word.n] = '\0';
    if (word.n < IFNAMSIZ && if_nametoindex(name)) {
        size_t count = of_interface(name, out, max);
        if (!count) {
            err_set(err, "the interface has no IP address");
        }
        return count;
    }
    return of_host(name, out, err);
}
