/* An executor made of plain POSIX threads, for tests: nothing in it that ThreadSanitizer cannot see, and
 * an order of tasks that the test chooses. Threads are made and joined in every launch. */
#ifndef TESTS_SUPPORT_THREAD_EXECUTOR_H
#define TESTS_SUPPORT_THREAD_EXECUTOR_H

#include <attn/attn.h>

/* `threads` workers (>= 1), the calling thread being one of them. Order of the tasks: seed 0 = by index;
 * any other = a random permutation, another one in each launch. NULL without memory. */
attn_executor *thread_executor_create(int threads, uint64_t seed);
void thread_executor_destroy(attn_executor *executor);

#endif
