/* get_certificate http <URL> in tls's block: somebody else has the certificates and is asked for
 * them when a handshake needs one. The site's names are then on demand; where the manager says that
 * it has none (204), they come from the issuers as usual. */
#include "proxy/handler/handler.h"

#define MANAGERS_MAX 8

TLS_SUBDIRECTIVE(tls_read_get_certificate)
{
    if (!expect_args(b, d, d->arg_count, 1, 2) || !expect_no_block(b, d)) {
        return false;
    }
    if (!slice_eq(d->args[0].text, S("http"))) {
        struct cf_diag *diag = cf_error(b->diags, &d->args[0], "get_certificate is http <URL>;"
                                        " \"%.*s\" is not in caddis", SLICE_ARG(d->args[0].text));
        if (diag && slice_eq(d->args[0].text, S("tailscale"))) {
            diag->hint = S("tailscale cert NAME writes a certificate and its key; name them with"
                           " tls CERT KEY");
        }
        return false;
    }
    struct slice url = d->arg_count == 2 ? d->args[1].text : S("");
    if (!slice_starts(url, S("https://")) && !slice_starts(url, S("http://"))) {
        cf_error(b->diags, &d->name, "get_certificate http needs a URL (https://...)");
        return false;
    }
    if (t->manager_count == MANAGERS_MAX) {
        cf_error(b->diags, &d->name, "more than %d managers", MANAGERS_MAX);
        return false;
    }
    struct slice *more = ARENA_ARRAY(b->arena, struct slice, t->manager_count + 1);
    must(more);
    if (t->manager_count) {
        memcpy(more, t->managers, t->manager_count * sizeof(*more));
    }
    more[t->manager_count++] = url;
    t->managers = more;
    t->on_demand = true;
    return true;
}
