/* Errors as sentences; see err.h. */
#include "proxy/base/err.h"

#include <stdarg.h>
#include <stdio.h>

bool err_set(struct err *err, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(err->text, sizeof(err->text), fmt, ap);
        va_end(ap);
    }
    return false;
}

static void append(struct err *err, struct slice s)
{
    size_t have = strlen(err->text);
    size_t room = sizeof(err->text) - 1 - have;
    s = slice_upto(s, room);
    memcpy(err->text + have, s.p, s.n);
    err->text[have + s.n] = '\0';
}

bool err_errno(struct err *err, int errnum, const char *fmt, ...)
{
    if (err) {
        char buf[128];
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(err->text, sizeof(err->text), fmt, ap);
        va_end(ap);
        append(err, S(": "));
        append(err, slice_str(strerror_r(errnum, buf, sizeof(buf))));
    }
    return false;
}

bool err_prefix(struct err *err, const char *fmt, ...)
{
    if (err) {
        char rest[sizeof(err->text)];
        memcpy(rest, err->text, sizeof(rest));
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(err->text, sizeof(err->text), fmt, ap);
        va_end(ap);
        append(err, slice_str(rest));
    }
    return false;
}
