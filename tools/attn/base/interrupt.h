/* Ctrl-C while a command works: the first one is noted, so that the work can stop and clean up; a
 * second one does what it did before. */
#ifndef ATTN_TOOLS_INTERRUPT_H
#define ATTN_TOOLS_INTERRUPT_H

#include <signal.h>

/* From here on the first SIGINT sets the flag (unless SIGINT is ignored in this process). */
void interrupt_catch(void);

/* SIGINT does again what it did before interrupt_catch; the flag keeps its value. */
void interrupt_release(void);

/* Not 0 after a SIGINT; for loops to look at. */
extern volatile sig_atomic_t interrupted;

#endif
