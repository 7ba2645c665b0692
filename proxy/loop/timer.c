/* Timers: a min-heap by deadline whose keys may lag behind. Most timers are moved later again and
 * again (once a request) and hardly ever fire, so moving later only writes deadline_ms; when the
 * old key comes up the entry is put where it belongs. One libev timer is set to the heap's top. */
#include <stdlib.h>

#include "proxy/loop/loop_internal.h"

#define NOT_IN_HEAP SIZE_MAX
#define HEAP_FIRST_CAP 64
/* Far beyond any use; keeps the sums below from overflowing. */
#define DELAY_MAX_MS ((int64_t)1 << 50)

static void place(struct timer_heap *h, size_t i, struct timer_heap_entry e)
{
    h->entries[i] = e;
    e.timer->heap_index = i;
}

static void sift_up(struct timer_heap *h, size_t i, struct timer_heap_entry e)
{
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (h->entries[parent].key_ms <= e.key_ms) {
            break;
        }
        place(h, i, h->entries[parent]);
        i = parent;
    }
    place(h, i, e);
}

static void sift_down(struct timer_heap *h, size_t i, struct timer_heap_entry e)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->count) {
            break;
        }
        if (child + 1 < h->count && h->entries[child + 1].key_ms < h->entries[child].key_ms) {
            child++;
        }
        if (e.key_ms <= h->entries[child].key_ms) {
            break;
        }
        place(h, i, h->entries[child]);
        i = child;
    }
    place(h, i, e);
}

static bool heap_insert(struct timer_heap *h, struct timer *t)
{
    if (h->count == h->cap) {
        size_t cap = h->cap ? h->cap * 2 : HEAP_FIRST_CAP;
        struct timer_heap_entry *grown = realloc(h->entries, cap * sizeof(*grown));
        if (!grown) {
            return false;
        }
        h->entries = grown;
        h->cap = cap;
    }
    t->heap_key_ms = t->deadline_ms;
    h->count++;
    sift_up(h, h->count - 1, (struct timer_heap_entry){t->deadline_ms, t});
    return true;
}

static void heap_remove(struct timer_heap *h, struct timer *t)
{
    size_t i = t->heap_index;
    t->heap_index = NOT_IN_HEAP;
    h->count--;
    if (i == h->count) {
        return;
    }
    struct timer_heap_entry last = h->entries[h->count];
    if (i > 0 && h->entries[(i - 1) / 2].key_ms > last.key_ms) {
        sift_up(h, i, last);
    } else {
        sift_down(h, i, last);
    }
}

void timer_init(struct timer *t, struct loop *l, void (*fire)(struct timer *self))
{
    t->loop = l;
    t->fire = fire;
    t->deadline_ms = 0;
    t->heap_key_ms = 0;
    t->heap_index = NOT_IN_HEAP;
}

bool timer_set(struct timer *t, int64_t delay_ms)
{
    struct loop *l = t->loop;
    if (UNLIKELY(!l->running)) {
        loop_read_clocks(l); /* between turns nothing keeps them fresh */
    }
    delay_ms = delay_ms < 0 ? 0 : delay_ms > DELAY_MAX_MS ? DELAY_MAX_MS : delay_ms;
    /* now_ms is cut to whole milliseconds: one more, so that nothing fires early. */
    t->deadline_ms = l->now_ms + delay_ms + 1;
    if (t->heap_index == NOT_IN_HEAP) {
        if (!heap_insert(&l->heap, t)) {
            t->deadline_ms = 0;
            return false;
        }
    } else if (t->deadline_ms < t->heap_key_ms) {
        t->heap_key_ms = t->deadline_ms;
        sift_up(&l->heap, t->heap_index, (struct timer_heap_entry){t->deadline_ms, t});
    }
    return true;
}

void timer_clear(struct timer *t)
{
    t->deadline_ms = 0;
}

void timer_fini(struct timer *t)
{
    t->deadline_ms = 0;
    if (t->heap_index != NOT_IN_HEAP) {
        heap_remove(&t->loop->heap, t);
    }
}

void loop_timers_run(struct loop *l)
{
    struct timer_heap *h = &l->heap;
    while (h->count && h->entries[0].key_ms <= l->now_ms) {
        struct timer *t = h->entries[0].timer;
        if (t->deadline_ms > l->now_ms) {
            t->heap_key_ms = t->deadline_ms;
            sift_down(h, 0, (struct timer_heap_entry){t->deadline_ms, t});
            continue;
        }
        heap_remove(h, t);
        if (t->deadline_ms) {
            t->deadline_ms = 0;
            t->fire(t); /* t may be gone now */
        }
    }
}

void loop_timers_arm(struct loop *l)
{
    int64_t key_ms = l->heap.count ? l->heap.entries[0].key_ms : INT64_MAX;
    if (key_ms == l->alarm_key_ms) {
        return;
    }
    ev_timer_stop(l->ev, &l->alarm);
    l->alarm_key_ms = key_ms;
    if (key_ms != INT64_MAX) {
        int64_t wait_ms = key_ms > l->now_ms ? key_ms - l->now_ms : 0;
        ev_timer_set(&l->alarm, (double)wait_ms / 1e3, 0.);
        ev_timer_start(l->ev, &l->alarm);
    }
}

void loop_timers_free(struct loop *l)
{
    free(l->heap.entries);
}
