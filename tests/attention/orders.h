/* Executors that run everything on the calling thread, in an order and with worker numbers that a lazy
 * program would trip over. */
#ifndef TESTS_ATTENTION_ORDERS_H
#define TESTS_ATTENTION_ORDERS_H

#include "attn/attn.h"

enum order { ORDER_FORWARD, ORDER_REVERSED, ORDER_RANDOM };

struct ordered_executor {
    attn_executor executor; /* what to hand over */
    enum order order;
    uint64_t seed;
    int64_t launches, tasks;
    int fail_at_launch; /* 1 = the first; 0 = never: that launch reports failure, running nothing */
};

/* In place: executor.context points to the structure itself. */
void ordered_executor_init(struct ordered_executor *self, enum order order, int threads,
                           uint64_t seed);

#endif
