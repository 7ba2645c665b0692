/* What the control socket answers about certificates. */
#ifndef CMD_CERTS_CONTROL_H
#define CMD_CERTS_CONTROL_H

#include "acme/acme.h"

/* "certs" (text), "certs-json [NAME]", "renew NAME", "accounts-changed", "root" (the local CA's, in
 * PEM). False: the word is none of these. *ok: what the answer begins with. */
bool certs_control(struct acme *a, struct store *s, struct slice word, struct slice rest,
                   struct dstr *answer, bool *ok);

#endif
