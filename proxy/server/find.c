/* Whose is a host? In: a configuration, a name from a stranger. Out: the site, where it is
 * redirected to, what its certificate is to be like. Nothing is changed here: any thread. */
#include <string.h>

#include "proxy/server/config.h"

#define HOST_MAX 256

/* "a.example.com" -> "*.example.com" in buf; a host of one label -> "*". */
static struct slice wildcard_of(struct slice host, char buf[HOST_MAX])
{
    size_t dot = slice_find(host, '.');
    if (dot == SLICE_NPOS) {
        return S("*");
    }
    struct slice rest = slice_from(host, dot);
    if (rest.n + 1 > HOST_MAX) {
        return S("");
    }
    buf[0] = '*';
    memcpy(buf + 1, rest.p, rest.n);
    return slice_of(buf, rest.n + 1);
}

static void *find_host(const struct map *exact, const struct map *wildcard, struct slice host)
{
    char buf[HOST_MAX];
    void *hit = map_get(exact, host);
    if (!hit && wildcard->count) {
        hit = map_get(wildcard, wildcard_of(host, buf));
    }
    return hit;
}

const struct site *port_table_step(const struct port_table *t, struct slice host,
                                   enum find_step step)
{
    char buf[HOST_MAX];
    return step == FIND_EXACT      ? map_get(&t->exact, host)
           : step == FIND_WILDCARD ? map_get(&t->wildcard, wildcard_of(host, buf))
                                   : t->any;
}

const struct site *port_table_find(const struct port_table *t, struct slice host, bool catch_all)
{
    const struct site *site = find_host(&t->exact, &t->wildcard, host);
    return site || !catch_all ? site : t->any;
}

const struct site *config_demand_site(const struct config *c, struct slice name, bool *listed)
{
    for (const struct port_table *t = c->ports; t; t = t->next) {
        const struct site *site = t->tls ? port_table_find(t, name, true) : NULL;
        if (site && site->settings.tls.on_demand) {
            *listed = map_get(&t->exact, name) == site;
            return site;
        }
    }
    return NULL;
}

struct managed_name config_managed_name(const struct config *c, const struct site *site,
                                        struct slice name, const struct cf_token *at)
{
    return (struct managed_name){
        .name = name,
        .at = at,
        .internal = site->settings.tls.internal || c->options->local_certs,
        .email = site->settings.tls.email,
        .challenges = &site->settings.tls.challenges,
        .issuance = site->settings.tls.issuance,
    };
}

uint16_t port_table_redirect(const struct port_table *t, struct slice host)
{
    if (!t->redirects || port_table_find(t, host, false)) {
        return 0;
    }
    const struct redirect_port *r = find_host(&t->redirect_ports, &t->redirect_ports, host);
    return r ? r->port : 0;
}
