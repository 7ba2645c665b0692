/* The leaking bucket; see h2_budget.h. */
#include "proxy/h2/h2_budget.h"

bool h2_budget_spend(struct h2_budget *b, int cost, int64_t now_ms)
{
    int64_t leak = (now_ms - b->leaked_ms) * H2_POINTS_PER_S / 1000;
    if (leak > 0) {
        b->leaked_ms = now_ms;
        b->points = b->points > leak ? b->points - leak : 0;
    }
    b->points += cost;
    return b->points > H2_POINTS_MAX;
}

void h2_budget_gain(struct h2_budget *b, int gain)
{
    b->points = b->points > gain ? b->points - gain : 0;
}
