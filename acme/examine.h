/* The parts of the doctor (acme_examine) among themselves. */
#ifndef ACME_EXAMINE_H
#define ACME_EXAMINE_H

#include "acme/acme.h"
#include "acme/stop.h"

struct examination {
    const struct acme_doctor *doctor;
    struct stop *stop;
    bool dns_silent; /* the name servers gave no answer: they are asked no more */
};

void examine_say(const struct examination *e, enum acme_verdict verdict, struct slice about,
                 const char *fmt, ...) PRINTF(4, 5);
/* The name's addresses, and whether the way from there leads to this store's caddis. */
void examine_way(struct examination *e, const struct acme_name *name);

#endif
