/* In: a URL. Out: a status and a body. See fetch.h. */
#include "acme/fetch.h"

#include "acme/transport.h"

#define KEY_ROOM ((size_t)64 * 1024)

long acme_fetch(const struct fetch_request *r, struct stop *stop, struct dstr *body,
                struct err *err)
{
    struct reply reply;
    struct transport_options options = {.timeout_ms = r->timeout_ms,
                                        .plain_too = true,
                                        .root_files = &r->root_file,
                                        .root_file_count = r->root_file.n ? 1 : 0};
    struct transport_request request = {
        .method = TRANSPORT_GET, .url = r->url, .body_max = TRANSPORT_JSON_MAX};
    long status = 0;
    reply_init(&reply);
    (void)dstr_reserve(&reply.body, KEY_ROOM); /* so that no outgrown copy of a key stays behind */
    struct transport *t = transport_new(&options, stop, err);
    if (t && transport_send(t, &request, &reply, err) == TRANSPORT_OK) {
        status = reply.status;
        dstr_append(body, dstr_slice(&reply.body));
        if (body->failed) {
            status = 0;
            err_set(err, "%.*s sent more than can be kept", SLICE_ARG(r->url));
        }
    }
    transport_free(t);
    if (reply.body.p) {
        explicit_bzero(reply.body.p, reply.body.cap); /* it may have been a private key */
    }
    reply_fini(&reply);
    return status;
}
