/* How much trouble a client may make: a leaking bucket of points, one for each connection.
 *
 * In: what the client did that costs us something and brings it nothing (a request that it reset, a
 * malformed one, a PING, an empty frame). Out: whether it is too much. Pure. An honest client that
 * cancels a page full of images stays far below; a flood is over after some hundred frames. */
#ifndef H2_BUDGET_H
#define H2_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

/* What the bucket holds, and how fast it leaks. */
#define H2_POINTS_MAX 1000
#define H2_POINTS_PER_S 100

/* DATA frames of less than this are crumbs. */
#define H2_CRUMB_BYTES 256

/* What things cost. A malformed frame or request is worse than a cancelled one: it makes us reset
 * the stream ourselves (CVE-2025-8671), and nobody does it by the hundred in good faith. */
enum {
    H2_COST_RESET = 5,    /* RST_STREAM for a request that was not answered yet */
    H2_COST_BAD = 20,     /* a stream error: we had to reset */
    H2_COST_CONTROL = 1,  /* PING, PRIORITY, an unknown frame, CONTINUATION */
    H2_COST_SETTINGS = 5, /* each is acknowledged and may touch every stream */
    H2_COST_EMPTY = 5,    /* DATA or CONTINUATION without content */
    H2_COST_DRIBBLE = 1,  /* a window so small that a frame carries next to nothing */
    H2_COST_REFUSED = 5,  /* a stream beyond the limit, a head that is too large */
    H2_GAIN_ANSWERED = 5, /* given back for each request that got its whole answer */
    H2_GAIN_CONTENT = 1,  /* for each DATA frame that was more than a crumb: gRPC's peers measure
                             the path with a PING for each round of content */
};

struct h2_budget {
    int64_t points;
    int64_t leaked_ms; /* until when the leak has been counted */
};

/* Adds cost at now_ms (monotonic). True: the bucket has run over. */
bool h2_budget_spend(struct h2_budget *b, int cost, int64_t now_ms);
void h2_budget_gain(struct h2_budget *b, int gain);

#endif
