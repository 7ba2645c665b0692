/* Lines that differ; see diff.h. The longest common sequence, by the table that everybody uses; of
 * texts for which that table would be too large everything between the first and the last
 * difference counts as changed. */
#include "cmd/diff.h"

#include "proxy/base/mem.h"

#define TABLE_MAX ((size_t)4 << 20)

struct lines {
    struct slice *items;
    size_t count;
};

static struct lines split(struct slice text)
{
    struct lines l = {.count = 0};
    size_t cap = 0;
    struct slice line;
    while (text.n && slice_cut(&text, '\n', &line)) {
        if (l.count == cap) {
            cap = cap ? cap * 2 : 64;
            l.items = mem_realloc_array(l.items, cap, sizeof(*l.items));
        }
        l.items[l.count++] = line;
    }
    return l;
}

static void put(struct dstr *out, const char *mark, const struct slice *lines, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        dstr_printf(out, "%s%.*s\n", mark, SLICE_ARG(lines[i]));
    }
}

/* table[i * (m + 1) + j]: how many lines a[i..n) and b[j..m) have in common, in order. */
static unsigned *common(const struct slice *a, size_t n, const struct slice *b, size_t m)
{
    unsigned *table = mem_zalloc((n + 1) * (m + 1) * sizeof(*table));
    for (size_t i = n; i-- > 0;) {
        for (size_t j = m; j-- > 0;) {
            unsigned *at = &table[i * (m + 1) + j];
            unsigned down = table[(i + 1) * (m + 1) + j];
            unsigned right = table[i * (m + 1) + j + 1];
            *at = slice_eq(a[i], b[j]) ? table[(i + 1) * (m + 1) + j + 1] + 1
                  : down > right       ? down
                                       : right;
        }
    }
    return table;
}

static void diff_middle(const struct slice *a, size_t n, const struct slice *b, size_t m,
                        struct dstr *out)
{
    if (n == 0 || m == 0 || (n + 1) > TABLE_MAX / (m + 1)) {
        put(out, "- ", a, n);
        put(out, "+ ", b, m);
        return;
    }
    unsigned *table = common(a, n, b, m);
    size_t i = 0;
    size_t j = 0;
    while (i < n || j < m) {
        if (i < n && j < m && slice_eq(a[i], b[j])) {
            put(out, "  ", &a[i], 1);
            i++;
            j++;
        } else if (j == m ||
                   (i < n && table[(i + 1) * (m + 1) + j] >= table[i * (m + 1) + j + 1])) {
            put(out, "- ", &a[i++], 1);
        } else {
            put(out, "+ ", &b[j++], 1);
        }
    }
    free(table);
}

void diff_lines(struct slice text_a, struct slice text_b, struct dstr *out)
{
    struct lines a = split(text_a);
    struct lines b = split(text_b);
    size_t head = 0;
    size_t tail = 0;
    while (head < a.count && head < b.count && slice_eq(a.items[head], b.items[head])) {
        head++;
    }
    while (tail < a.count - head && tail < b.count - head &&
           slice_eq(a.items[a.count - 1 - tail], b.items[b.count - 1 - tail])) {
        tail++;
    }
    put(out, "  ", a.items, head);
    diff_middle(a.items + head, a.count - head - tail, b.items + head, b.count - head - tail, out);
    put(out, "  ", a.items + (a.count - tail), tail);
    free(a.items);
    free(b.items);
}
