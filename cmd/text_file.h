/* Small text files, read and written whole, for commands. */
#ifndef CMD_TEXT_FILE_H
#define CMD_TEXT_FILE_H

#include "proxy/base/dstr.h"
#include "proxy/base/err.h"

/* Appends what path ("-": standard input) holds, at most as much as out may. */
NODISCARD bool text_file_read(const char *path, struct dstr *out, struct err *err);
/* Puts text in the place of what path holds, at once or not at all; rights and owner stay. A link
 * stays one: what it leads to is written. */
NODISCARD bool text_file_replace(const char *path, struct slice text, struct err *err);

#endif
