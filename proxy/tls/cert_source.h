/* A certificate chain and its key as bytes, counted and immutable; decoded when first used.
 *
 * Thousands of names have one each: the leaf and the key take 1 to 3 KB, what follows the leaf is
 * kept once for all that have the same. Decoded ones (some 15 KB, half a millisecond) are kept for
 * the names that are asked for: at most CERT_DECODED_MAX, those used longest ago go. Any thread. */
#ifndef TLS_CERT_SOURCE_H
#define TLS_CERT_SOURCE_H

#include "proxy/base/err.h"

#define CERT_DECODED_MAX ((size_t)1000)

struct cert;
struct cert_source;

/* Chain (leaf first) and unencrypted key in PEM; they must belong together. NULL with the reason.
 * err may be NULL. */
struct cert_source *cert_source_new(struct slice chain_pem, struct slice key_pem, struct err *err);
struct cert_source *cert_source_ref(struct cert_source *s);
void cert_source_unref(struct cert_source *s); /* NULL is allowed */
bool cert_source_eq(const struct cert_source *a, const struct cert_source *b);

/* Is name (DNS, "*.x" or an IP text) among the leaf's subject alternative names? */
bool cert_source_covers(const struct cert_source *s, struct slice name);
/* Calls fn with each DNS name, in lower case, and each IP address as text. */
void cert_source_each_name(const struct cert_source *s, void (*fn)(void *ctx, struct slice name),
                           void *ctx);
/* Decoded, for the caller to cert_unref(). NULL: memory, or bytes that OpenSSL makes nothing of
 * (which the log hears of once). */
struct cert *cert_source_get(struct cert_source *s);
/* How many are decoded now; for tests. */
size_t cert_decoded_count(void);

#endif
