/* Memory for cold code (configuration, certificates, start-up). Hot code uses arenas and chunks,
 * which may fail and say so; here a failure is waited out for a while, because these callers run
 * off the event loops, and then ends the process (the parent starts it again). */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>
#include <stdlib.h>

#include "proxy/base/slice.h"

/* Zeroed memory; never NULL. Freed with free(). */
void *mem_zalloc(size_t n);
/* realloc that never returns NULL; count * size is checked for overflow. */
void *mem_realloc_array(void *p, size_t count, size_t size);
/* A NUL-terminated copy; never NULL. */
char *mem_dup(struct slice s);

#endif
