/* Default places; see paths.h. */
#include "cmd/paths.h"

#include <stdlib.h>
#include <unistd.h>

static const char *data_folder(struct arena *a, const char *name)
{
    const char *xdg = getenv("XDG_DATA_HOME");
    const char *home = getenv("HOME");
    if (xdg && xdg[0] == '/') {
        return arena_printf(a, "%s/%s", xdg, name).p;
    }
    if (home && home[0] == '/') {
        return arena_printf(a, "%s/.local/share/%s", home, name).p;
    }
    return arena_printf(a, "/var/lib/%s", name).p;
}

const char *paths_store(struct arena *a)
{
    return data_folder(a, "caddis");
}

const char *paths_caddy_store(struct arena *a)
{
    return data_folder(a, "caddy");
}

const char *paths_find_caddy(struct arena *a)
{
    const char *const folders[] = {paths_caddy_store(a), PATHS_CADDY_SERVICE_STORE};
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        if (access(arena_printf(a, "%s/certificates", folders[i]).p, R_OK) == 0) {
            return folders[i];
        }
    }
    return NULL;
}

const char *paths_socket_folder(struct arena *a, const struct store_settings *store)
{
    return store->kind == &store_kind_file_system ? arena_cstr(a, store_folder_of(store))
                                                  : paths_store(a);
}

const char *paths_control(struct arena *a, const char *store)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (geteuid() == 0) {
        return PATHS_ROOT_CONTROL;
    }
    if (runtime && runtime[0] == '/') {
        return arena_printf(a, "%s/caddis.sock", runtime).p;
    }
    return arena_printf(a, "%s/caddis.sock", store).p;
}
