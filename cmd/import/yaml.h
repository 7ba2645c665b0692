/* YAML as a small tree, read by libyaml: maps, lists, scalars. Anchors that repeat a node are
 * followed; the number of nodes visited and the depth are bounded. */
#ifndef CMD_IMPORT_YAML_H
#define CMD_IMPORT_YAML_H

#include "cmd/import/import.h"

enum yaml_kind { YAML_NONE, YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml {
    struct yaml *next;   /* in its list or map */
    struct slice key;    /* in a map */
    struct slice value;  /* of a scalar */
    enum yaml_kind kind;
    struct yaml *first;  /* of a list or map */
    unsigned line;
};

/* The first document. In a's memory. NULL and err ("line 3: ..."). */
struct yaml *yaml_read(struct arena *a, struct slice text, struct err *err);
/* The member of a map; NULL if it is none or has none. y may be NULL. */
const struct yaml *yaml_get(const struct yaml *y, struct slice key);
/* Its scalar, or an empty slice. */
struct slice yaml_text(const struct yaml *y, struct slice key);
/* true, yes, on. */
bool yaml_true(const struct yaml *y, struct slice key);

#endif
