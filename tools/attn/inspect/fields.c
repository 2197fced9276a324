/* The table of a head's plain figures; see fields.h. */
#include "fields.h"

#include <stddef.h>
#include <string.h>

#define WHOLE(name, member)                                                                        \
    {                                                                                              \
        name, true, -1, offsetof(struct inspected_head, member)                                    \
    }
#define FIGURE(name, member)                                                                       \
    {                                                                                              \
        name, false, -1, offsetof(struct inspected_head, member)                                   \
    }
#define METRIC(name, metric, member)                                                               \
    {                                                                                              \
        name, false, ATTN_METRIC_##metric, offsetof(attn_summary, member)                          \
    }

const struct field fields_before_sinks[] = {
    WHOLE("layer", layer),
    WHOLE("head", head),
    WHOLE("kv_head", kv_head),
    WHOLE("rows_used", summary.rows_used),
    WHOLE("rows_not_finite", rows_not_finite),
    METRIC("entropy_mean_all", ENTROPY, mean_all),
    METRIC("max_weight_mean_all", MAX_WEIGHT, mean_all),
    METRIC("entropy_mean", ENTROPY, mean),
    METRIC("entropy_sd", ENTROPY, sd),
    METRIC("entropy_min", ENTROPY, min),
    METRIC("entropy_max", ENTROPY, max),
    METRIC("entropy_normalized_mean", ENTROPY_NORMALIZED, mean),
    METRIC("entropy_normalized_p05", ENTROPY_NORMALIZED, p05),
    METRIC("entropy_normalized_p95", ENTROPY_NORMALIZED, p95),
    METRIC("entropy_deficit_mean", ENTROPY_DEFICIT, mean),
    METRIC("entropy_without_sinks_mean", ENTROPY_WITHOUT_SINKS, mean),
    METRIC("effective_keys_mean", EFFECTIVE_KEYS, mean),
    METRIC("participation_mean", PARTICIPATION, mean),
    METRIC("max_weight_mean", MAX_WEIGHT, mean),
    METRIC("max_logit", MAX_LOGIT, max_all),
    METRIC("max_abs_logit", MAX_ABS_LOGIT, max_all),
    METRIC("max_score", MAX_SCORE, max_all),
    METRIC("min_score", MIN_SCORE, min_all),
    METRIC("varentropy_mean", VARENTROPY, mean),
};
const int fields_before_sinks_count = sizeof fields_before_sinks / sizeof fields_before_sinks[0];

const struct field fields_after_sinks[] = {
    METRIC("first4_mass", MASS_FIRST, mean),      METRIC("mass_self", MASS_SELF, mean),
    METRIC("mass_previous", MASS_PREVIOUS, mean), METRIC("mass_next", MASS_NEXT, mean),
    METRIC("mass_local", MASS_LOCAL, mean),
};
const int fields_after_sinks_count = sizeof fields_after_sinks / sizeof fields_after_sinks[0];

const struct field fields_after_classes[] = {
    METRIC("distance_mean", DISTANCE_MEAN, mean),
    METRIC("distance_sd", DISTANCE_SD, mean),
    FIGURE("induction", induction.mean),
    FIGURE("induction_sd", induction.sd),
    FIGURE("duplicate", duplicate.mean),
    FIGURE("duplicate_sd", duplicate.sd),
    FIGURE("previous_probe", previous_probe.mean),
    FIGURE("previous_probe_sd", previous_probe.sd),
    FIGURE("contribution_norm", contribution_norm),
    FIGURE("contribution_norm_ratio", contribution_norm_ratio),
    FIGURE("special", scores.special),
};
const int fields_after_classes_count = sizeof fields_after_classes / sizeof fields_after_classes[0];

double field_value(const struct field *field, const struct inspected_head *head)
{
    const char *from =
        field->metric < 0 ? (const char *)head : (const char *)&head->summary.metric[field->metric];
    if (field->whole) {
        int64_t value;
        memcpy(&value, from + field->offset, sizeof value);
        return (double)value;
    }
    double value;
    memcpy(&value, from + field->offset, sizeof value);
    return value;
}
