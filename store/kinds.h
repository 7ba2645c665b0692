/* The kinds of store that a configuration may name, and what it says about one: a name and
 * settings, free of the language that they were written in. A kind is one file here that defines a
 * struct store_kind, and one row in proxy/server/storage.c. */
#ifndef STORE_KINDS_H
#define STORE_KINDS_H

#include "store/store.h"

/* One setting: "password" with its values. */
struct store_setting {
    struct slice name;
    const struct slice *values;
    size_t count;
};

struct store_kind;

/* Borrowed from the configuration; what a store needs of it is copied when it is opened. */
struct store_settings {
    const struct store_kind *kind;
    const struct slice *args; /* what stands behind the kind's name */
    size_t arg_count;
    const struct store_setting *items;
    size_t count;
};

/* Told about each mistake. at NULL: it is about the settings as a whole. */
typedef void store_complain(void *ctx, const struct store_setting *at, const char *text);

struct store_kind {
    struct slice name;
    /* Looks at the settings without opening anything; every mistake is told. */
    void (*check)(const struct store_settings *s, store_complain *complain, void *ctx);
    /* Opens what check found no mistake in. A store that cannot be reached now is no error: its
     * operations try again and fail as long as that lasts. NULL with err on a mistake. */
    struct store *(*open)(const struct store_settings *s, struct err *err);
};

extern const struct store_kind store_kind_file_system; /* storage file_system FOLDER */
extern const struct store_kind store_kind_redis;       /* storage redis { … } */

/* The folder that settings of store_kind_file_system name; empty if they name none. */
struct slice store_folder_of(const struct store_settings *s);

/* Is it the same store, reached in the same way? */
bool store_settings_equal(const struct store_settings *a, const struct store_settings *b);

#endif
