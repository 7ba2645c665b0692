/* Fields on their way out: a list of names and values for nghttp2, for requests and responses
 * alike. Pure. Every field is checked once more: what reaches here may have been built by ourselves
 * or by an origin's parser. */
#ifndef H2_FIELDS_H
#define H2_FIELDS_H

#include <nghttp2/nghttp2.h>

#include "proxy/http/field.h"

/* Bytes for the digits of a status or a length. */
#define H2_NUMBER_BYTES 21

void h2_set_nv(nghttp2_nv *nv, struct slice name, struct slice value);
/* value in decimal, at the end of out. */
struct slice h2_put_number(char out[H2_NUMBER_BYTES], uint64_t value);
/* Not written: HTTP/2 has none of these (RFC 9113 section 8.2.2), or the codec writes it itself. */
bool h2_field_is_ours(const struct field *f);
/* One field, its name in lower case (copied into a where it is not). False: it must not be written,
 * or memory is out. */
NODISCARD bool h2_put_field(nghttp2_nv *nv, struct arena *a, const struct field *f);

#endif
