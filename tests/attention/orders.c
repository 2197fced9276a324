/* One thread, any order: see orders.h. */
#include "attention/orders.h"

#include "attention/random.h"

#include <stdlib.h>

static int run_in_order(void *context, int64_t count, attn_task task, void *argument)
{
    struct ordered_executor *self = context;
    struct random random = {self->seed++};
    if (++self->launches == self->fail_at_launch)
        return 1;
    int64_t *index = malloc((size_t)(count > 0 ? count : 1) * sizeof *index);
    if (!index)
        return 1;
    for (int64_t i = 0; i < count; i++)
        index[i] = self->order == ORDER_REVERSED ? count - 1 - i : i;
    for (int64_t i = count - 1; i > 0 && self->order == ORDER_RANDOM; i--) {
        int64_t j = random_between(&random, 0, i), swap = index[i];
        index[i] = index[j];
        index[j] = swap;
    }
    for (int64_t i = 0; i < count; i++)
        task(argument, index[i], (int)random_between(&random, 0, self->executor.threads - 1));
    self->tasks += count;
    free(index);
    return 0;
}

void ordered_executor_init(struct ordered_executor *self, enum order order, int threads,
                           uint64_t seed)
{
    memset(self, 0, sizeof *self);
    self->executor.struct_size = sizeof self->executor;
    self->executor.context = self;
    self->executor.threads = threads;
    self->executor.parallel_for = run_in_order;
    self->order = order;
    self->seed = seed;
}
