/* The few string fields that the store itself reads from JSON (challenge answers, by CertMagic or
 * by us). A strict reader of RFC 8259 without numbers' values, trees or allocation of its own. */
#ifndef STORE_JSON_H
#define STORE_JSON_H

#include "proxy/base/arena.h"

/* How deep a document may be nested. */
#define STORE_JSON_DEPTH_MAX 16

/* Reads the string member `name` of the object doc into *out (unescaped, in the arena; p == NULL
 * if there is no such member). False when doc is no valid JSON object, the member is no string,
 * is there twice, or memory is out. Member names are compared as written, without unescaping. */
NODISCARD bool store_json_string(struct arena *a, struct slice doc, struct slice name,
                                 struct slice *out);

#endif
