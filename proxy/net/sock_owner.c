/* Finds the process behind a listening TCP socket: /proc/net/tcp and tcp6 give the inode of the
 * socket, /proc/PID/fd says who holds that inode. What cannot be read is skipped. */
#include "proxy/net/sock_owner.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LISTEN_STATE "0A"
#define PATH_BYTES 300

static bool next_field(struct slice *rest, struct slice *field)
{
    while (rest->n && (rest->p[0] == ' ' || rest->p[0] == '\n')) {
        *rest = slice_from(*rest, 1);
    }
    size_t n = 0;
    while (n < rest->n && rest->p[n] != ' ' && rest->p[n] != '\n') {
        n++;
    }
    *field = slice_upto(*rest, n);
    *rest = slice_from(*rest, n);
    return n > 0;
}

static bool parse_hex(struct slice s, uint32_t *out)
{
    uint32_t v = 0;
    if (s.n == 0 || s.n > 8) {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        int digit = ascii_hex_value(s.p[i]);
        if (digit < 0) {
            return false;
        }
        v = v << 4 | (uint32_t)digit;
    }
    *out = v;
    return true;
}

/* "0100007F:1F90": each group of eight digits is a word of the address in memory order. */
static bool parse_local(struct slice text, struct addr *out)
{
    struct slice host;
    uint32_t port;
    uint32_t words[4] = {0};
    if (!slice_cut(&text, ':', &host) || !parse_hex(text, &port) || port > UINT16_MAX ||
        (host.n != 8 && host.n != 32)) {
        return false;
    }
    for (size_t i = 0; i < host.n / 8; i++) {
        if (!parse_hex(slice_of(host.p + 8 * i, 8), &words[i])) {
            return false;
        }
    }
    memset(out, 0, sizeof(*out));
    if (host.n == 8) {
        out->u.in.sin_family = AF_INET;
        out->u.in.sin_addr.s_addr = words[0];
        out->len = sizeof(out->u.in);
    } else {
        out->u.in6.sin6_family = AF_INET6;
        memcpy(&out->u.in6.sin6_addr, words, sizeof(words));
        out->len = sizeof(out->u.in6);
    }
    addr_set_port(out, (uint16_t)port);
    return true;
}

static bool is_any(const struct addr *a)
{
    return a->u.sa.sa_family == AF_INET ? a->u.in.sin_addr.s_addr == INADDR_ANY
                                        : IN6_IS_ADDR_UNSPECIFIED(&a->u.in6.sin6_addr);
}

/* Could a listener on have be the reason why wanted cannot be bound? */
static bool conflicts(const struct addr *wanted, const struct addr *have)
{
    if (addr_port(wanted) != addr_port(have)) {
        return false;
    }
    if (wanted->u.sa.sa_family == have->u.sa.sa_family) {
        return addr_eq(wanted, have) || is_any(wanted) || is_any(have);
    }
    /* A listener on [::] may have the IPv4 port too. */
    return have->u.sa.sa_family == AF_INET6 && is_any(have);
}

/* The inode of a listener that conflicts with a, from one of the two tables; 0 for none. */
static uint64_t find_inode(const char *table, const struct addr *a)
{
    FILE *f = fopen(table, "re");
    char line[512];
    uint64_t inode = 0;
    while (f && inode == 0 && fgets(line, sizeof(line), f)) {
        struct slice rest = slice_str(line);
        struct slice fields[10];
        size_t n = 0;
        while (n < ARRAY_LEN(fields) && next_field(&rest, &fields[n])) {
            n++;
        }
        struct addr have;
        if (n == ARRAY_LEN(fields) && slice_eq(fields[3], S(LISTEN_STATE)) &&
            parse_local(fields[1], &have) && conflicts(a, &have) &&
            !slice_u64(fields[9], UINT64_MAX, &inode)) {
            inode = 0;
        }
    }
    if (f) {
        (void)fclose(f);
    }
    return inode;
}

static bool holds_inode(const char *pid, uint64_t inode)
{
    char path[PATH_BYTES];
    char wanted[64];
    char target[64];
    (void)snprintf(wanted, sizeof(wanted), "socket:[%llu]", (unsigned long long)inode);
    (void)snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
    DIR *dir = opendir(path);
    bool found = false;
    const struct dirent *entry;
    while (dir && !found && (entry = readdir(dir)) != NULL) {
        ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target));
        found = n > 0 && slice_eq(slice_of(target, (size_t)n), slice_str(wanted));
    }
    if (dir) {
        (void)closedir(dir);
    }
    return found;
}

static void describe(const char *pid, char *out, size_t out_bytes)
{
    char path[PATH_BYTES];
    char name[64] = "a process";
    (void)snprintf(path, sizeof(path), "/proc/%.16s/comm", pid);
    FILE *f = fopen(path, "re");
    if (f) {
        if (fgets(name, sizeof(name), f)) {
            name[strcspn(name, "\n")] = '\0';
        }
        (void)fclose(f);
    }
    (void)snprintf(out, out_bytes, "%s (pid %.16s)", name, pid);
}

bool sock_owner(const struct addr *a, char *out, size_t out_bytes)
{
    if (a->len == 0 || addr_is_unix(a)) {
        return false;
    }
    uint64_t inode = find_inode("/proc/net/tcp", a);
    if (inode == 0) {
        inode = find_inode("/proc/net/tcp6", a);
    }
    DIR *dir = inode ? opendir("/proc") : NULL;
    bool found = false;
    const struct dirent *entry;
    while (dir && !found && (entry = readdir(dir)) != NULL) {
        uint64_t pid;
        if (slice_u64(slice_str(entry->d_name), INT32_MAX, &pid) &&
            holds_inode(entry->d_name, inode)) {
            describe(entry->d_name, out, out_bytes);
            found = true;
        }
    }
    if (dir) {
        (void)closedir(dir);
    }
    return found;
}
