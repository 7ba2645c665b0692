/* Caddyfile in, struct config out; see load.h. */
#include "cmd/load.h"

#include <unistd.h>

#include "acme/acme.h"
#include "proxy/loop/log_writer.h"

#define DIAG_TEXT_MAX ((size_t)1 << 20)

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

void print_diags(const struct cf_diags *diags, struct log_sink *sink)
{
    struct dstr text;
    dstr_init(&text, DIAG_TEXT_MAX);
    cf_diags_print(diags, &text);
    if (sink) {
        log_sink_write(sink, dstr_slice(&text));
    } else {
        (void)!write(STDERR_FILENO, text.p ? text.p : "", text.n);
    }
    dstr_fini(&text);
}
