/* What the machine allows this process. */
#ifndef CMD_MACHINE_H
#define CMD_MACHINE_H

/* Processors this process may run on, 1 to 1024. */
unsigned machine_cores(void);
/* Raises the limit of open descriptors as far as it goes. */
void machine_raise_descriptors(void);

#endif
