/* Tensors of a GGUF file that no part of its architecture names. */
#include "source.h"

#include <stdio.h>
#include <string.h>

/* Whether `name`, of `bytes` bytes, is `pattern` with a layer below `layers` in place of %d. */
static bool matches(const char *pattern, const char *name, size_t bytes, int64_t layers)
{
    const char *gap = strstr(pattern, "%d");
    if (gap == NULL)
        return strlen(pattern) == bytes && memcmp(pattern, name, bytes) == 0;
    size_t before = (size_t)(gap - pattern), after = strlen(gap + 2), at = before;
    if (bytes <= before + after || memcmp(pattern, name, before) != 0)
        return false;
    int64_t layer = 0;
    for (; at < bytes - after; at++) {
        if (name[at] < '0' || name[at] > '9' || layer >= layers)
            return false;
        layer = layer * 10 + (name[at] - '0');
    }
    return layer < layers && memcmp(gap + 2, name + at, after) == 0;
}

static bool part_names(const struct part_name *part, const char *name, size_t bytes, bool bias,
                       int64_t layers)
{
    return part->gguf != NULL &&
           (!bias || (part->flags & (PART_HAS_BIAS | PART_MAY_HAVE_BIAS)) != 0) &&
           matches(part->gguf, name, bytes, layers);
}

static bool is_named(const struct architecture *a, const char *name, int64_t layers)
{
    const char *ending = strrchr(name, '.');
    bool bias = ending != NULL && strcmp(ending, ".bias") == 0;
    if (ending == NULL || (!bias && strcmp(ending, ".weight") != 0))
        return false;
    size_t bytes = (size_t)(ending - name);
    for (int p = 0; p < MODEL_PARTS; p++)
        if (part_names(&a->part[p], name, bytes, bias, layers))
            return true;
    for (int p = 0; p < LAYER_PARTS; p++)
        if (part_names(&a->layer_part[p], name, bytes, bias, layers))
            return true;
    return false;
}

bool source_check_names(const struct source *source, const struct architecture *architecture,
                        int64_t layers, struct failure *f)
{
    for (int64_t i = 0; source->gguf != NULL && i < source_tensor_count(source); i++) {
        const char *name = source_tensor_at(source, i)->name;
        char quoted[TEXT_QUOTED];
        if (!is_named(architecture, name, layers))
            return fail(f, "tensor %s is none that a %s model of %lld layers is known to have",
                        text_quote((struct text){name, strlen(name)}, quoted), architecture->name,
                        (long long)layers);
    }
    return true;
}
