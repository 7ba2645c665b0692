/* Where things are when nothing says otherwise: the store, the control socket, the Caddyfile. */
#ifndef CMD_PATHS_H
#define CMD_PATHS_H

#include "proxy/base/arena.h"
#include "store/kinds.h"

/* $XDG_DATA_HOME/caddis, else $HOME/.local/share/caddis, else /var/lib/caddis. In a. */
const char *paths_store(struct arena *a);
/* Caddy's folder by the same rules; it need not exist. In a. */
const char *paths_caddy_store(struct arena *a);
/* That one, or the one of Debian's service, whichever holds certificates; NULL: neither. In a. */
const char *paths_find_caddy(struct arena *a);
/* The store's folder, or the default one when the store is no folder. In a. */
const char *paths_socket_folder(struct arena *a, const struct store_settings *store);
/* /run/caddis.sock as root, else $XDG_RUNTIME_DIR/caddis.sock, else in that folder. In a. */
const char *paths_control(struct arena *a, const char *folder);

/* The control socket of a caddis that root started, also when it serves as another user. */
#define PATHS_ROOT_CONTROL "/run/caddis.sock"
#define PATHS_CADDYFILE "Caddyfile"
/* The store of --user. */
#define PATHS_CADDY_SERVICE_STORE "/var/lib/caddy/.local/share/caddy"
#define PATHS_USER_STORE "/var/lib/caddis"

#endif
