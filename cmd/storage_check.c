/* caddis storage check: the fate of every entry. It reads plainly, without locks, and changes
 * nothing. store/README.md has the table of fates. */
#include <stdio.h>

#include "acme/cert_check.h"
#include "acme/key.h"
#include "cmd/storage.h"
#include "proxy/base/clock.h"
#include "proxy/tls/ticket_keys.h"
#include "store/backend.h"
#include "store/names.h"
#include "store/walk.h"

struct checking {
    struct store *store;
    size_t good, bad, other;
};

static void say(struct checking *c, size_t *count, const char *fate, struct slice key,
                const char *why)
{
    (void)c;
    (*count)++;
    printf("%-9s %.*s%s%s\n", fate, SLICE_ARG(key), why[0] ? ": " : "", why);
}

static bool read_value(struct checking *c, struct slice key, struct dstr *out, struct err *err)
{
    dstr_init(out, STORE_VALUE_MAX);
    enum store_result r = store_get(c->store, key, out, err);
    return r == STORE_OK || (r == STORE_MISSING && err_set(err, "it is not there"));
}

/* The name that a folder is for: wildcard_ is "*", and an IPv6 address has '-' for ':'. */
static struct slice name_of_folder(struct arena *a, struct slice folder)
{
    struct slice wildcard = S("wildcard_");
    size_t dashes = 0;
    bool hex = true;
    if (slice_starts(folder, wildcard)) {
        return arena_printf(a, "*%.*s", SLICE_ARG(slice_from(folder, wildcard.n)));
    }
    for (size_t i = 0; i < folder.n; i++) {
        dashes += folder.p[i] == '-';
        hex = hex && (folder.p[i] == '-' || ascii_hex_value(folder.p[i]) >= 0);
    }
    char *copy = arena_cstr(a, folder);
    for (size_t i = 0; copy && hex && dashes >= 2 && i < folder.n; i++) {
        copy[i] = copy[i] == '-' ? ':' : copy[i];
    }
    return slice_of(copy, copy ? folder.n : 0);
}

/* The certificate's own dates and names. */
static void check_pair(struct checking *c, struct slice key, struct slice name, struct slice chain,
                       struct slice key_pem)
{
    struct cert_facts facts;
    struct err err;
    char date[CLOCK_RFC3339_BYTES], text[256];
    int64_t now_ms = clock_wall_ms();
    struct arena a;
    arena_init(&a, 8192);
    name = name_of_folder(&a, name);
    EVP_PKEY *pkey = key_from_pem(key_pem, &err);
    struct cert_chain parsed;
    bool readable = cert_chain_parse(chain, &parsed, &err);
    if (readable) {
        cert_chain_free(&parsed);
    }
    if (!readable) {
        say(c, &c->bad, "damaged", key, "it cannot be read; it is set aside");
    } else if (!pkey) {
        say(c, &c->bad, "damaged", key, "its key cannot be read; both are set aside");
    } else if (!cert_pair_matches(NULL, chain, key_pem)) {
        say(c, &c->bad, "mismatch", key, "not of its key; the pair before is served, or a new one");
    } else if (!cert_check(chain, pkey, &name, 1, CERT_NAMES_INCLUDE, &facts, &err)) {
        err_prefix(&err, "set aside, and a new one is obtained: ");
        say(c, &c->bad, "damaged", key, err.text);
    } else {
        clock_rfc3339(facts.not_after_ms, date);
        (void)snprintf(text, sizeof(text), "until %s", date);
        if (facts.not_after_ms <= now_ms) {
            say(c, &c->bad, "expired", key, "a new one is obtained");
        } else if (facts.not_before_ms > now_ms) {
            say(c, &c->good, "early", key, "begins later; served all the same, a clock is wrong");
        } else {
            say(c, &c->good, "ok", key, text);
        }
    }
    EVP_PKEY_free(pkey);
    arena_fini(&a);
}

static void check_certificate(struct checking *c, struct slice key,
                              const struct storage_cert_key *of)
{
    struct arena a;
    struct dstr chain, key_pem;
    struct err err;
    arena_init(&a, ARENA_NO_MAX);
    struct slice key_key = store_cert_key(&a, of->ca, of->name, ".key");
    bool have_chain = read_value(c, key, &chain, &err);
    struct err key_err;
    bool have_key = read_value(c, key_key, &key_pem, &key_err);
    if (!have_chain) {
        say(c, &c->bad, "damaged", key, err.text);
    } else if (!have_key) {
        err_prefix(&key_err, "its key: ");
        say(c, &c->bad, "damaged", key, key_err.text);
    } else {
        check_pair(c, key, of->name, dstr_slice(&chain), dstr_slice(&key_pem));
    }
    dstr_fini(&chain);
    store_wipe(&key_pem);
    arena_fini(&a);
}

/* A private key, or a certificate, in PEM. */
static void check_pem(struct checking *c, struct slice key)
{
    struct dstr pem;
    struct err err;
    if (!read_value(c, key, &pem, &err)) {
        say(c, &c->bad, "damaged", key, err.text);
    } else if (slice_ends(key, S(".key"))) {
        EVP_PKEY *pkey = key_from_pem(dstr_slice(&pem), &err);
        say(c, pkey ? &c->good : &c->bad, pkey ? "ok" : "damaged", key,
            pkey ? "" : "no private key; it is set aside and another one made");
        EVP_PKEY_free(pkey);
    } else {
        struct cert_chain chain;
        bool ok = cert_chain_parse(dstr_slice(&pem), &chain, &err);
        if (ok) {
            cert_chain_free(&chain);
        }
        say(c, ok ? &c->good : &c->bad, ok ? "ok" : "damaged", key, ok ? "" : err.text);
    }
    store_wipe(&pem);
}

static void check_readable(struct checking *c, struct slice key)
{
    struct dstr value;
    struct err err;
    bool ok = read_value(c, key, &value, &err);
    struct ticket_keys keys;
    if (ok && slice_eq(key, STORE_TICKET_KEYS)) {
        ok = ticket_keys_parse(dstr_slice(&value), &keys) ||
             err_set(&err, "no ticket keys; it is set aside and new ones are made");
        ticket_keys_wipe(&keys);
    }
    say(c, ok ? &c->good : &c->bad, ok ? "ok" : "damaged", key, ok ? "" : err.text);
    store_wipe(&value);
}

static bool is_ours(struct slice key)
{
    static const struct slice folders[] = {S_INIT("acme/"), S_INIT("caddis/"),
                                           S_INIT("pki/authorities/")};
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        if (slice_starts(key, folders[i])) {
            return true;
        }
    }
    return false;
}

static bool check_one(void *ctx, struct slice key)
{
    struct checking *c = ctx;
    struct storage_cert_key of;
    if (slice_find_slice(key, S(".damaged-")) != SLICE_NPOS) {
        say(c, &c->other, "aside", key, "set aside as damaged; delete it when nobody needs it");
    } else if (slice_starts(key, S("locks/"))) {
        c->other++; /* they block nobody, and there may be thousands */
    } else if (storage_cert_key(key, &of)) {
        if (slice_eq(of.suffix, S(".crt"))) {
            check_certificate(c, key, &of);
        } else if (storage_is_debris(key)) {
            say(c, &c->other, "spare", key, "of a write; finished, used or cleared when needed");
        } else {
            c->other++; /* told with its certificate */
        }
    } else if (slice_starts(key, S("certificates/"))) {
        say(c, &c->other, "foreign", key, "not used, left alone");
    } else if (is_ours(key) && (slice_ends(key, S(".key")) || slice_ends(key, S(".crt")))) {
        check_pem(c, key);
    } else if (is_ours(key)) {
        check_readable(c, key);
    } else {
        say(c, &c->other, "foreign", key, "not used, left alone");
    }
    return true;
}

int64_t storage_check(struct store *s)
{
    struct checking c = {.store = s};
    struct err err;
    enum store_result r = store_walk(s, S(""), check_one, &c, &err);
    if (r == STORE_FAILED) {
        (void)fprintf(stderr, "caddis storage check: %s\n", err.text);
        return -1;
    }
    printf("%s: %zu good, %zu that will not be used, %zu others\n", store_path(s), c.good, c.bad,
           c.other);
    return (int64_t)c.bad;
}
