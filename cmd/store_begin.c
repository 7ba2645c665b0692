/* In: settings. Out: a store, and advice in the log. See store_begin.h. */
#include "cmd/store_begin.h"

#include "cmd/paths.h"
#include "proxy/base/log.h"

static void note_entry(void *ctx, struct slice name, bool is_folder)
{
    (void)name;
    (void)is_folder;
    *(bool *)ctx = true;
}

/* Says when a Caddy's certificates lie beside an empty store of ours. */
static void mention_caddy(struct store *s)
{
    struct err err;
    struct arena a;
    bool ours = false;
    arena_init(&a, ARENA_NO_MAX);
    const char *theirs = paths_find_caddy(&a);
    if (theirs &&
        store_list(s, S("certificates"), note_entry, &ours, &err) != STORE_FAILED && !ours) {
        log_event(LOG_INFO, "store",
                  "Caddy has certificates on this machine and caddis has none yet; to take them"
                  " over: caddis storage import --from-caddy",
                  LOG_Z("folder", theirs));
    }
    arena_fini(&a);
}

struct store *store_begin(const struct store_settings *settings, struct err *err)
{
    struct err reason;
    struct store *s = settings->kind->open(settings, err);
    if (s && !store_check_writable(s, &reason)) {
        log_event(LOG_ERROR, "store",
                  "the store cannot be written: nothing will be ordered until it"
                  " can; certificates that are there are served",
                  LOG_Z("reason", reason.text));
    }
    if (s) {
        mention_caddy(s);
    }
    return s;
}
