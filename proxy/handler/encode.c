/* encode [matcher] [formats...] {
 *     gzip [1-9]                                    5
 *     zstd [fastest|default|better|best|1-11]       default
 *     br [0-9]                                      4
 *     minimum_length <bytes>                        512
 *     match { status ...; header ... }              about thirty types that compress well
 * }
 *
 * Compresses responses for clients that take it (RFC 9110 section 12.5.3): zstd and gzip unless
 * formats are named; br only where it is. The client's weights decide, then the order written.
 *
 * Done by a response hook, so for whatever handler answers: it changes the head and installs a body
 * filter. The filter compresses what has come, a bounded piece a turn of the loop; where the length
 * is not known beforehand (event streams, above all) it flushes when nothing more is there. Left
 * alone: what is encoded already, ranges, no-transform (request or response), tunnels, and what is
 * short. A strong ETag becomes weak, because its bytes are others now (RFC 9110 section 8.8.3). */
#include "proxy/handler/accept_encoding.h"
#include "proxy/handler/chain.h"
#include "proxy/handler/directives.h"
#include "proxy/handler/encode_coder.h"
#include "proxy/handler/response_match.h"
#include "proxy/loop/loop.h"

#define MINIMUM_LENGTH 512
#define STEP_BYTES ((size_t)16 * 1024)
#define TURN_BYTES ((size_t)64 * 1024) /* compressed in one turn of the loop, for one response */
#define OUT_BYTES ((size_t)64 * 1024)

struct encode {
    enum coding codings[CODING_COUNT]; /* in the order of preference */
    int levels[CODING_COUNT];          /* beside them */
    unsigned count;
    uint64_t minimum_bytes;
    const struct response_matcher *match; /* NULL: by the types below */
};

/* What one request's client takes. */
struct encode_request {
    const struct encode *config;
    struct slice if_none_match; /* as it came */
    unsigned order[ACCEPT_CODINGS_MAX];
    unsigned count;
};

/* Beginnings of media types: Caddy's list. */
static const struct slice types[] = {
    S_INIT("application/atom+xml"), S_INIT("application/eot"), S_INIT("application/font"),
    S_INIT("application/geo+json"), S_INIT("application/graphql+json"),
    S_INIT("application/graphql-response+json"), S_INIT("application/javascript"),
    S_INIT("application/json"), S_INIT("application/ld+json"),
    S_INIT("application/manifest+json"), S_INIT("application/opentype"),
    S_INIT("application/otf"), S_INIT("application/rss+xml"), S_INIT("application/truetype"),
    S_INIT("application/ttf"), S_INIT("application/vnd.api+json"),
    S_INIT("application/vnd.ms-fontobject"), S_INIT("application/wasm"),
    S_INIT("application/x-httpd-cgi"), S_INIT("application/x-javascript"),
    S_INIT("application/x-opentype"), S_INIT("application/x-otf"),
    S_INIT("application/x-perl"), S_INIT("application/x-protobuf"),
    S_INIT("application/x-ttf"), S_INIT("application/xhtml+xml"), S_INIT("application/xml"),
    S_INIT("font/ttf"), S_INIT("font/otf"), S_INIT("image/svg+xml"),
    S_INIT("image/vnd.microsoft.icon"), S_INIT("image/x-icon"), S_INIT("multipart/bag"),
    S_INIT("multipart/mixed"), S_INIT("text/"),
};

/* ---- the filter ------------------------------------------------------------------------------ */

struct encode_filter {
    struct body_filter filter;
    struct exchange *ex;
    struct coder *coder;
    struct chunk *chunk;  /* being filled; NULL: none */
    struct message turn;  /* to this very loop: another turn */
    size_t budget_bytes;  /* left in this turn */
    bool turn_asked;      /* the exchange is held for it */
    bool flushes;         /* nobody knows when more will come */
    bool pending;         /* the coder may hold something back */
};

static void on_turn(struct message *m)
{
    struct encode_filter *e = container_of(m, struct encode_filter, turn);
    e->turn_asked = false;
    e->budget_bytes = TURN_BYTES;
    if (!e->filter.over) {
        task_post(e->ex->queue, &e->filter.task);
    }
    exchange_release(e->ex);
}

static void ask_turn(struct encode_filter *e)
{
    if (!e->turn_asked) {
        e->turn_asked = true;
        exchange_hold(e->ex);
        loop_send(e->ex->loop, &e->turn);
    }
}

static void push_chunk(struct encode_filter *e)
{
    if (e->chunk->fill) {
        body_push(&e->filter.out, e->chunk, e->chunk->data, e->chunk->fill);
    }
    chunk_unref(e->chunk);
    e->chunk = NULL;
}

/* One call of the coder. */
static enum filter_result compress(struct encode_filter *e, struct iovec bytes, enum coder_op op)
{
    if (!e->chunk) {
        e->chunk = chunk_new(CHUNK_BYTES);
        if (!e->chunk) {
            return FILTER_FAILED;
        }
    }
    size_t n = bytes.iov_len < STEP_BYTES ? bytes.iov_len : STEP_BYTES;
    struct coder_io io = {bytes.iov_base, n, chunk_end(e->chunk), chunk_room(e->chunk)};
    enum coder_status status = coder_run(e->coder, &io, op);
    size_t taken = n - io.in_n;
    body_consume(e->filter.in, taken);
    e->budget_bytes -= taken < e->budget_bytes ? taken : e->budget_bytes;
    e->chunk->fill = (uint32_t)(io.out - e->chunk->data);
    e->pending = op == CODER_RUN || status == CODER_MORE;
    if (status == CODER_ERROR) {
        return FILTER_FAILED;
    }
    if (chunk_room(e->chunk) == 0 || !e->pending) {
        push_chunk(e);
    }
    return op == CODER_FINISH && status == CODER_DONE ? FILTER_LAST : FILTER_MORE;
}

static enum filter_result encode_step(struct body_filter *self)
{
    struct encode_filter *e = container_of(self, struct encode_filter, filter);
    struct body *in = self->in;
    struct iovec bytes = {NULL, 0};
    if (e->budget_bytes == 0) {
        ask_turn(e);
        return FILTER_WAIT;
    }
    if (body_peek(in, &bytes, 1) > 0) {
        return compress(e, bytes, CODER_RUN);
    }
    if (in->state == BODY_ENDED) {
        return compress(e, bytes, CODER_FINISH);
    }
    bool open = in->state == BODY_OPEN;
    if (e->pending && (e->flushes || !open)) {
        return compress(e, bytes, CODER_FLUSH);
    }
    return open ? FILTER_WAIT : FILTER_LAST;
}

static void encode_drop(struct body_filter *self)
{
    struct encode_filter *e = container_of(self, struct encode_filter, filter);
    coder_give(e->coder);
    chunk_unref(e->chunk);
    e->coder = NULL;
    e->chunk = NULL;
}

static const struct body_filter_ops encode_filter_ops = {encode_step, encode_drop};

/* ---- the response's head --------------------------------------------------------------------- */

static bool type_fits(const struct fields *fields)
{
    const struct field *type = fields_find_id(fields, FIELD_CONTENT_TYPE);
    for (size_t i = 0; type && i < ARRAY_LEN(types); i++) {
        if (type->value.n >= types[i].n &&
            slice_eq_case(slice_upto(type->value, types[i].n), types[i])) {
            return true;
        }
    }
    return false;
}

/* Is it long enough, as far as that is known? */
static bool length_fits(const struct encode *c, struct exchange *ex)
{
    int64_t length = ex->res.content_length;
    const struct body *b = exchange_out(ex);
    if (length < 0 && b->state == BODY_ENDED && exchange_client_method(ex) != METHOD_HEAD) {
        length = (int64_t)b->queued_bytes;
    }
    return length < 0 || (length > 0 && (uint64_t)length >= c->minimum_bytes);
}

static bool may_encode(const struct encode *c, struct exchange *ex)
{
    const struct response *res = &ex->res;
    if (res->tunnel || ex->response_started || ex->finished || res->status == 206 ||
        !http_status_has_body(METHOD_GET, res->status) ||
        fields_find_id(&res->fields, FIELD_CONTENT_ENCODING) ||
        fields_find_id(&res->fields, FIELD_CONTENT_RANGE) ||
        fields_have_token(&res->fields, FIELD_CACHE_CONTROL, S("no-transform"))) {
        return false;
    }
    bool fits = c->match ? response_matches(c->match, res->status, &res->fields)
                         : type_fits(&res->fields);
    return fits && length_fits(c, ex);
}

/* "x" becomes W/"x". False: memory, nothing was done. */
static bool weaken(struct exchange *ex)
{
    struct field *etag = fields_find(&ex->res.fields, S("etag"));
    if (!etag || slice_starts(etag->value, S("W/"))) {
        return true;
    }
    struct slice weak = arena_printf(&ex->arena, "W/%.*s", SLICE_ARG(etag->value));
    if (weak.p) {
        etag->value = weak;
    }
    return weak.p != NULL;
}

/* A 304 names the tag that the client asked with, not the strong one it was made from. */
static void not_modified(const struct encode_request *r, struct exchange *ex)
{
    const struct field *etag = fields_find(&ex->res.fields, S("etag"));
    if (!etag || r->count == 0) {
        return;
    }
    struct slice weak = arena_printf(&ex->arena, "W/%.*s", SLICE_ARG(etag->value));
    if (weak.p && slice_find_slice(r->if_none_match, weak) != SLICE_NPOS) {
        (void)weaken(ex);
    }
}

static bool add_vary(struct exchange *ex)
{
    struct fields *f = &ex->res.fields;
    return fields_have_token(f, FIELD_VARY, S("accept-encoding")) ||
           fields_have_token(f, FIELD_VARY, S("*")) ||
           fields_add_id(f, &ex->arena, FIELD_VARY, S("Vary"), S("Accept-Encoding"));
}

/* The first coding the client takes that there is a coder for; *name: which. */
static struct coder *take_coder(const struct encode_request *r, struct slice *name)
{
    const struct encode *c = r->config;
    for (unsigned i = 0; i < r->count && r->order[i] < c->count; i++) {
        enum coding coding = c->codings[r->order[i]];
        struct coder *coder = coder_take(coding, c->levels[r->order[i]]);
        if (coder) {
            *name = coding_names[coding];
            return coder;
        }
    }
    return NULL;
}

static bool change_head(struct exchange *ex, struct slice coding)
{
    struct fields *f = &ex->res.fields;
    if (!weaken(ex) ||
        !fields_add_id(f, &ex->arena, FIELD_CONTENT_ENCODING, S("Content-Encoding"), coding)) {
        return false;
    }
    (void)fields_remove_id(f, FIELD_CONTENT_LENGTH);
    (void)fields_remove(f, S("accept-ranges"));
    ex->res.content_length = LENGTH_UNKNOWN;
    return true;
}

static bool has_body(const struct exchange *ex)
{
    return http_status_has_body(exchange_client_method(ex), ex->res.status);
}

static void install(struct exchange *ex, struct encode_filter *e, struct coder *coder,
                    bool length_known)
{
    e->ex = ex;
    e->coder = coder;
    e->turn = (struct message){.deliver = on_turn};
    e->budget_bytes = TURN_BYTES;
    e->flushes = !length_known;
    body_filter_install(&e->filter, &encode_filter_ops, ex, OUT_BYTES);
}

static void encode_response(const void *instance, struct exchange *ex)
{
    const struct encode_request *r = instance;
    if (ex->res.status == 304) {
        not_modified(r, ex);
        return;
    }
    if (!may_encode(r->config, ex) || !add_vary(ex) || r->count == 0) {
        return;
    }
    bool length_known = ex->res.content_length >= 0;
    struct encode_filter *e = ARENA_NEW(&ex->arena, struct encode_filter);
    struct slice name = S("");
    struct coder *coder = e ? take_coder(r, &name) : NULL;
    if (!coder) {
        return; /* it goes out as it is */
    }
    if (change_head(ex, name) && has_body(ex)) {
        install(ex, e, coder, length_known);
    } else {
        coder_give(coder);
    }
}

static const struct handler_ops response_ops = {.name = "encode", .on_response = encode_response};

static enum handler_result encode_request(const void *instance, struct exchange *ex)
{
    const struct encode *c = instance;
    if (fields_have_token(&ex->req.fields, FIELD_CACHE_CONTROL, S("no-transform"))) {
        return HANDLER_NEXT;
    }
    struct encode_request *r = ARENA_NEW(&ex->arena, struct encode_request);
    if (!r) {
        return HANDLER_NEXT; /* the chain sees that memory is out */
    }
    /* Now, because a handler behind this one may change or remove the field. */
    struct slice offered[CODING_COUNT + 1];
    for (unsigned i = 0; i < c->count; i++) {
        offered[i] = coding_names[c->codings[i]];
    }
    offered[c->count] = S("identity"); /* which some like better: identity;q=1, gzip;q=0.5 */
    const struct field *asked = fields_find(&ex->req.fields, S("if-none-match"));
    r->config = c;
    r->if_none_match = asked ? asked->value : S("");
    r->count = accept_encoding(&ex->req.fields, offered, c->count + 1, r->order);
    chain_add_hook(ex, &response_ops, r);
    return HANDLER_NEXT;
}

static const struct handler_ops encode_ops = {.name = "encode", .on_request = encode_request};

/* ---- reading --------------------------------------------------------------------------------- */

/* CODING_COUNT: no format. */
static enum coding coding_of(struct slice name)
{
    unsigned coding = 0;
    while (coding < CODING_COUNT && !slice_eq(coding_names[coding], name)) {
        coding++;
    }
    return (enum coding)coding;
}

static void add_coding(struct encode *c, enum coding coding, int level)
{
    unsigned at = 0;
    while (at < c->count && c->codings[at] != coding) {
        at++;
    }
    c->codings[at] = coding;
    c->levels[at] = level;
    c->count += at == c->count;
}

/* zstd's words, at the levels that Caddy's library says they are like. */
static bool zstd_word(struct slice text, int *level)
{
    static const struct {
        struct slice word;
        int level;
    } words[] = {{S_INIT("fastest"), 1}, {S_INIT("default"), 3}, {S_INIT("better"), 7},
                 {S_INIT("best"), 11}};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (slice_eq(words[i].word, text)) {
            *level = words[i].level;
            return true;
        }
    }
    return false;
}

static void parse_coding(struct build *b, struct encode *c, enum coding coding,
                         const struct cf_directive *o)
{
    int level = coding_level_default(coding);
    int min = coding_level_min(coding), max = coding_level_max(coding);
    uint64_t number;
    if (!expect_args(b, o, o->arg_count, 0, 1)) {
        return;
    }
    if (o->arg_count == 1 && !(coding == CODING_ZSTD && zstd_word(o->args[0].text, &level))) {
        if (!slice_u64(o->args[0].text, (uint64_t)max, &number) || number < (uint64_t)min) {
            cf_error(b->diags, &o->args[0], "\"%.*s\" is no level of %.*s: %d to %d%s",
                     SLICE_ARG(o->args[0].text), SLICE_ARG(o->name.text), min, max,
                     coding == CODING_ZSTD ? ", or fastest, default, better, best"
                     : coding == CODING_BR ? " (10 and 11 are too slow for answers made on the way)"
                                           : "");
            return;
        }
        level = (int)number;
    }
    add_coding(c, coding, level);
}

static void parse_match(struct build *b, struct encode *c, const struct cf_directive *o)
{
    struct response_scope scope = {NULL};
    if (c->match) {
        cf_error(b->diags, &o->name, "\"encode\" has one match; put the conditions into its block");
        return;
    }
    response_matcher_define(b, &scope, o);
    c->match = scope.first;
}

static void parse_option(struct build *b, struct encode *c, const struct cf_directive *o)
{
    static const struct slice names[] = {S_INIT("gzip"), S_INIT("zstd"), S_INIT("br"),
                                         S_INIT("minimum_length"), S_INIT("match")};
    enum coding coding = coding_of(o->name.text);
    if (coding != CODING_COUNT) {
        parse_coding(b, c, coding, o);
    } else if (slice_eq(o->name.text, S("match"))) {
        parse_match(b, c, o);
    } else if (!slice_eq(o->name.text, S("minimum_length"))) {
        struct cf_diag *diag = cf_error(b->diags, &o->name, "\"encode\" has no option \"%.*s\"",
                                        SLICE_ARG(o->name.text));
        if (diag) {
            cf_did_you_mean(b->diags, diag, o->name.text, names, ARRAY_LEN(names));
        }
    } else if (expect_args(b, o, o->arg_count, 1, 1) &&
               !slice_u64(o->args[0].text, INT64_MAX, &c->minimum_bytes)) {
        cf_error(b->diags, &o->args[0], "\"%.*s\" is no number of bytes",
                 SLICE_ARG(o->args[0].text));
    }
}

bool encode_parse(struct build *b, const struct cf_directive *d, const struct cf_token *args,
                  size_t count, struct handler *out)
{
    unsigned errors = b->diags->errors;
    struct encode *c = ARENA_NEW(b->arena, struct encode);
    must(c);
    c->minimum_bytes = MINIMUM_LENGTH;
    out->ops = &encode_ops;
    out->instance = c;
    for (size_t i = 0; i < count; i++) {
        enum coding coding = coding_of(args[i].text);
        if (coding == CODING_COUNT) {
            struct cf_diag *diag = cf_error(b->diags, &args[i], "\"%.*s\" is no format: zstd, br,"
                                            " gzip", SLICE_ARG(args[i].text));
            if (diag) {
                cf_did_you_mean(b->diags, diag, args[i].text, coding_names, CODING_COUNT);
            }
        } else {
            add_coding(c, coding, coding_level_default(coding));
        }
    }
    for (const struct cf_directive *o = d->children; o; o = o->next) {
        parse_option(b, c, o);
    }
    if (c->count == 0) {
        add_coding(c, CODING_ZSTD, coding_level_default(CODING_ZSTD));
        add_coding(c, CODING_GZIP, coding_level_default(CODING_GZIP));
    }
    return b->diags->errors == errors;
}
