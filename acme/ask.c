/* In: a URL and a name. Out: yes or no. See ask.h. */
#include "acme/ask.h"

#include "acme/transport.h"
#include "proxy/base/arena.h"

#define ASK_TIMEOUT_MS (10 * 1000)
#define ASK_BODY_MAX ((size_t)64 * 1024)

enum ask_result acme_ask(struct slice url, struct slice name, struct stop *stop, struct err *err)
{
    struct arena a;
    struct reply reply;
    struct transport_options options = {.timeout_ms = ASK_TIMEOUT_MS, .plain_too = true};
    enum ask_result result = ASK_FAILED;
    arena_init(&a, 65536);
    reply_init(&reply);
    struct transport_request request = {
        .method = TRANSPORT_GET,
        .url = arena_printf(&a, "%.*s%cdomain=%.*s", SLICE_ARG(url),
                            slice_find(url, '?') == SLICE_NPOS ? '?' : '&', SLICE_ARG(name)),
        .body_max = ASK_BODY_MAX,
    };
    struct transport *t = transport_new(&options, stop, err);
    if (!request.url.p) {
        err_set(err, "the URL to ask is too long");
    } else if (t && transport_send(t, &request, &reply, err) == TRANSPORT_OK) {
        result = reply.status >= 200 && reply.status < 300 ? ASK_YES : ASK_NO;
        err_set(err, "%.*s answered %ld", SLICE_ARG(request.url), reply.status);
    }
    transport_free(t);
    reply_fini(&reply);
    arena_fini(&a);
    return result;
}
