/* Sets of ticket keys. See ticket_keys.h. */
#include "proxy/tls/ticket_keys.h"

#include "proxy/base/rand.h"

#define HEAD S("caddis ticket keys 1")
#define SECRET_BYTES ((size_t)80) /* name, aes and mac */
/* So far ahead of our clock another machine's may be. */
#define SKEW_MS ((int64_t)3600 * 1000)

void ticket_keys_wipe(struct ticket_keys *keys)
{
    explicit_bzero(keys, sizeof(*keys));
}

static bool from_the_future(const struct ticket_key *k, int64_t now_ms)
{
    return k->from_ms > now_ms + TICKET_KEY_SEALS_MS + SKEW_MS;
}

const struct ticket_key *ticket_keys_sealing(const struct ticket_keys *keys, int64_t now_ms)
{
    const struct ticket_key *best = NULL;
    for (size_t i = 0; i < keys->count; i++) {
        const struct ticket_key *k = &keys->items[i];
        if (k->from_ms <= now_ms && k->from_ms > now_ms - TICKET_KEY_SEALS_MS &&
            (!best || k->from_ms > best->from_ms)) {
            best = k;
        }
    }
    return best;
}

/* When the newest one ends; 0: there is none. */
static int64_t last_end_ms(const struct ticket_keys *keys, int64_t now_ms)
{
    int64_t end = 0;
    for (size_t i = 0; i < keys->count; i++) {
        const struct ticket_key *k = &keys->items[i];
        if (!from_the_future(k, now_ms) && k->from_ms + TICKET_KEY_SEALS_MS > end) {
            end = k->from_ms + TICKET_KEY_SEALS_MS;
        }
    }
    return end;
}

bool ticket_keys_due(const struct ticket_keys *keys, int64_t now_ms)
{
    return !ticket_keys_sealing(keys, now_ms) ||
           last_end_ms(keys, now_ms) <= now_ms + TICKET_KEY_AHEAD_MS;
}

static void drop(struct ticket_keys *keys, size_t i)
{
    keys->items[i] = keys->items[--keys->count];
    explicit_bzero(&keys->items[keys->count], sizeof(keys->items[0]));
}

static void drop_useless(struct ticket_keys *keys, int64_t now_ms)
{
    for (size_t i = keys->count; i-- > 0;) {
        const struct ticket_key *k = &keys->items[i];
        if (k->from_ms <= now_ms - TICKET_KEY_OPENS_MS || from_the_future(k, now_ms)) {
            drop(keys, i);
        }
    }
    if (keys->count == TICKET_KEYS_MAX) {
        size_t oldest = 0;
        for (size_t i = 1; i < keys->count; i++) {
            oldest = keys->items[i].from_ms < keys->items[oldest].from_ms ? i : oldest;
        }
        drop(keys, oldest);
    }
}

bool ticket_keys_renew(struct ticket_keys *keys, int64_t now_ms)
{
    struct ticket_key fresh;
    unsigned char secret[SECRET_BYTES];
    if (!rand_bytes(secret, sizeof(secret))) {
        return false;
    }
    drop_useless(keys, now_ms);
    int64_t end = ticket_keys_sealing(keys, now_ms) ? last_end_ms(keys, now_ms) : now_ms;
    fresh.from_ms = end > now_ms ? end : now_ms;
    memcpy(fresh.name, secret, sizeof(fresh.name));
    memcpy(fresh.aes, secret + sizeof(fresh.name), sizeof(fresh.aes));
    memcpy(fresh.mac, secret + sizeof(fresh.name) + sizeof(fresh.aes), sizeof(fresh.mac));
    keys->items[keys->count++] = fresh;
    explicit_bzero(secret, sizeof(secret));
    explicit_bzero(&fresh, sizeof(fresh));
    return true;
}

static void write_hex(struct dstr *out, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        dstr_byte(out, digits[bytes[i] >> 4]);
        dstr_byte(out, digits[bytes[i] & 15]);
    }
}

void ticket_keys_write(const struct ticket_keys *keys, struct dstr *out)
{
    dstr_append(out, HEAD);
    dstr_byte(out, '\n');
    for (size_t i = 0; i < keys->count; i++) {
        const struct ticket_key *k = &keys->items[i];
        dstr_printf(out, "%lld ", (long long)k->from_ms);
        write_hex(out, k->name, sizeof(k->name));
        write_hex(out, k->aes, sizeof(k->aes));
        write_hex(out, k->mac, sizeof(k->mac));
        dstr_byte(out, '\n');
    }
}

static bool read_hex(struct slice *from, unsigned char *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int high = ascii_hex_value(from->p[2 * i]), low = ascii_hex_value(from->p[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (unsigned char)(high * 16 + low);
    }
    *from = slice_from(*from, 2 * n);
    return true;
}

static bool parse_line(struct slice line, struct ticket_key *k)
{
    struct slice number;
    uint64_t ms;
    if (!slice_cut(&line, ' ', &number) || !slice_u64(number, INT64_MAX / 2, &ms) ||
        line.n != 2 * SECRET_BYTES) {
        return false;
    }
    k->from_ms = (int64_t)ms;
    return read_hex(&line, k->name, sizeof(k->name)) && read_hex(&line, k->aes, sizeof(k->aes)) &&
           read_hex(&line, k->mac, sizeof(k->mac));
}

bool ticket_keys_parse(struct slice text, struct ticket_keys *keys)
{
    struct slice line;
    ticket_keys_wipe(keys);
    bool ok = text.n <= TICKET_KEYS_TEXT_MAX && slice_ends(text, S("\n")) &&
              slice_cut(&text, '\n', &line) && slice_eq(line, HEAD);
    while (ok && text.n) {
        ok = slice_cut(&text, '\n', &line) && keys->count < TICKET_KEYS_MAX &&
             parse_line(line, &keys->items[keys->count]);
        keys->count += ok;
    }
    if (!ok) {
        ticket_keys_wipe(keys);
    }
    return ok;
}
