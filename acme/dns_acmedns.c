/* acme-dns (github.com/joohoi/acme-dns): dns acmedns FILE, or { config_file_path FILE }, or
 * { username ...; password ...; subdomain ...; server_url ... }. FILE is JSON: these members, or
 * for each domain an object with them. _acme-challenge.NAME is a CNAME to the account's fulldomain.
 * The server keeps the last two values by itself: nothing is to be taken away. */
#include "acme/dns_provider.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "acme/key.h"

#define FILE_MAX ((size_t)64 * 1024)

static const struct dns_option options[] = {
    {S_INIT("config_file_path"), DNS_OPTIONAL}, {S_INIT("username"), DNS_OPTIONAL},
    {S_INIT("password"), DNS_OPTIONAL},         {S_INIT("subdomain"), DNS_OPTIONAL},
    {S_INIT("server_url"), DNS_OPTIONAL},       {S_INIT(""), DNS_OPTIONAL},
};

struct account {
    struct slice username, password, subdomain, server_url;
};

static bool complete(const struct account *a)
{
    return a->username.n && a->password.n && a->subdomain.n && a->server_url.n;
}

static struct account from_options(const struct acme_dns *dns)
{
    return (struct account){dns_value(dns, "username"), dns_value(dns, "password"),
                            dns_value(dns, "subdomain"), dns_value(dns, "server_url")};
}

static bool check(const struct acme_dns *dns, struct err *err)
{
    struct account a = from_options(dns);
    bool file = dns_value(dns, "config_file_path").n > 0;
    if (!file && !complete(&a)) {
        return err_set(err, "acmedns needs username, password, subdomain and server_url, or a file"
                            " with them");
    }
    if (a.server_url.n && !slice_starts(a.server_url, S("https://")) &&
        !slice_starts(a.server_url, S("http://"))) {
        return err_set(err, "server_url is an https:// or http:// address");
    }
    return true;
}

static bool read_file(struct slice path, struct dstr *out, struct err *err)
{
    char name[4096];
    if (path.n >= sizeof(name)) {
        return err_set(err, "the path of acmedns's file is too long");
    }
    memcpy(name, path.p, path.n);
    name[path.n] = '\0';
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return err_errno(err, errno, "reading %s", name);
    }
    ssize_t n = 1;
    while (n > 0) {
        char *at = dstr_reserve(out, 4096);
        n = at ? read(fd, at, 4096) : -1;
        out->n += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    return n == 0 || err_set(err, "%s cannot be read, or is longer than 64 KiB", name);
}

static struct account account_of(struct dns_call *c, const cJSON *obj)
{
    return (struct account){arena_copy(&c->arena, json_string(obj, "username")),
                            arena_copy(&c->arena, json_string(obj, "password")),
                            arena_copy(&c->arena, json_string(obj, "subdomain")),
                            arena_copy(&c->arena, json_string(obj, "server_url"))};
}

/* The account whose domain the name belongs to (the longest one), or whose fulldomain it is. */
static const cJSON *account_for(const cJSON *accounts, struct slice name)
{
    const cJSON *element, *best = NULL;
    size_t best_n = 0;
    cJSON_ArrayForEach(element, accounts)
    {
        struct slice domain = slice_str(element->string);
        bool ends = slice_ends(name, domain) &&
                    (name.n == domain.n || name.p[name.n - domain.n - 1] == '.');
        bool target = slice_eq_case(json_string(element, "fulldomain"), name);
        if (cJSON_IsObject(element) && (target || (ends && domain.n > best_n))) {
            best = element;
            best_n = target ? SIZE_MAX : domain.n;
        }
    }
    return best;
}

static bool from_file(struct dns_call *c, struct slice path, struct account *out, struct err *err)
{
    struct dstr text;
    key_text_init(&text);
    text.max_bytes = FILE_MAX;
    cJSON *obj = read_file(path, &text, err) ? json_parse_object(dstr_slice(&text), err) : NULL;
    if (obj) {
        *out = account_of(c, obj);
        if (!complete(out)) {
            *out = account_of(c, account_for(obj, c->name));
        }
    }
    bool ok = obj && (complete(out) ||
                      err_set(err, "%.*s has no whole account for %.*s", SLICE_ARG(path),
                              SLICE_ARG(c->name)));
    cJSON_Delete(obj);
    key_text_fini(&text);
    return ok;
}

static bool put(struct dns_call *c, struct err *err)
{
    struct account a = from_options(c->dns);
    struct slice file = dns_value(c->dns, "config_file_path");
    if (file.n && !from_file(c, file, &a, err)) {
        return false;
    }
    while (a.server_url.n && a.server_url.p[a.server_url.n - 1] == '/') {
        a.server_url.n--;
    }
    struct dstr body;
    dstr_init(&body, 4096);
    dstr_append(&body, S("{\"subdomain\":"));
    dstr_json(&body, a.subdomain);
    dstr_append(&body, S(",\"txt\":"));
    dstr_json(&body, c->value);
    dstr_byte(&body, '}');
    struct dns_request r = {
        .verb = "POST",
        .url = arena_printf(&c->arena, "%.*s/update", SLICE_ARG(a.server_url)),
        .secrets = {arena_printf(&c->arena, "X-Api-User: %.*s", SLICE_ARG(a.username)),
                    arena_printf(&c->arena, "X-Api-Key: %.*s", SLICE_ARG(a.password))},
        .body = dstr_slice(&body)};
    bool ok = (!body.failed || err_set(err, "acmedns's subdomain is too long")) &&
              dns_send(c, &r, err) && dns_succeeded(c, "setting the record", err);
    dstr_fini(&body);
    if (file.n) {
        key_wipe(a.password);
    }
    return ok;
}

static bool take(struct dns_call *c, struct err *err)
{
    (void)c;
    (void)err;
    return true;
}

const struct dns_provider dns_acmedns = {.name = S_INIT("acmedns"),
                                         .options = options,
                                         .argument_count = 1,
                                         .put = put,
                                         .take = take,
                                         .check = check};
