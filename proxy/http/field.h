/* Header and trailer fields (RFC 9110 section 5): an ordered list of name and value slices. Items
 * live in an arena and grow up to a maximum; the bytes live in received chunks or the arena. */
#ifndef HTTP_FIELD_H
#define HTTP_FIELD_H

#include "proxy/base/arena.h"

/* Fields that code asks for by name. X(enum suffix, lower-case name, flags). */
enum {
    FIELD_HOP = 1,        /* hop-by-hop: never forwarded (RFC 9110 section 7.6.1) */
    FIELD_NO_TRAILER = 2, /* framing, routing, authentication: dropped from trailers (6.5.1) */
};
#define HTTP_FIELD_TABLE(X)                                       \
    X(ACCEPT_ENCODING, "accept-encoding", 0)                      \
    X(ALT_SVC, "alt-svc", FIELD_HOP)                              \
    X(AUTHORIZATION, "authorization", FIELD_NO_TRAILER)           \
    X(CACHE_CONTROL, "cache-control", FIELD_NO_TRAILER)           \
    X(CONNECTION, "connection", FIELD_HOP | FIELD_NO_TRAILER)     \
    X(CONTENT_ENCODING, "content-encoding", FIELD_NO_TRAILER)     \
    X(CONTENT_LENGTH, "content-length", FIELD_NO_TRAILER)         \
    X(CONTENT_RANGE, "content-range", FIELD_NO_TRAILER)           \
    X(CONTENT_TYPE, "content-type", FIELD_NO_TRAILER)             \
    X(COOKIE, "cookie", FIELD_NO_TRAILER)                         \
    X(DATE, "date", 0)                                            \
    X(EXPECT, "expect", FIELD_NO_TRAILER)                         \
    X(FORWARDED, "forwarded", FIELD_NO_TRAILER)                   \
    X(HOST, "host", FIELD_NO_TRAILER)                             \
    X(KEEP_ALIVE, "keep-alive", FIELD_HOP | FIELD_NO_TRAILER)     \
    X(LOCATION, "location", FIELD_NO_TRAILER)                     \
    X(MAX_FORWARDS, "max-forwards", FIELD_NO_TRAILER)             \
    X(PROXY_AUTHENTICATE, "proxy-authenticate", FIELD_HOP | FIELD_NO_TRAILER)   \
    X(PROXY_AUTHORIZATION, "proxy-authorization", FIELD_HOP | FIELD_NO_TRAILER) \
    X(PROXY_CONNECTION, "proxy-connection", FIELD_HOP | FIELD_NO_TRAILER)       \
    X(RANGE, "range", FIELD_NO_TRAILER)                           \
    X(REFERER, "referer", 0)                                      \
    X(RETRY_AFTER, "retry-after", FIELD_NO_TRAILER)               \
    X(SERVER, "server", 0)                                        \
    X(SET_COOKIE, "set-cookie", FIELD_NO_TRAILER)                 \
    X(TE, "te", FIELD_HOP | FIELD_NO_TRAILER)                     \
    X(TRAILER, "trailer", FIELD_HOP | FIELD_NO_TRAILER)           \
    X(TRANSFER_ENCODING, "transfer-encoding", FIELD_HOP | FIELD_NO_TRAILER)     \
    X(UPGRADE, "upgrade", FIELD_HOP | FIELD_NO_TRAILER)           \
    X(USER_AGENT, "user-agent", 0)                                \
    X(VARY, "vary", FIELD_NO_TRAILER)                             \
    X(VIA, "via", 0)                                              \
    X(WWW_AUTHENTICATE, "www-authenticate", FIELD_NO_TRAILER)     \
    X(X_FORWARDED_FOR, "x-forwarded-for", FIELD_NO_TRAILER)       \
    X(X_FORWARDED_HOST, "x-forwarded-host", FIELD_NO_TRAILER)     \
    X(X_FORWARDED_PROTO, "x-forwarded-proto", FIELD_NO_TRAILER)

enum field_id {
    FIELD_OTHER = 0,
#define X(id, name, flags) FIELD_##id,
    HTTP_FIELD_TABLE(X)
#undef X
    FIELD_ID_COUNT
};

struct field {
    struct slice name; /* as received (any case) */
    struct slice value; /* without surrounding white space */
    enum field_id id;
    uint32_t line_bytes; /* of the received line "name: value\r\n" at name.p, which can be passed on
                            as it is while it is what this says (h1_write.c); 0: there is none */
};

struct fields {
    struct field *items;
    unsigned count;
    unsigned cap;
};

/* Peers may send this many (`max 128 fields`); our own additions go past it. */
#define FIELDS_FROM_PEER_MAX 128u
#define FIELDS_MAX 256u

/* The id of a name of any case; FIELD_OTHER if it is not in the table. Fast. */
enum field_id field_id(struct slice name);
unsigned field_flags(enum field_id id);

/* Appends; false past FIELDS_MAX or out of memory. Name and value are borrowed. */
NODISCARD bool fields_add(struct fields *f, struct arena *a, struct slice name, struct slice value);
/* Makes room for so many more, so that adding them does not move the list; false as above. */
NODISCARD bool fields_reserve(struct fields *f, struct arena *a, unsigned more);
NODISCARD static inline bool fields_add_id(struct fields *f, struct arena *a, enum field_id id,
                                           struct slice name, struct slice value)
{
    if (UNLIKELY(f->count >= f->cap) && !fields_reserve(f, a, 1)) {
        return false;
    }
    f->items[f->count++] = (struct field){name, value, id, 0};
    return true;
}
/* Makes `to` a list of its own with what `from` has. */
NODISCARD bool fields_copy(struct fields *to, struct arena *a, const struct fields *from);
/* Replaces all fields of that name by one (in place of the first, else at the end). */
NODISCARD bool fields_set(struct fields *f, struct arena *a, struct slice name, struct slice value);
/* Removes all of that name; how many there were. */
unsigned fields_remove(struct fields *f, struct slice name);
unsigned fields_remove_id(struct fields *f, enum field_id id);
/* The first of that name, or NULL. */
struct field *fields_find(const struct fields *f, struct slice name);
struct field *fields_find_id(const struct fields *f, enum field_id id);
/* Is the token in any field of that id, read as comma-separated lists? */
bool fields_have_token(const struct fields *f, enum field_id id, struct slice token);
/* Removes every hop-by-hop field and every field that a Connection field names (RFC 9110 section
 * 7.6.1), the framing fields included. */
void fields_strip_hop_by_hop(struct fields *f);
/* Removes what may not be in a trailer section. */
void fields_strip_trailers(struct fields *f);
/* The same for a client's trailers, which are no way past what is done to its fields: also names
 * with "_" (to many apps they look like others) and those that a Connection field of the request
 * names. */
void fields_strip_request_trailers(struct fields *trailers, const struct fields *request);
/* A token (RFC 9110 section 5.6.2)? */
bool field_name_valid(struct slice name);
/* No control bytes but tab, no CR, LF, NUL (section 5.5). */
bool field_value_valid(struct slice value);

#endif
