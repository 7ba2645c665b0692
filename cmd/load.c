/* Caddyfile in, struct config out; see load.h. */
#include "cmd/load.h"

#include <stdio.h>
#include <unistd.h>

#include "acme/acme.h"
#include "cmd/certificates.h"
#include "proxy/loop/log_writer.h"

#define DIAG_TEXT_MAX ((size_t)1 << 20)

static struct slice given;

void load_give(struct slice text)
{
    given = text;
}

struct config *load_config(const char *path, struct cf_diags *diags)
{
    struct cf_options options = {0};
    bool is_given = given.p && slice_eq(slice_str(path), S(LOAD_GIVEN));
    struct cf_document *document = is_given
                                       ? cf_parse_text(S(LOAD_GIVEN), given, &options, diags)
                                       : cf_parse_file(path, &options, diags);
    if (document->unusable) {
        cf_free(document);
        return NULL;
    }
    return config_build(document, acme_name_is_local, diags);
}

struct config *load_for_command(const char *path)
{
    struct cf_diags diags;
    struct cert_plan plan;
    cf_diags_init(&diags);
    struct config *config = load_config(path, &diags);
    if (config) {
        cert_plan_init(&plan, config, NULL, 0, &diags);
        cert_plan_fini(&plan);
    }
    print_diags(&diags, NULL);
    if (diags.errors) {
        unsigned n = diags.errors - diags.repeats;
        (void)fprintf(stderr, "%u error%s\n", n, n == 1 ? "" : "s");
        config_unref(config);
        config = NULL;
    }
    cf_diags_fini(&diags);
    return config;
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
