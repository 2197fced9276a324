/* attn_run and attn_forward: check everything, carve the workspace, go. */
#include <attn/attn.h>
#include <stdlib.h>

#include "attention/run.h"
#include "base/error.h"
#include "exec/exec.h"

attn_status attn_run(const attn_plan *plan, const attn_args *args, void *workspace,
                     size_t workspace_size, const attn_executor *executor, attn_error *error)
{
    if (!plan)
        return attn_fail(error, ATTN_ERR_NULL, "plan is NULL; it must come from attn_plan_create");
    attn_status status = attn_executor_check(executor, error);
    if (!status)
        status = attn_args_check(plan, args, error);
    if (status)
        return status;

    struct attn_run_state run = {.plan = plan, .args = args};
    int threads = attn_executor_threads(executor);
    struct attn_arena arena = attn_arena_over(workspace, workspace_size);
    attn_workspace_carve(&run.workspace, &arena, plan, threads);
    size_t needed = attn_plan_workspace(plan, threads);
    if (workspace_size < needed || attn_arena_failed(&arena))
        return attn_fail(error, ATTN_ERR_WORKSPACE,
                         "workspace is %p of %zu bytes; this plan needs %zu bytes for %d threads",
                         workspace, workspace_size, needed, threads);
    status = attn_run_forward(&run, executor, error);
    return status ? status : attn_succeed(error);
}

attn_status attn_forward(const attn_problem *problem, const attn_args *args,
                         const attn_executor *executor, attn_error *error)
{
    attn_status status = attn_executor_check(executor, error);
    if (status)
        return status;
    attn_plan *plan;
    status = attn_plan_create(&plan, problem, error);
    if (status)
        return status;
    size_t size = attn_plan_workspace(plan, attn_executor_threads(executor));
    void *workspace = malloc(size > 0 ? size : 1);
    if (workspace)
        status = attn_run(plan, args, workspace, size, executor, error);
    else
        status = attn_fail(error, ATTN_ERR_MEMORY, "no memory for a workspace of %zu bytes", size);
    free(workspace);
    attn_plan_destroy(plan);
    return status;
}
