/* See thread_executor.h. */
#include "support/thread_executor.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct state {
    attn_executor executor;
    uint64_t seed;
    atomic_uint_fast64_t launches;
};

struct launch {
    attn_task task;
    void *argument;
    int64_t count;
    const int64_t *order; /* NULL = by index */
    atomic_int_fast64_t next;
};

struct worker {
    struct launch *launch;
    int number;
    pthread_t thread;
};

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static int64_t *random_order(int64_t count, uint64_t seed)
{
    int64_t *order = malloc((size_t)count * sizeof *order);
    if (!order)
        return NULL;
    for (int64_t i = 0; i < count; i++) {
        int64_t j = (int64_t)(next_random(&seed) % (uint64_t)(i + 1));
        order[i] = order[j];
        order[j] = i;
    }
    return order;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct launch *launch = worker->launch;
    for (;;) {
        int64_t turn = atomic_fetch_add(&launch->next, 1);
        if (turn >= launch->count)
            return NULL;
        launch->task(launch->argument, launch->order ? launch->order[turn] : turn, worker->number);
    }
}

static int parallel_for(void *context, int64_t count, attn_task task, void *argument)
{
    struct state *state = context;
    int threads = state->executor.threads;
    struct launch launch = {.task = task, .argument = argument, .count = count};
    struct worker *workers = calloc((size_t)threads, sizeof *workers);
    int64_t *order = NULL;
    if (state->seed != 0)
        order = random_order(count, state->seed + atomic_fetch_add(&state->launches, 1));
    if (!workers || (state->seed != 0 && !order)) {
        free(workers);
        free(order);
        return 1;
    }
    launch.order = order;
    int started = 1;
    for (; started < threads; started++) {
        workers[started].launch = &launch;
        workers[started].number = started;
        if (pthread_create(&workers[started].thread, NULL, work, &workers[started]) != 0)
            break;
    }
    workers[0].launch = &launch;
    work(&workers[0]);
    for (int i = 1; i < started; i++)
        pthread_join(workers[i].thread, NULL);
    free(workers);
    free(order);
    return 0;
}

attn_executor *thread_executor_create(int threads, uint64_t seed)
{
    struct state *state = calloc(1, sizeof *state);
    if (!state)
        return NULL;
    state->seed = seed;
    state->executor.struct_size = sizeof state->executor;
    state->executor.context = state;
    state->executor.threads = threads;
    state->executor.parallel_for = parallel_for;
    return &state->executor;
}

void thread_executor_destroy(attn_executor *executor)
{
    if (executor)
        free(executor->context);
}
