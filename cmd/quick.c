/* caddis reverse-proxy, file-server, respond: servers in one line. Each writes the Caddyfile that a
 * person would have written and runs it on the usual path, without a control socket. */
#include "cmd/quick.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "cmd/text_file.h"
#include "proxy/net/addr.h"

#define TEXT_MAX ((size_t)4 << 20)

static struct {
    const char *from;
    struct arg_texts to;
    struct arg_texts header_up;
    struct arg_texts header_down;
    bool change_host;
    bool insecure;
    bool internal_certs;
    bool disable_redirects;
    bool access_log;
    bool debug;
    const char *root;
    const char *listen;
    const char *domain;
    const char *precompressed;
    unsigned file_limit;
    bool browse;
    bool reveal_symlinks;
    bool no_compress;
    bool not_here;
    const char *body;
    unsigned status;
    struct arg_texts headers;
} args = {.from = "localhost"};

static const struct arg proxy_table[] = {
    {"from", 'f', ARG_TEXT, &args.from, "the site's address (localhost)", "ADDRESS"},
    {"to", 't', ARG_TEXTS, &args.to, "an origin; may be given several times", "ORIGIN"},
    {"change-host-header", 'c', ARG_FLAG, &args.change_host,
     "the Host that the origin gets is its own", NULL},
    {"header-up", 'H', ARG_TEXTS, &args.header_up, "a field of the request to the origin",
     "'F: v'"},
    {"header-down", 'd', ARG_TEXTS, &args.header_down, "a field of the response to the client",
     "'F: v'"},
    {"disable-redirects", 'r', ARG_FLAG, &args.disable_redirects, "do not redirect HTTP to HTTPS",
     NULL},
    {"internal-certs", 'i', ARG_FLAG, &args.internal_certs, "a certificate of the local CA", NULL},
    {"insecure", 0, ARG_FLAG, &args.insecure, "do not verify the origin's certificate", NULL},
    {"access-log", 0, ARG_FLAG, &args.access_log, "log every request", NULL},
    {"debug", 'v', ARG_FLAG, &args.debug, "log more", NULL},
};

static const struct arg files_table[] = {
    {"domain", 'd', ARG_TEXT, &args.domain, "serve with HTTPS for this name", "NAME"},
    {"root", 'r', ARG_TEXT, &args.root, "the folder (default: this one)", "FOLDER"},
    {"listen", 'l', ARG_TEXT, &args.listen, "address and port (:80, or :443 with a domain)",
     "ADDRESS"},
    {"browse", 'b', ARG_FLAG, &args.browse, "list folders", NULL},
    {"reveal-symlinks", 0, ARG_FLAG, &args.reveal_symlinks, "say in lists where links lead", NULL},
    {"file-limit", 'f', ARG_NUMBER, &args.file_limit, "the most entries of a list", NULL},
    {"precompressed", 'p', ARG_TEXT, &args.precompressed,
     "serve FILE.br, FILE.zst, FILE.gz in FILE's place: names with commas between", "br,zstd,gzip"},
    {"no-compress", 0, ARG_FLAG, &args.no_compress, "do not compress", NULL},
    {"access-log", 0, ARG_FLAG, &args.access_log, "log every request", NULL},
    {"debug", 'v', ARG_FLAG, &args.debug, "log more", NULL},
    {"templates", 't', ARG_NOT_HERE, &args.not_here,
     "it runs Go's templates in pages; an app behind reverse_proxy can do that", NULL},
};

static const struct arg respond_table[] = {
    {"listen", 'l', ARG_TEXT, &args.listen, "address and port (a port that is free)", "ADDRESS"},
    {"status", 's', ARG_NUMBER, &args.status, "of the answer (200)", NULL},
    {"body", 'b', ARG_TEXT, &args.body, "of the answer; or the word behind the options, or stdin",
     "TEXT"},
    {"header", 'H', ARG_TEXTS, &args.headers, "a field of the answer", "'F: v'"},
    {"access-log", 0, ARG_FLAG, &args.access_log, "log every request", NULL},
    {"debug", 'v', ARG_FLAG, &args.debug, "log more", NULL},
};

void reverse_proxy_help(void)
{
    printf("usage: caddis reverse-proxy --from ADDRESS --to ORIGIN\n\n");
    args_help(proxy_table, ARRAY_LEN(proxy_table));
}

void file_server_help(void)
{
    args_help(files_table, ARRAY_LEN(files_table));
}

void respond_help(void)
{
    printf("usage: caddis respond [OPTIONS] [BODY|STATUS]\n\n");
    args_help(respond_table, ARRAY_LEN(respond_table));
}

/* ---- writing Caddyfiles ------------------------------------------------------------------ */

void quick_word(struct dstr *out, struct slice word)
{
    bool raw = slice_find(word, '`') == SLICE_NPOS;
    dstr_append(out, raw ? S(" `") : S(" \""));
    for (size_t i = 0; i < word.n; i++) {
        if (!raw && word.p[i] == '"') {
            dstr_byte(out, '\\');
        }
        dstr_byte(out, word.p[i]);
    }
    dstr_append(out, raw ? S("`") : S("\""));
}

static void write_options(struct dstr *out)
{
    dstr_printf(out, "{\n\tadmin off\n%s%s", args.debug ? "\tdebug\n" : "",
                args.disable_redirects ? "\tauto_https disable_redirects\n" : "");
}

/* "Name: value", "-Name" as a line of header, header_up or header_down. */
static void write_field(struct dstr *out, const char *directive, const char *field)
{
    struct slice value = slice_str(field);
    struct slice name;
    (void)slice_cut(&value, ':', &name);
    dstr_printf(out, "\t%s", directive);
    quick_word(out, slice_trim(name));
    if (value.p) {
        quick_word(out, slice_trim(value));
    }
    dstr_byte(out, '\n');
}

static void write_fields(struct dstr *out, const char *directive, const struct arg_texts *fields)
{
    for (size_t i = 0; i < fields->count; i++) {
        write_field(out, directive, fields->items[i]);
    }
}

static int serve(const char *command, struct dstr *text)
{
    int status = 1;
    if (text->failed) {
        (void)fprintf(stderr, "caddis %s: that is too long\n", command);
    } else {
        status = quick_serve(dstr_slice(text));
    }
    dstr_fini(text);
    return status;
}

/* ---- reverse-proxy ----------------------------------------------------------------------- */

static void write_proxy(struct dstr *out)
{
    bool tls = false;
    write_options(out);
    dstr_append(out, S("}\n"));
    quick_word(out, slice_str(args.from));
    dstr_printf(out, " {\n%s%s\treverse_proxy", args.access_log ? "\tlog\n" : "",
                args.internal_certs ? "\ttls internal\n" : "");
    for (size_t i = 0; i < args.to.count; i++) {
        tls = tls || slice_starts(slice_str(args.to.items[i]), S("https://"));
        quick_word(out, slice_str(args.to.items[i]));
    }
    dstr_append(out, S(" {\n"));
    if (args.change_host) {
        dstr_append(out, S("\theader_up Host {upstream_hostport}\n"));
    }
    write_fields(out, "header_up", &args.header_up);
    write_fields(out, "header_down", &args.header_down);
    if (args.insecure && tls) {
        dstr_append(out, S("\ttransport http {\n\t\ttls_insecure_skip_verify\n\t}\n"));
    }
    dstr_append(out, S("\t}\n}\n"));
}

int reverse_proxy_command(const struct command *self, int argc, char **argv)
{
    struct dstr text;
    if (!args_parse(self->name, proxy_table, ARRAY_LEN(proxy_table), argc, argv, NULL)) {
        return 1;
    }
    if (!args.to.count) {
        (void)fprintf(stderr, "caddis reverse-proxy: where to? --to localhost:8000\n");
        return 1;
    }
    dstr_init(&text, TEXT_MAX);
    write_proxy(&text);
    return serve(self->name, &text);
}

/* ---- file-server ------------------------------------------------------------------------- */

/* "127.0.0.1:8080" is where to listen, for whatever host. */
static void split_listen(struct slice listen, struct slice *host, struct slice *port)
{
    size_t colon = slice_rfind(listen, ':');
    *host = slice_upto(listen, colon);
    *port = colon == SLICE_NPOS ? S("") : slice_from(listen, colon + 1);
    if (host->n > 1 && host->p[0] == '[') {
        *host = slice_of(host->p + 1, host->n - 2);
    }
}

static void write_site(struct dstr *out, const char *domain, const char *listen)
{
    struct slice host;
    struct slice port;
    struct arena a;
    arena_init(&a, 1 << 16);
    split_listen(slice_str(listen ? listen : ""), &host, &port);
    write_options(out);
    if (host.n) {
        dstr_append(out, S("\tdefault_bind"));
        quick_word(out, host);
        dstr_byte(out, '\n');
    }
    dstr_append(out, S("}\n"));
    quick_word(out, arena_printf(&a, "%s%s%.*s", domain ? domain : "http://", port.n ? ":" : "",
                                 SLICE_ARG(port)));
    dstr_printf(out, " {\n%s", args.access_log ? "\tlog\n" : "");
    arena_fini(&a);
}

static void write_precompressed(struct dstr *out)
{
    struct slice rest = slice_str(args.precompressed);
    struct slice one;
    dstr_append(out, S("\t\tprecompressed"));
    while (slice_cut(&rest, ',', &one)) {
        if (one.n) {
            quick_word(out, one);
        }
    }
    dstr_byte(out, '\n');
}

static void write_files(struct dstr *out)
{
    write_site(out, args.domain, args.listen);
    dstr_printf(out, "%s\troot *", args.no_compress ? "" : "\tencode zstd gzip\n");
    quick_word(out, slice_str(args.root ? args.root : "."));
    dstr_append(out, S("\n\tfile_server {\n"));
    if (args.browse) {
        dstr_append(out, S("\t\tbrowse {\n"));
        dstr_append(out, args.reveal_symlinks ? S("\t\t\treveal_symlinks\n") : S(""));
        if (args.file_limit) {
            dstr_printf(out, "\t\t\tfile_limit %u\n", args.file_limit);
        }
        dstr_append(out, S("\t\t}\n"));
    }
    if (args.precompressed) {
        write_precompressed(out);
    }
    dstr_append(out, S("\t}\n}\n"));
}

int file_server_command(const struct command *self, int argc, char **argv)
{
    struct dstr text;
    if (argc && slice_eq(slice_str(argv[0]), S("export-template"))) {
        (void)fprintf(stderr, "caddis file-server: export-template is Caddy's and not in caddis:"
                              " the page that lists a folder is built in\n");
        return 1;
    }
    if (!args_parse(self->name, files_table, ARRAY_LEN(files_table), argc, argv, NULL)) {
        return 1;
    }
    dstr_init(&text, TEXT_MAX);
    write_files(&text);
    return serve(self->name, &text);
}

/* ---- respond ----------------------------------------------------------------------------- */

/* A port that nobody uses now; 0: there is none. */
static unsigned free_port(void)
{
    struct addr a;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool v6 = fd >= 0 && addr_parse_ip(S("::"), 0, &a);
    if (!v6) {
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        v6 = addr_parse_ip(S("0.0.0.0"), 0, &a);
    }
    a.len = sizeof(a.u);
    bool ok = fd >= 0 && v6 &&
              bind(fd, &a.u.sa, a.u.sa.sa_family == AF_INET6 ? sizeof(a.u.in6)
                                                             : sizeof(a.u.in)) == 0 &&
              getsockname(fd, &a.u.sa, &a.len) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return ok ? addr_port(&a) : 0;
}

static bool read_body(struct dstr *body, const char *word)
{
    uint64_t status;
    struct err err;
    struct slice text = slice_str(word ? word : "");
    if (word && text.n == 3 && !args.status && slice_u64(text, 599, &status) && status >= 200) {
        args.status = (unsigned)status;
    } else if (word || args.body) {
        dstr_append(body, word ? text : slice_str(args.body));
    } else if (!isatty(STDIN_FILENO) && !text_file_read("-", body, &err)) {
        (void)fprintf(stderr, "caddis respond: %s\n", err.text);
        return false;
    }
    return !body->failed;
}

static int respond(const struct command *self, struct slice body)
{
    char listen[32];
    struct dstr text;
    struct slice host;
    struct slice port;
    split_listen(slice_str(args.listen ? args.listen : ":0"), &host, &port);
    dstr_init(&text, TEXT_MAX);
    if (slice_eq(port, S("0"))) {
        (void)snprintf(listen, sizeof(listen), ":%u", free_port());
        args.listen = listen;
    }
    write_site(&text, NULL, args.listen);
    write_fields(&text, "header", &args.headers);
    dstr_append(&text, S("\trespond *")); /* the body may look like a matcher */
    quick_word(&text, body);
    dstr_printf(&text, " %u\n}\n", args.status ? args.status : 200);
    printf("Server address: %s\n", args.listen);
    (void)fflush(stdout);
    return serve(self->name, &text);
}

int respond_command(const struct command *self, int argc, char **argv)
{
    const char *word = NULL;
    struct dstr body;
    if (!args_parse(self->name, respond_table, ARRAY_LEN(respond_table), argc, argv, &word)) {
        return 1;
    }
    dstr_init(&body, TEXT_MAX / 2);
    int status = read_body(&body, word) ? respond(self, dstr_slice(&body)) : 1;
    dstr_fini(&body);
    return status;
}
