/* The lines of tls's block that say how handshakes are made:
 *
 *     protocols <min> [<max>]      tls1.2 or tls1.3
 *     ciphers <suite>...           of TLS 1.2, in Go's names; those of TLS 1.3 are always there
 *     curves <group>...            x25519mlkem768, x25519, secp256r1, secp384r1, secp521r1
 *     alpn <protocol>...           h2, http/1.1
 *     insecure_secrets_log <file>  the sessions' keys, for a debugger: whoever reads that file
 *                                  reads the traffic */
#include "proxy/handler/handler.h"

#define LIST_MAX 32

static void mark(struct tls_settings *t, const struct cf_directive *d)
{
    t->policy_token = t->policy_token ? t->policy_token : &d->name;
}

static bool read_version(struct build *b, const struct cf_token *token, unsigned *out)
{
    *out = slice_eq(token->text, S("tls1.2")) ? 12 : slice_eq(token->text, S("tls1.3")) ? 13 : 0;
    if (!*out) {
        cf_error(b->diags, token, "\"%.*s\" is no protocol version caddis has: tls1.2 or tls1.3",
                 SLICE_ARG(token->text));
    }
    return *out != 0;
}

TLS_SUBDIRECTIVE(tls_read_protocols)
{
    mark(t, d);
    if (!expect_args(b, d, d->arg_count, 1, 2) || !expect_no_block(b, d) ||
        !read_version(b, &d->args[0], &t->policy.min_version) ||
        (d->arg_count == 2 && !read_version(b, &d->args[1], &t->policy.max_version))) {
        return false;
    }
    if (d->arg_count == 2 && t->policy.min_version > t->policy.max_version) {
        cf_error(b->diags, &d->args[1], "the lower version comes first: protocols tls1.2 tls1.3");
        return false;
    }
    return true;
}

/* Appends word to a ":" list. */
static void list_add(struct build *b, struct slice *list, struct slice word)
{
    *list = list->n ? arena_printf(b->arena, "%.*s:%.*s", SLICE_ARG(*list), SLICE_ARG(word))
                    : arena_copy(b->arena, word);
    must(list->p);
}

static bool read_cipher(struct build *b, struct tls_settings *t, const struct cf_token *token)
{
    struct slice word;
    if (tls_cipher_find(token->text, &word)) {
        list_add(b, &t->policy.ciphers, word);
        return true;
    }
    struct cf_diag *diag = cf_error(b->diags, token, "\"%.*s\" is no suite of TLS 1.2 that caddis"
                                    " knows", SLICE_ARG(token->text));
    if (diag) {
        diag->hint = slice_starts(token->text, S("TLS_AES")) ||
                             slice_starts(token->text, S("TLS_CHACHA"))
                         ? S("the suites of TLS 1.3 are always there")
                         : S("e.g. TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
    }
    return false;
}

TLS_SUBDIRECTIVE(tls_read_ciphers)
{
    mark(t, d);
    bool ok = expect_args(b, d, d->arg_count, 1, LIST_MAX) && expect_no_block(b, d);
    for (size_t i = 0; ok && i < d->arg_count; i++) {
        ok = read_cipher(b, t, &d->args[i]);
    }
    return ok;
}

TLS_SUBDIRECTIVE(tls_read_curves)
{
    mark(t, d);
    bool ok = expect_args(b, d, d->arg_count, 1, LIST_MAX) && expect_no_block(b, d);
    for (size_t i = 0; ok && i < d->arg_count; i++) {
        struct slice word;
        switch (tls_group_find(d->args[i].text, &word)) {
        case TLS_GROUP_OK:
            list_add(b, &t->policy.groups, word);
            break;
        case TLS_GROUP_MISSING:
            cf_warning(b->diags, &d->args[i], "this machine's OpenSSL has no %.*s (3.5 and later"
                       " have x25519mlkem768): it is left out", SLICE_ARG(d->args[i].text));
            break;
        case TLS_GROUP_UNKNOWN:
            cf_error(b->diags, &d->args[i], "\"%.*s\" is no curve: x25519mlkem768, x25519,"
                     " secp256r1, secp384r1, secp521r1", SLICE_ARG(d->args[i].text));
            ok = false;
        }
    }
    if (ok && !t->policy.groups.n) {
        cf_error(b->diags, &d->name, "none of these curves is there on this machine");
        ok = false;
    }
    return ok;
}

TLS_SUBDIRECTIVE(tls_read_alpn)
{
    mark(t, d);
    if (!expect_args(b, d, d->arg_count, 1, LIST_MAX) || !expect_no_block(b, d)) {
        return false;
    }
    struct slice *list = ARENA_ARRAY(b->arena, struct slice, d->arg_count);
    must(list);
    t->policy.alpn = list;
    t->policy.alpn_count = 0;
    for (size_t i = 0; i < d->arg_count; i++) {
        struct slice word = d->args[i].text;
        if (slice_eq(word, S("h2")) || slice_eq(word, S("http/1.1"))) {
            list[t->policy.alpn_count++] = word;
        } else if (slice_eq(word, S("h3"))) {
            cf_warning(b->diags, &d->args[i], "caddis has no HTTP/3 yet; h3 is left out");
        } else if (!slice_eq(word, S("acme-tls/1"))) { /* its challenges need no line here */
            cf_error(b->diags, &d->args[i], "caddis speaks h2 and http/1.1, not \"%.*s\"",
                     SLICE_ARG(word));
            return false;
        }
    }
    if (!t->policy.alpn_count) {
        cf_error(b->diags, &d->name, "alpn needs at least one of h2 and http/1.1");
    }
    return t->policy.alpn_count > 0;
}

TLS_SUBDIRECTIVE(tls_read_secrets_log)
{
    mark(t, d);
    if (!expect_args(b, d, d->arg_count, 1, 1) || !expect_no_block(b, d)) {
        return false;
    }
    t->policy.secrets_log = d->args[0].text;
    cf_warning(b->diags, &d->name, "whoever reads %.*s can read this site's traffic; take the line"
               " out when you have finished debugging", SLICE_ARG(d->args[0].text));
    return true;
}
