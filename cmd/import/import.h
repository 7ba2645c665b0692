/* Turning another server's configuration into a Caddyfile: what the formats share.
 *
 * In:  the text of a file. Out: a Caddyfile that does the same, in memory; every line of the
 * original that was dropped because it is automatic here is a comment, and everything that could
 * not be carried over is a comment that begins with WARNING and is counted. Nothing else is read:
 * a file that the text includes is named in a warning.
 *
 * Adding a format: a file with an `import_format` function and a row in import.c. */
#ifndef CMD_IMPORT_IMPORT_H
#define CMD_IMPORT_IMPORT_H

#include "proxy/base/arena.h"
#include "proxy/base/dstr.h"
#include "proxy/base/err.h"

#define IMPORT_TEXT_MAX ((size_t)8 << 20)
#define IMPORT_DEPTH_MAX 32

/* Lines of a Caddyfile, with tabs before them. */
struct import_text {
    struct dstr out;
    unsigned depth;
};

/* One site block under construction; sites with the same addresses become one. */
struct import_site {
    struct import_site *next;
    struct slice addresses; /* "example.com, www.example.com" */
    struct import_text body;
};

struct import {
    struct arena arena;       /* everything that is read, and the sites */
    struct slice origin;      /* "nginx", for comments */
    struct import_text head;  /* comments before the first site */
    struct import_text options; /* global options */
    struct import_site *sites, **last_site;
    unsigned warnings;
    unsigned names; /* matchers made up so far */
};

/* Reads text into i. False and err when it is no such configuration at all (with line). */
typedef bool import_format(struct import *i, struct slice text, struct err *err);

import_format import_nginx;
import_format import_apache;
import_format import_traefik;
import_format import_pyserve;

/* name: of the original, for comments ("nginx"). Nothing is allocated yet. */
void import_init(struct import *i, struct slice name);
void import_fini(struct import *i);
/* The whole Caddyfile appended to out. */
void import_write(struct import *i, struct dstr *out);

/* The site with these addresses, made if there is none. NULL: memory. */
struct import_site *import_site_of(struct import *i, struct slice addresses);

/* ---- lines ------------------------------------------------------------------------------- */

void text_line(struct import_text *t, const char *fmt, ...) PRINTF(2, 3);
/* A line that opens a block, and the one that closes it. */
void text_open(struct import_text *t, const char *fmt, ...) PRINTF(2, 3);
void text_close(struct import_text *t);
/* A line of the original that is not needed: "# nginx:12: <line>: <why>". line 0: not known. */
void text_dropped(struct import *i, struct import_text *t, unsigned line, struct slice what,
                  const char *why);
/* A line of the original that could not be carried over. */
void text_warning(struct import *i, struct import_text *t, unsigned line, struct slice what,
                  const char *fmt, ...) PRINTF(5, 6);
/* value as one Caddyfile token: quoted where it must be. In i's arena. */
struct slice import_quoted(struct import *i, struct slice value);
/* The same for what is below a path: "/a*". */
struct slice import_below(struct import *i, struct slice path);
/* A matcher's name that was not used yet: "m1". In i's arena. */
struct slice import_name(struct import *i);

/* ---- values ------------------------------------------------------------------------------ */

/* The words of a line behind each other with single blanks. In i's arena. */
struct slice import_join(struct import *i, const struct slice *words, size_t count);
/* A path without the slash at its end. */
static inline struct slice import_without_slash(struct slice path)
{
    return slice_upto(path, path.n - slice_ends(path, S("/")));
}
/* Is it a certificate that certbot or another ACME client looks after? Then HTTPS is automatic. */
bool import_cert_is_automatic(struct slice path);
/* A field that reverse_proxy sets or removes by itself, whatever the original says. */
bool import_field_is_automatic(struct slice name);

#endif
