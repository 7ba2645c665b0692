/* systemd's notification protocol (sd_notify(3)) without its library: datagrams to $NOTIFY_SOCKET.
 */
#ifndef CMD_NOTIFY_H
#define CMD_NOTIFY_H

/* Sends e.g. "READY=1"; nothing happens when no one listens. */
void notify_send(const char *state);
/* RELOADING=1 with the time stamp that Type=notify-reload wants. */
void notify_reloading(void);

#endif
