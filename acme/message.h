/* The objects of RFC 8555 section 7.1 as a CA sends them, parsed with distrust: lists bounded,
 * every URL https, unknown things ignored, nothing assumed about order. Pure: bytes in, structs of
 * slices out, all memory in the caller's arena. */
#ifndef ACME_MESSAGE_H
#define ACME_MESSAGE_H

#include "acme/problem.h"
#include "proxy/base/arena.h"

#define MESSAGE_URL_MAX ((size_t)2048)
#define MESSAGE_AUTHZ_MAX 100
#define MESSAGE_CHALLENGES_MAX 20
#define MESSAGE_PROFILES_MAX 32
#define MESSAGE_CAA_MAX 16
#define MESSAGE_ALTERNATES_MAX 8

/* https://, no spaces or control bytes, not too long. */
bool message_url_ok(struct slice url);

struct directory {
    struct slice new_nonce, new_account, new_order;
    struct slice terms_of_service; /* or empty */
    struct slice caa_identities[MESSAGE_CAA_MAX]; /* meta.caaIdentities, if any */
    size_t caa_count;
    bool binding_required;         /* meta.externalAccountRequired */
    struct slice revoke_cert, key_change, renewal_info; /* or empty */
    struct slice profiles[MESSAGE_PROFILES_MAX];        /* names of those offered */
    size_t profile_count;
};

/* Does the CA offer the profile? */
bool directory_has_profile(const struct directory *d, struct slice profile);

enum message_status {
    STATUS_UNKNOWN, STATUS_PENDING, STATUS_READY, STATUS_PROCESSING, STATUS_VALID, STATUS_INVALID,
    STATUS_GONE /* deactivated, expired, revoked */
};

struct order_message {
    enum message_status status;
    struct slice authorizations[MESSAGE_AUTHZ_MAX];
    size_t authorization_count; /* may be 0: an order can be born ready */
    struct slice finalize;      /* always there */
    struct slice certificate;   /* or empty */
    struct problem error;       /* text empty: none */
};

struct challenge_message {
    struct slice type, url, token; /* token may be empty: not every type has one */
    enum message_status status;
    struct problem error;
};

struct authz_message {
    enum message_status status;
    struct slice identifier; /* its value */
    struct challenge_message challenges[MESSAGE_CHALLENGES_MAX];
    size_t challenge_count;
};

/* Renewal information (RFC 9773 section 4.2). */
struct renewal_message {
    int64_t start_ms, end_ms; /* wall clock; start < end */
    struct slice explanation_url; /* https, or empty */
};

NODISCARD bool message_directory(struct arena *a, struct slice body, struct directory *out,
                                 struct err *err);
NODISCARD bool message_order(struct arena *a, struct slice body, struct order_message *out,
                             struct err *err);
NODISCARD bool message_authz(struct arena *a, struct slice body, struct authz_message *out,
                             struct err *err);
NODISCARD bool message_renewal(struct arena *a, struct slice body, struct renewal_message *out,
                               struct err *err);
/* The https URLs with rel="alternate" in Link fields, one field a line (RFC 8288; RFC 8555 section
 * 7.4.2). Returns how many, at most MESSAGE_ALTERNATES_MAX. */
size_t message_alternates(struct arena *a, struct slice links,
                          struct slice out[MESSAGE_ALTERNATES_MAX]);
/* Is it a challenge object, as the answer to a challenge that was responded to must be? */
NODISCARD bool message_is_challenge(struct slice body, struct err *err);

#endif
