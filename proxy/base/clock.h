/* Time. Intervals and deadlines are int64_t milliseconds of the monotonic clock; dates (in
 * certificates, logs, HTTP) are int64_t milliseconds since 1970. Event loops cache both. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "proxy/base/slice.h"

int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
int64_t clock_wall_ms(void);

#define CLOCK_HTTP_DATE_BYTES 30
/* IMF-fixdate (RFC 9110 section 5.6.7), 29 bytes and a NUL. */
void clock_http_date(int64_t wall_ms, char out[CLOCK_HTTP_DATE_BYTES]);
/* "2026-11-21T09:46:43Z", 20 bytes and a NUL. */
#define CLOCK_RFC3339_BYTES 21
void clock_rfc3339(int64_t wall_ms, char out[CLOCK_RFC3339_BYTES]);
/* An HTTP-date in any of its three forms, in ms since 1970; false if it is none. */
NODISCARD bool clock_parse_http_date(struct slice s, int64_t *wall_ms);
/* RFC 3339 with any fraction and offset, in ms since 1970; false if it is none. */
NODISCARD bool clock_parse_rfc3339(struct slice s, int64_t *wall_ms);

#endif
