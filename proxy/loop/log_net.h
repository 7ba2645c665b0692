/* Log lines to another machine: the socket that they go into. Never waits: connecting is begun and
 * looked after later. */
#ifndef LOOP_LOG_NET_H
#define LOOP_LOG_NET_H

#include "proxy/base/err.h"

struct log_net; /* where to */

/* address: "host:port", "tcp/host:port", "udp/host:port", "unix//path". Looks the host up, which
 * may take a while. NULL with the reason. */
struct log_net *log_net_new(struct slice address, struct err *err);
void log_net_free(struct log_net *n);
/* Is each write a message of its own? */
bool log_net_datagrams(const struct log_net *n);
/* A non-blocking socket that is connected or on its way there; -1: refused at once (errno). */
int log_net_dial(const struct log_net *n);
/* Connects within timeout_ms, to see whether anybody is there. False with the reason. */
NODISCARD bool log_net_try(const struct log_net *n, int64_t timeout_ms, struct err *err);

#endif
