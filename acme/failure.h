/* Why a step with a CA did not work, sorted by what follows from it. */
#ifndef ACME_FAILURE_H
#define ACME_FAILURE_H

#include "acme/problem.h"

enum failure_kind {
    FAILURE_NONE,
    FAILURE_STOPPED,     /* the program is ending */
    FAILURE_UNREACHABLE, /* no whole answer: the network, TLS, time-outs */
    FAILURE_CA,          /* an answer that says "later" or nothing sensible: 5xx, 429, junk */
    FAILURE_REFUSED,     /* a definite no to the account or the request: 4xx */
    FAILURE_ORDER,       /* the order or a validation failed; the order is dead */
    FAILURE_SLOW,        /* the order lives but did not get on in time */
    FAILURE_OWNER,       /* somebody has to do something first; nothing was asked of the CA */
    FAILURE_STORE        /* our own store does not take what must be kept */
};

struct failure {
    enum failure_kind kind;
    long status;            /* HTTP, 0: none */
    int64_t retry_after_ms; /* from now; -1: the CA named no time */
    struct problem problem; /* type empty: none */
    struct err err;         /* a sentence for a person */
};

#endif
