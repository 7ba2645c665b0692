/* handle_errors [<status>|4xx|5xx...] { directives }
 *
 * What answers when a handler fails: error, an origin that cannot be reached (502, 503, 504), a
 * body that is too large (413), a missing password (401) and the like; not an origin's own answer.
 * The block whose statuses fit is taken, those with statuses before one without, else in the order
 * they are written. It gets the request as it came, {err.status_code}, {err.status_text},
 * {err.message} and {err.id}; respond and file_server in it answer with the error's status. When
 * nothing in it answers, the plain page does. */
#include "proxy/handler/directives.h"

bool handle_errors_parse(struct build *b, const struct cf_directive *d,
                         const struct cf_token *args, size_t count, struct handler *out)
{
    (void)out;
    struct error_route *e = ARENA_NEW(b->arena, struct error_route);
    must(e);
    e->line = d;
    for (size_t i = 0; i < count; i++) {
        if (!status_set_add(&e->statuses, args[i].text)) {
            cf_error(b->diags, &args[i], "\"%.*s\" is no status such as 404 or 5xx",
                     SLICE_ARG(args[i].text));
            return false;
        }
    }
    if (!d->has_block) {
        cf_error(b->diags, &d->name, "\"handle_errors\" needs a block: handle_errors 404 { ... }");
        return false;
    }
    /* Behind those before it; in front of the one for every status. */
    struct error_route **at = &b->site->errors;
    while (*at && (!count || (*at)->statuses.any)) {
        at = &(*at)->next;
    }
    e->next = *at;
    *at = e;
    return route_build(b, d->children, &e->route);
}
