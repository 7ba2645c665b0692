/* A client's path and query under the operations that change them: whatever comes out is a legal
 * target. */
#include "proxy/handler/target.h"
#include "proxy/handler/uri_query.h"
#include "proxy/loop/loop.h"
#include "proxy/net/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct http_service service = {0};
static const struct exchange_codec codec = {0};
static struct loop *loop;
static struct addr peer;
static struct arena arena;
static struct cf_diags diags;
static struct target *rewritten;
static struct query_op *ops;

static void prepare(void)
{
    struct err err;
    struct cf_token to = {.text = S("/x{path}?{query}&p={path}&{uri}=1")};
    struct cf_token words[3] = {{.text = S("*")}, {.text = S("[a-c]+")}, {.text = S("$0$0")}};
    struct build b = {.arena = &arena, .diags = &diags};
    loop = loop_new(&err);
    must(loop && addr_parse_ip(S("127.0.0.1"), 1, &peer));
    arena_init(&arena, ARENA_NO_MAX);
    cf_diags_init(&diags);
    rewritten = target_compile(&arena, &to, &diags);
    must(rewritten && query_op_read(&b, &ops, words, 3));
}

static void check(const struct exchange *ex)
{
    struct slice t = ex->req.target;
    must(t.n && t.p[0] == '/');
    for (size_t i = 0; i < t.n; i++) {
        must((unsigned char)t.p[i] > ' ' && (unsigned char)t.p[i] < 0x7f && t.p[i] != '#');
    }
    must(slice_find(ex->req.path, '?') == SLICE_NPOS);
    must(t.n == ex->req.path.n + (ex->req.query.p ? 1 + ex->req.query.n : 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!loop) {
        prepare();
    }
    struct slice in = slice_of(data, size < 4096 ? size : 4096);
    struct client_info client = {.peer = &peer, .local = &peer};
    struct exchange *ex = exchange_new(loop, loop_queue(loop), &codec, &service, &client);
    struct slice query = in;
    struct slice path;
    must(ex);
    (void)slice_cut(&query, '?', &path);
    must(target_set(ex, &ex->req, path, query));
    check(ex);
    must(target_strip(ex, S("/a%b"), true));
    check(ex);
    must(target_strip(ex, S(".a"), false));
    check(ex);
    if (target_apply(rewritten, ex, &ex->req)) {
        check(ex);
    }
    if (query_ops_apply(ops, ex) == QUERY_DONE) {
        check(ex);
    }
    exchange_release(ex);
    return 0;
}
