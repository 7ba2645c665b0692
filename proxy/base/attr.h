/* Compiler attributes and the always-on assertion, under the names the rest of the tree uses. */
#ifndef BASE_ATTR_H
#define BASE_ATTR_H

#include <stddef.h>

#define NODISCARD __attribute__((warn_unused_result))
#define PRINTF(fmt_index, first_arg) __attribute__((format(printf, fmt_index, first_arg)))
#define NORETURN __attribute__((noreturn))
#define UNUSED __attribute__((unused))
#define COLD __attribute__((cold))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define container_of(ptr, type, member) \
    ((type *)(void *)((char *)(ptr) - offsetof(type, member)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Checks for our own mistakes, in every build. Input from outside must never reach one. */
#define must(expr)                                        \
    do {                                                  \
        if (UNLIKELY(!(expr))) {                          \
            must_failed(#expr, __FILE__, __LINE__);       \
        }                                                 \
    } while (0)

NORETURN COLD void must_failed(const char *expr, const char *file, int line);

#endif
