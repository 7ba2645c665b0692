/* The little of XML that Route 53's answers need: text between tags, found in order. No
 * attributes, no comments, no CDATA: Route 53 sends none where we look. */
#ifndef ACME_XML_PARSE_H
#define ACME_XML_PARSE_H

#include "proxy/base/slice.h"

/* The text of the next <tag>...</tag> in *rest, as it stands there (references are not resolved);
 * *rest moves behind it. False: there is none. */
NODISCARD bool xml_element(struct slice *rest, const char *tag, struct slice *text);
/* Is text, with &quot; for quotes, the value in quotes? */
bool xml_quoted_is(struct slice text, struct slice value);

#endif
