/* DNS messages (RFC 1035 section 4) as far as challenges need them: written, and read with
 * distrust. No I/O. Names are text, lower-case, without a dot at the end. */
#ifndef ACME_DNS_PARSE_H
#define ACME_DNS_PARSE_H

#include "proxy/base/dstr.h"

#define DNS_TEXT_BYTES 256 /* a name as text, with the NUL */
#define DNS_TEXT_MAX 2048
#define DNS_MESSAGE_MAX ((size_t)65535)

enum { DNS_A = 1, DNS_NS = 2, DNS_CNAME = 5, DNS_SOA = 6, DNS_TXT = 16, DNS_AAAA = 28,
       DNS_TSIG = 250, DNS_CAA = 257 };
enum { DNS_IN = 1, DNS_CLASS_NONE = 254, DNS_CLASS_ANY = 255 };
enum { DNS_NOERROR = 0, DNS_SERVFAIL = 2, DNS_NXDOMAIN = 3, DNS_REFUSED = 5, DNS_NOTAUTH = 9 };
enum dns_section { DNS_ANSWER, DNS_AUTHORITY, DNS_ADDITIONAL };

/* Numbers in network order, and a name as labels (false: it is none; nothing is appended). */
void dns_put_u16(struct dstr *out, unsigned value);
void dns_put_u32(struct dstr *out, uint32_t value);
NODISCARD bool dns_put_name(struct dstr *out, struct slice name);
/* A question. */
NODISCARD bool dns_put_question(struct dstr *out, unsigned id, struct slice name, unsigned type,
                                bool recursion);

struct dns_message {
    struct slice bytes;
    unsigned id, rcode;
    bool response, truncated;
    unsigned counts[3]; /* of records, by section */
    size_t at;          /* internal */
    unsigned section, left; /* internal */
};

struct dns_record {
    enum dns_section section;
    char name[DNS_TEXT_BYTES];
    unsigned type, class;
    uint32_t ttl;
    size_t start;      /* of the record in the message */
    struct slice data; /* in the message */
};

/* The header; false when it is none or its questions are malformed. */
NODISCARD bool dns_read(struct slice bytes, struct dns_message *m);
/* The next record; false at the end, or where the message is malformed. */
NODISCARD bool dns_next(struct dns_message *m, struct dns_record *r);
/* The name that a record's data is or begins with (CNAME, NS, SOA). */
NODISCARD bool dns_data_name(const struct dns_message *m, const struct dns_record *r,
                             char out[DNS_TEXT_BYTES]);
/* A TXT record's text, its strings joined, cut at DNS_TEXT_MAX bytes. */
struct slice dns_text(const struct dns_record *r, char out[DNS_TEXT_MAX]);
/* Is a TXT record's text, its strings joined, equal to value? */
bool dns_text_is(const struct dns_record *r, struct slice value);
/* A CAA record's data (RFC 8659 section 4.1); false when it is malformed. Slices of the message. */
struct dns_caa {
    bool critical;
    struct slice tag, value;
};
NODISCARD bool dns_caa(const struct dns_record *r, struct dns_caa *out);
/* Letters, digits, "-", "_" and dots between labels of 1 to 63: what challenges' names are made
 * of. A name from the DNS that is something else is not followed. */
bool dns_name_plain(struct slice name);

#endif
