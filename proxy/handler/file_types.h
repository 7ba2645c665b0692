/* Media types of files, by extension. */
#ifndef HANDLER_FILE_TYPES_H
#define HANDLER_FILE_TYPES_H

#include "proxy/base/slice.h"

/* "text/html; charset=utf-8" for "index.html"; empty when it is not known: then nothing is said, so
 * that nothing wrong is. */
struct slice file_type(struct slice name);

#endif
