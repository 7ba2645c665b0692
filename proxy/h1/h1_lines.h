/* One field line of an HTTP/1 head or trailer section (RFC 9112 section 5). Inside proxy/h1. */
#ifndef H1_LINES_H
#define H1_LINES_H

#include "proxy/http/field.h"

/* Parses the line at *p and moves *p behind its CRLF. [*p, end) must end with LF, so that the scan
 * needs no other bound. out's slices point into it. False: *why says what is wrong with it. */
NODISCARD bool h1_field_line(const char **p, const char *end, struct field *out, const char **why);

#endif
