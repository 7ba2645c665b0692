/* From a configuration to the names that acme looks after, and from acme to the certificate table:
 * the place where acme and proxy meet. */
#ifndef CMD_CERTIFICATES_H
#define CMD_CERTIFICATES_H

#include "acme/acme.h"
#include "cmd/hook.h"
#include "cmd/on_demand.h"
#include "proxy/server/config.h"
#include "proxy/tls/certs.h"

struct cert_plan {
    struct arena arena;
    struct acme_config acme; /* points into the arena and the configuration */
    struct slice *served;    /* every name handshakes are answered for */
    size_t served_count;
};

/* Decides who signs what, for c's names and the more_count others. Errors (a name that cannot be on
 * a certificate, a public wildcard) and warnings go to diags. The configuration must outlive the
 * plan. Free with cert_plan_fini. */
void cert_plan_init(struct cert_plan *p, const struct config *c, const struct managed_name *more,
                    size_t more_count, struct cf_diags *diags);
void cert_plan_fini(struct cert_plan *p);
/* Makes the table answer for the plan's names, and with `and` also for that plan's (while the
 * change is under way); installs the user's own certificates. */
void cert_plan_configure(const struct cert_plan *p, const struct cert_plan *also,
                         const struct config *c, struct certs *certs);
/* Reads from the store what the table has no certificate for yet: on a reload only the names that
 * are new, since reading thousands again would hold up this thread. */
void cert_plan_preload(const struct cert_plan *p, struct acme *acme, struct certs *certs);
/* Where certificates go; borrowed. */
struct cert_sink {
    struct certs *certs;
    struct hook *hook; /* on_certificate's, or NULL */
    struct store *store;
    struct on_demand *on_demand;
};
/* Callbacks that feed the table and the hook; ctx is the sink. */
struct acme_callbacks cert_callbacks(struct cert_sink *sink);

#endif
