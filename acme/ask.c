/* In: a URL and a name. Out: yes or no. See ask.h. */
#include "acme/ask.h"

#include "acme/fetch.h"
#include "proxy/base/arena.h"

#define ASK_TIMEOUT_MS (10 * 1000)

enum ask_result acme_ask(struct slice url, struct slice name, struct stop *stop, struct err *err)
{
    struct arena a;
    struct dstr body;
    arena_init(&a, 65536);
    dstr_init(&body, (size_t)1 << 20);
    struct fetch_request request = {
        .url = arena_printf(&a, "%.*s%cdomain=%.*s", SLICE_ARG(url),
                            slice_find(url, '?') == SLICE_NPOS ? '?' : '&', SLICE_ARG(name)),
        .timeout_ms = ASK_TIMEOUT_MS,
    };
    long status = 0;
    if (!request.url.p) {
        err_set(err, "the URL to ask is too long");
    } else {
        status = acme_fetch(&request, stop, &body, err);
    }
    bool understood = (status >= 200 && status < 300) ||
                      (status >= 400 && status < 500 && status != 408 && status != 429);
    if (status) {
        err_set(err, "%.*s answered %ld%s", SLICE_ARG(request.url), status,
                understood                       ? ""
                : status >= 300 && status < 400 ? ", and redirects are not followed"
                                                 : ", which is neither a yes nor a no");
    }
    dstr_fini(&body);
    arena_fini(&a);
    return !understood ? ASK_FAILED : status < 300 ? ASK_YES : ASK_NO;
}
