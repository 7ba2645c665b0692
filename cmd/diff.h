/* What changed between two texts, line by line, for people. */
#ifndef CMD_DIFF_H
#define CMD_DIFF_H

#include "proxy/base/dstr.h"

/* All lines: "  " in front of those that stay, "- " of those of a only, "+ " of those of b only. */
void diff_lines(struct slice a, struct slice b, struct dstr *out);

#endif
