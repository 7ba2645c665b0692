/* What commands do at a CA by themselves, with the storage of a Caddyfile. */
#ifndef CMD_AT_CA_H
#define CMD_AT_CA_H

#include "cmd/certificates.h"

/* A configuration and its storage, for one command. */
struct desk {
    struct arena arena;
    struct config *config;
    struct cert_plan plan;
    struct cert_plan demanded; /* the one name that find() was asked for, if it is on demand */
    struct acme_hand hand;
};

/* Reads the configuration and opens its storage, as that one's owner. Leave it in either case. */
NODISCARD bool desk_enter(struct desk *d, const char *command, const char *path, struct err *err);
void desk_leave(struct desk *d);
/* What is planned for a name: one that the Caddyfile lists, or that one of its sites would get a
 * certificate for on demand. Lives as long as the desk stays; one that is on demand until the next
 * call. NULL with the reason. */
const struct acme_name *desk_find(struct desk *d, struct slice name, struct err *err);

/* A whole order for the name at the test directory of its CA; says on stdout how it goes. config:
 * the Caddyfile, or NULL for the one in the working folder. */
NODISCARD bool at_ca_dry_run(const char *command, const char *config, struct slice name,
                             struct err *err);

#endif
