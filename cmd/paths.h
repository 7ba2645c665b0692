/* Where things are when nothing says otherwise: the store, the control socket, the Caddyfile. */
#ifndef CMD_PATHS_H
#define CMD_PATHS_H

#include "proxy/base/arena.h"

/* $XDG_DATA_HOME/caddis, else $HOME/.local/share/caddis, else /var/lib/caddis. In a. */
const char *paths_store(struct arena *a);
/* Caddy's folder by the same rules; it need not exist. In a. */
const char *paths_caddy_store(struct arena *a);
/* /run/caddis.sock as root, else $XDG_RUNTIME_DIR/caddis.sock, else in the store's folder. In a. */
const char *paths_control(struct arena *a, const char *store);

/* The control socket of a caddis that root started, also when it serves as another user. */
#define PATHS_ROOT_CONTROL "/run/caddis.sock"
#define PATHS_CADDYFILE "Caddyfile"
/* The store of --user. */
#define PATHS_USER_STORE "/var/lib/caddis"

#endif
