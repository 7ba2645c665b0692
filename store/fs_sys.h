/* The system calls by which the file-system back end changes the disk, each behind a step that
 * tests may count, fail or die in. In production the hook is NULL and these are the plain calls.
 * All return 0 (or a descriptor) or -1 with errno; EINTR is handled here. */
#ifndef STORE_FS_SYS_H
#define STORE_FS_SYS_H

#include <stdbool.h>
#include <sys/types.h>

#include "proxy/base/slice.h"

/* Called before each changing system call with its name. Returns 0 to go on or an errno value to
 * fail the call with. Set before any thread uses a store; for tests only. */
extern int (*store_fs_step)(const char *call);

/* Makes the folder with exactly mode 0700, whatever the umask. EEXIST if anything is there. */
int fs_mkdir(int dir, const char *name);
/* Makes an empty file with exactly mode 0600, whatever the umask, open for writing. */
int fs_create(int dir, const char *name);
int fs_write_all(int fd, struct slice bytes);
int fs_fsync(int fd);
/* fsync of a folder; a file system that cannot do it (EINVAL) is taken as one that need not. */
int fs_fsync_folder(int dir);
int fs_rename(int from_dir, const char *from, int to_dir, const char *to);
int fs_link(int from_dir, const char *from, int to_dir, const char *to);
int fs_unlink(int dir, const char *name);

#endif
