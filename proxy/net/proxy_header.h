/* The PROXY protocol (HAProxy's proxy-protocol.txt, versions 1 and 2): the header in front of a
 * connection that says whose connection it is. Pure functions over bytes, no I/O. */
#ifndef NET_PROXY_HEADER_H
#define NET_PROXY_HEADER_H

#include "proxy/net/addr.h"

/* Version 1: 107 bytes with the CRLF (section 2.1). Version 2 may say up to 65551; what anyone
 * sends is below 536 (section 2.2), or some 2 KB more with a client's certificate in a TLV. */
#define PROXY_HEADER_V1_MAX ((size_t)107)
#define PROXY_HEADER_MAX ((size_t)4096)

enum proxy_header_result {
    PROXY_HEADER_NONE, /* these bytes begin no header */
    PROXY_HEADER_MORE, /* what is there may become one: out->bytes are needed to tell more */
    PROXY_HEADER_OK,   /* complete: the first out->bytes bytes */
    PROXY_HEADER_BAD,  /* it begins as a header and is none; *why says what is wrong */
};

struct proxy_header {
    size_t bytes;
    /* Whose connection it is and where that one went. len 0: the header does not say (LOCAL,
     * UNKNOWN, UNSPEC, datagrams): the connection's own addresses hold. */
    struct addr source;
    struct addr destination;
};

/* Strict: what the specification calls invalid is BAD. TLVs are skipped. Without a byte the answer
 * is MORE. why is static text. */
enum proxy_header_result proxy_header_parse(struct slice in, struct proxy_header *out,
                                            const char **why);

/* A header of version 1 or 2 for a connection from source to destination: its length. IPv4 beside
 * IPv6 is sent as IPv4-mapped IPv6. Without two IP addresses (Unix, len 0) it is UNKNOWN in version
 * 1 and UNSPEC in version 2; NULL for both is for connections of our own (health checks): UNKNOWN
 * and LOCAL. */
size_t proxy_header_write(unsigned version, const struct addr *source,
                          const struct addr *destination, char out[PROXY_HEADER_V1_MAX + 1]);

#endif
