/* The commands that are no rooms of their own. */
#ifndef ATTN_TOOLS_COMMAND_H
#define ATTN_TOOLS_COMMAND_H

#include "base/command_line.h"

int command_info(int argc, const char **argv);
int command_bench(int argc, const char **argv);

#endif
