/* The server_name extension of a ClientHello (RFC 6066 section 3). */
#ifndef TLS_SNI_H
#define TLS_SNI_H

#include "proxy/base/slice.h"

#define SNI_NAME_MAX ((size_t)255)

/* Takes the host name out of the extension's bytes, lower-cased and without a dot at its end, into
 * name; its length into *n. False when the extension is malformed or the name is empty, longer
 * than 255 bytes or has bytes no host name or address text has. */
NODISCARD bool sni_parse(struct slice extension, char name[SNI_NAME_MAX], size_t *n);

#endif
