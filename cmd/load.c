/* Caddyfile in, struct config out; see load.h. */
#include "cmd/load.h"

#include "acme/acme.h"

struct config *load_config(const char *path, struct cf_diags *diags)
{
    struct cf_options options = {0};
    struct cf_document *document = cf_parse_file(path, &options, diags);
    if (diags->errors > 0) {
        cf_free(document);
        return NULL;
    }
    return config_build(document, acme_name_is_local, diags);
}
