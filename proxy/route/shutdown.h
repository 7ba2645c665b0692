/* That this process is about to end, for {http.shutting_down} and {http.time_until_shutdown}: an
 * app's health check or a load balancer in front may ask. One fact of the whole process. */
#ifndef ROUTE_SHUTDOWN_H
#define ROUTE_SHUTDOWN_H

#include <stdint.h>

/* From any thread: the process ends at about this time (monotonic ms, not 0). */
void shutdown_announce(int64_t at_mono_ms);

#endif
