/* --envfile: NAME=value lines, as Caddy reads them: comments, `export `, quotes. */
#ifndef CMD_ENVFILE_H
#define CMD_ENVFILE_H

#include "proxy/base/err.h"

/* Puts what the file says into this process's environment; names that are set already stay. */
NODISCARD bool envfile_load(const char *path, struct err *err);

#endif
