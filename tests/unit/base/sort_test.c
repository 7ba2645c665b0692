/* The stable sort: sorted, stable, on every length around the block's, and not quadratic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/base/mem.h"
#include "proxy/base/sort.h"

struct item {
    unsigned key;
    unsigned position;
};

static unsigned long compared;

static bool less(const void *a, const void *b)
{
    compared++;
    return ((const struct item *)a)->key < ((const struct item *)b)->key;
}

static void check(size_t count, unsigned keys)
{
    struct item *items = mem_zalloc((count + 1) * sizeof(*items));
    unsigned x = 12345;
    for (size_t i = 0; i < count; i++) {
        x = x * 1103515245u + 12345u;
        items[i] = (struct item){(x >> 16) % keys, (unsigned)i};
    }
    stable_sort(items, count, sizeof(*items), less);
    for (size_t i = 1; i < count; i++) {
        assert_true(items[i - 1].key < items[i].key ||
                    (items[i - 1].key == items[i].key &&
                     items[i - 1].position < items[i].position));
    }
    free(items);
}

static void test_sorted_and_stable(void **state)
{
    (void)state;
    for (size_t count = 0; count < 200; count++) {
        check(count, 1000);
        check(count, 5);
    }
    compared = 0;
    check(100000, 1000000);
    assert_true(compared < 100000ul * 60);
}

/* Items that tell nothing about one another stay where they are. */
static bool odd_less(const void *a, const void *b)
{
    unsigned x = ((const struct item *)a)->key;
    unsigned y = ((const struct item *)b)->key;
    return x && y && x < y;
}

static void test_no_order(void **state)
{
    (void)state;
    struct item items[] = {{3, 0}, {0, 1}, {1, 2}, {2, 3}};
    stable_sort(items, 4, sizeof(items[0]), odd_less);
    assert_int_equal(items[0].key, 3); /* 0 in between keeps 1 and 2 from passing it */
    assert_int_equal(items[2].key, 1);
    assert_int_equal(items[3].key, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sorted_and_stable),
        cmocka_unit_test(test_no_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
