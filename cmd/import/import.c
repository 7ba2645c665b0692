/* caddis import FORMAT FILE: prints the Caddyfile that does what another server's configuration
 * does. */
#include "cmd/import/import.h"

#include <errno.h>
#include <stdio.h>

#include "cmd/args.h"
#include "cmd/commands.h"

static const struct {
    struct slice name;
    import_format *read;
    const char *what;
} formats[] = {
    {S_INIT("nginx"), import_nginx, "a configuration or a file of sites-enabled; best: nginx -T"},
    {S_INIT("apache"), import_apache, "VirtualHosts with ProxyPass"},
    {S_INIT("traefik"), import_traefik, "a compose file, or its labels, a line each"},
    {S_INIT("pyserve"), import_pyserve, "PyServe's YAML"},
};

void import_help(void)
{
    printf("usage: caddis import FORMAT FILE        (FILE -: standard input)\n\n"
           "Prints the Caddyfile that does the same. Lines that were dropped because they are\n"
           "automatic here are comments; what could not be carried over is a WARNING.\n\n");
    for (size_t k = 0; k < ARRAY_LEN(formats); k++) {
        printf("  %-8s  %s\n", formats[k].name.p, formats[k].what);
    }
}

static bool read_all(const char *path, struct dstr *out)
{
    bool is_stdin = slice_eq(slice_str(path), S("-"));
    FILE *f = is_stdin ? stdin : fopen(path, "re");
    bool ok = f != NULL;
    while (ok && !feof(f) && !ferror(f)) {
        char *p = dstr_reserve(out, 65536);
        ok = p != NULL;
        out->n += ok ? fread(p, 1, 65536, f) : 0;
    }
    ok = ok && !ferror(f);
    if (!ok) {
        (void)fprintf(stderr, "caddis import: %s cannot be read: %s\n", path,
                      out->failed ? "it is larger than 8 MB" : strerror(errno));
    }
    if (f && !is_stdin) {
        (void)fclose(f);
    }
    return ok;
}

static int convert(size_t format, const char *path, struct slice text)
{
    struct import i;
    struct err err = {""};
    struct dstr out;
    import_init(&i, formats[format].name);
    dstr_init(&out, 2 * IMPORT_TEXT_MAX);
    bool ok = formats[format].read(&i, text, &err);
    if (ok) {
        import_write(&i, &out);
        ok = !out.failed || err_set(&err, "the result is too large");
    }
    if (!ok) {
        (void)fprintf(stderr, "caddis import: %s: %s\n", path, err.text);
    } else {
        ok = fwrite(out.p, 1, out.n, stdout) == out.n && fflush(stdout) == 0;
    }
    if (ok && i.warnings) {
        (void)fprintf(stderr, "caddis import: %u line%s could not be carried over; look for "
                      "WARNING\n", i.warnings, i.warnings == 1 ? "" : "s");
    }
    dstr_fini(&out);
    import_fini(&i);
    return ok ? 0 : 1;
}

int import_command(const struct command *self, int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "caddis %s: a format and a file are needed\n"
                      "Try: caddis import nginx /etc/nginx/sites-enabled/example\n", self->name);
        return 1;
    }
    for (size_t k = 0; k < ARRAY_LEN(formats); k++) {
        if (slice_eq(slice_str(argv[0]), formats[k].name)) {
            struct dstr text;
            dstr_init(&text, IMPORT_TEXT_MAX);
            int status = read_all(argv[1], &text) ? convert(k, argv[1], dstr_slice(&text)) : 1;
            dstr_fini(&text);
            return status;
        }
    }
    (void)fprintf(stderr, "caddis import: \"%s\" is none of nginx, apache, traefik, pyserve\n",
                  argv[0]);
    return 1;
}
