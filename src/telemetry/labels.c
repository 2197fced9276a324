/* Labels: scores in, bits out. Each rule is one line of the table of attn_label_scores; comparisons with
 * NaN are false, which is how a score that was not measured never makes a label. */
#include "telemetry/rules.h"

#include "base/error.h"

#include <inttypes.h>
#include <math.h>

attn_status attn_label_rules_check(const attn_label_rules *rules, attn_error *error)
{
    if (!rules)
        return attn_fail(error, ATTN_ERR_NULL, "rules is NULL; attn_label_rules_init makes them");
    if (rules->struct_size != sizeof *rules)
        return attn_fail(error, ATTN_ERR_STRUCT_SIZE,
                         "rules.struct_size is %zu; this library knows %zu", rules->struct_size,
                         sizeof *rules);
    const struct {
        const char *name;
        int32_t value, least;
    } counts[] = {
        {"voting_keys", rules->voting_keys, 1},
        {"label_keys_low", rules->label_keys_low, 1},
        {"label_keys_high", rules->label_keys_high, 1},
        {"label_rows", rules->label_rows, 1},
        {"sink_viewers", rules->sink_viewers, 1},
    };
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        if (counts[i].value < counts[i].least)
            return attn_fail(error, ATTN_ERR_VALUE,
                             "rules.%s is %" PRId32 "; it may be %" PRId32 " or more",
                             counts[i].name, counts[i].value, counts[i].least);
    if (rules->label_keys_high <= rules->label_keys_low)
        return attn_fail(error, ATTN_ERR_VALUE,
                         "rules.label_keys_high is %" PRId32
                         "; it may be anything above label_keys_low, %" PRId32,
                         rules->label_keys_high, rules->label_keys_low);
    return attn_succeed(error);
}

attn_status attn_label_range(attn_key_range *range, const int32_t *visible_keys, int64_t rows,
                             const attn_label_rules *rules, attn_error *error)
{
    if (!range)
        return attn_fail(error, ATTN_ERR_NULL, "range is NULL");
    attn_status status = attn_label_rules_check(rules, error);
    if (status != ATTN_OK)
        return status;
    if (rows < 0)
        return attn_fail(error, ATTN_ERR_SHAPE, "rows is %" PRId64 "; it may be 0 or more", rows);
    if (!visible_keys && rows > 0)
        return attn_fail(error, ATTN_ERR_NULL, "visible_keys is NULL; it may be so without rows");
    int64_t inside = 0;
    for (int64_t r = 0; r < rows; r++)
        inside +=
            visible_keys[r] >= rules->label_keys_low && visible_keys[r] < rules->label_keys_high;
    if (inside >= rules->label_rows)
        *range = (attn_key_range){rules->label_keys_low, rules->label_keys_high};
    else
        *range = (attn_key_range){rules->voting_keys, INT32_MAX};
    return attn_succeed(error);
}

/* The bit if the rule holds, else 0. */
static uint32_t when(bool holds, uint32_t label)
{
    return holds ? label : 0;
}

uint32_t attn_head_labels(const attn_label_scores *scores, const attn_label_rules *rules)
{
    attn_label_rules usual = attn_label_rules_init();
    const attn_label_rules *r = rules ? rules : &usual;
    const attn_label_scores *s = scores;
    if (!s || s->struct_size != sizeof *s || r->struct_size != sizeof *r)
        return 0;
    double deficit = 1.0 - s->entropy_normalized; /* (ln n - H) / ln n */
    bool uniform = deficit < r->uniform_below;
    uint32_t labels = 0;
    labels |= when(s->contribution_norm_ratio < r->inactive_below, ATTN_LABEL_INACTIVE);
    labels |= when(s->sink > r->sink_above, ATTN_LABEL_SINK);
    labels |= when(s->causal && s->induction > r->induction_above, ATTN_LABEL_INDUCTION);
    labels |= when(s->duplicate > r->duplicate_above, ATTN_LABEL_DUPLICATE);
    labels |= when(s->previous > r->previous_above && s->previous_probe > r->previous_above,
                   ATTN_LABEL_PREVIOUS);
    labels |= when(s->self > r->self_above, ATTN_LABEL_SELF);
    labels |= when(s->next > r->next_above, ATTN_LABEL_NEXT);
    labels |= when(s->special > r->special_above, ATTN_LABEL_SPECIAL);
    labels |= when(uniform, ATTN_LABEL_UNIFORM);
    labels |= when(!uniform && deficit < r->broad_below, ATTN_LABEL_BROAD);
    labels |=
        when(s->entropy_normalized < r->peaked_below || s->max_weight > r->peaked_max_weight_above,
             ATTN_LABEL_PEAKED);
    return labels;
}

const char *attn_label_name(uint32_t label)
{
    static const char *const names[ATTN_LABELS] = {
        "inactive", "sink",    "induction", "duplicate", "previous", "self",
        "next",     "special", "uniform",   "broad",     "peaked",
    };
    for (int i = 0; i < ATTN_LABELS; i++)
        if (label == (uint32_t)1 << i)
            return names[i];
    return "unknown label";
}
