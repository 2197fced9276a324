/* Ctrl-C while a command works; see interrupt.h. */
#include "interrupt.h"

#include <string.h>

volatile sig_atomic_t interrupted;
static struct sigaction previous_action;

static void on_interrupt(int number)
{
    if (interrupted) {
        sigaction(number, &previous_action, NULL);
        raise(number);
    }
    interrupted = 1;
}

void interrupt_catch(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    sigemptyset(&action.sa_mask);
    interrupted = 0;
    if (sigaction(SIGINT, NULL, &previous_action) == 0 && previous_action.sa_handler != SIG_IGN)
        sigaction(SIGINT, &action, NULL);
}

void interrupt_release(void)
{
    if (previous_action.sa_handler != SIG_IGN)
        sigaction(SIGINT, &previous_action, NULL);
}
