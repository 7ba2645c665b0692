/* The keys that session tickets are sealed with, as a set that machines share: which of them seals,
 * when the next one is due, and how they are written down. No clock, no store, no locks here. */
#ifndef TLS_TICKET_KEYS_H
#define TLS_TICKET_KEYS_H

#include "proxy/base/dstr.h"

/* A key seals for 12 hours from its from_ms on, and opens for another 24. */
#define TICKET_KEY_SEALS_MS ((int64_t)12 * 3600 * 1000)
#define TICKET_KEY_OPENS_MS (3 * TICKET_KEY_SEALS_MS)
/* The next one is made so long before it seals, so that every machine knows it by then. */
#define TICKET_KEY_AHEAD_MS ((int64_t)10 * 60 * 1000)

#define TICKET_KEYS_MAX ((size_t)8)
/* What they take when they are written down, at most. */
#define TICKET_KEYS_TEXT_MAX ((size_t)4096)

struct ticket_key {
    unsigned char name[16]; /* tells keys apart, sent in the clear */
    unsigned char aes[32];
    unsigned char mac[32];
    int64_t from_ms; /* since 1970 */
};

struct ticket_keys {
    struct ticket_key items[TICKET_KEYS_MAX]; /* secret: wiped by ticket_keys_wipe */
    size_t count;
};

void ticket_keys_wipe(struct ticket_keys *keys);
/* The one that seals at now_ms: the newest that has begun and has not ended. NULL: none. */
const struct ticket_key *ticket_keys_sealing(const struct ticket_keys *keys, int64_t now_ms);
/* Is a new one to be made now? */
bool ticket_keys_due(const struct ticket_keys *keys, int64_t now_ms);
/* Makes the next one: from when the newest one ends, or from now. Those too old to open anything,
 * and those from a clock that ran far ahead, go. False when there is no randomness. */
NODISCARD bool ticket_keys_renew(struct ticket_keys *keys, int64_t now_ms);
/* Text: a line each. */
void ticket_keys_write(const struct ticket_keys *keys, struct dstr *out);
/* False: this is nothing that ticket_keys_write wrote; keys is then empty. */
NODISCARD bool ticket_keys_parse(struct slice text, struct ticket_keys *keys);

#endif
