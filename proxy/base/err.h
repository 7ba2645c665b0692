/* The error of a cold path: a sentence for a person, saying what was attempted, what happened and
 * where. Functions that take one return false (or NULL) exactly when they have set it. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "proxy/base/slice.h"

struct err {
    char text[2048]; /* cut, never overrun */
};

/* Sets the text; returns false, so that `return err_set(...)` reads well. err may be NULL. */
bool err_set(struct err *err, const char *fmt, ...) PRINTF(2, 3);
/* The same with ": " and strerror(errnum) behind it. */
bool err_errno(struct err *err, int errnum, const char *fmt, ...) PRINTF(3, 4);
/* Puts context in front: "renewing example.com: " + what was there. */
bool err_prefix(struct err *err, const char *fmt, ...) PRINTF(2, 3);

#endif
