/* Tensors that no part of an architecture names. */
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
        bool padded = at > before && name[before] == '0';
        if (name[at] < '0' || name[at] > '9' || layer >= layers || padded)
            return false;
        layer = layer * 10 + (name[at] - '0');
    }
    return layer < layers && memcmp(gap + 2, name + at, after) == 0;
}

/* A kind of file, and how it names things. */
struct naming {
    const struct architecture *architecture;
    bool gguf;
    int64_t layers;
};

static bool part_names(const struct naming *n, const struct part_name *part, const char *name,
                       size_t bytes, bool bias)
{
    const char *pattern = n->gguf ? part->gguf : part->safetensors;
    return pattern != NULL &&
           (!bias || (part->flags & (PART_HAS_BIAS | PART_MAY_HAVE_BIAS)) != 0) &&
           matches(pattern, name, bytes, n->layers);
}

static bool is_part(const struct naming *n, const char *name)
{
    const char *ending = strrchr(name, '.');
    bool bias = ending != NULL && strcmp(ending, ".bias") == 0;
    if (ending == NULL || (!bias && strcmp(ending, ".weight") != 0))
        return false;
    size_t bytes = (size_t)(ending - name);
    for (int p = 0; p < MODEL_PARTS; p++)
        if (part_names(n, &n->architecture->part[p], name, bytes, bias))
            return true;
    for (int p = 0; p < LAYER_PARTS; p++)
        if (part_names(n, &n->architecture->layer_part[p], name, bytes, bias))
            return true;
    return false;
}

static bool is_known(const struct naming *n, const char *name)
{
    if (is_part(n, name))
        return true;
    const char *const *other = n->gguf ? NULL : n->architecture->passed_over;
    for (; other != NULL && *other != NULL; other++)
        if (matches(*other, name, strlen(name), n->layers))
            return true;
    return false;
}

bool source_check_names(const struct source *source, const struct architecture *architecture,
                        int64_t layers, struct failure *f)
{
    struct naming naming = {architecture, source->gguf != NULL, layers};
    if (!naming.gguf && architecture->passed_over == NULL)
        return true;
    const char *prefix = naming.gguf ? "" : architecture->safetensors_prefix;
    for (int64_t i = 0; i < source_tensor_count(source); i++) {
        const char *name = source_tensor_at(source, i)->name;
        bool prefixed = strncmp(name, prefix, strlen(prefix)) == 0;
        char quoted[TEXT_QUOTED];
        if (!is_known(&naming, name) && !(prefixed && is_known(&naming, name + strlen(prefix))))
            return fail(f, "tensor %s is none that a %s model of %lld layers is known to have",
                        text_quote((struct text){name, strlen(name)}, quoted), architecture->name,
                        (long long)layers);
    }
    return true;
}
