/* The types of tensors: names and sizes of their blocks; see tensor_type.h. */
#include "tensor_type.h"

static const struct tensor_type_info readable[] = {
    {TENSOR_F32, "F32", 1, 4},       {TENSOR_F16, "F16", 1, 2},
    {TENSOR_Q4_0, "Q4_0", 32, 18},   {TENSOR_Q4_1, "Q4_1", 32, 20},
    {TENSOR_Q5_0, "Q5_0", 32, 22},   {TENSOR_Q5_1, "Q5_1", 32, 24},
    {TENSOR_Q8_0, "Q8_0", 32, 34},   {TENSOR_Q4_K, "Q4_K", 256, 144},
    {TENSOR_Q5_K, "Q5_K", 256, 176}, {TENSOR_Q6_K, "Q6_K", 256, 210},
    {TENSOR_BF16, "BF16", 1, 2},
};

/* Types of GGUF files that are not read, by id, so that a sentence can name them. */
static const char *const names[] = {
    [9] = "Q8_1",    [10] = "Q2_K",    [11] = "Q3_K",  [15] = "Q8_K",   [16] = "IQ2_XXS",
    [17] = "IQ2_XS", [18] = "IQ3_XXS", [19] = "IQ1_S", [20] = "IQ4_NL", [21] = "IQ3_S",
    [22] = "IQ2_S",  [23] = "IQ4_XS",  [24] = "I8",    [25] = "I16",    [26] = "I32",
    [27] = "I64",    [28] = "F64",     [29] = "IQ1_M", [34] = "TQ1_0",  [35] = "TQ2_0",
    [39] = "MXFP4",
};

const struct tensor_type_info *tensor_type_info(int64_t id)
{
    for (size_t i = 0; i < sizeof readable / sizeof readable[0]; i++)
        if (readable[i].type == id)
            return &readable[i];
    return NULL;
}

const char *tensor_type_name(int64_t id)
{
    const struct tensor_type_info *info = tensor_type_info(id);
    if (info)
        return info->name;
    if (id < 0 || id >= (int64_t)(sizeof names / sizeof names[0]))
        return NULL;
    return names[id];
}

int64_t tensor_row_bytes(enum tensor_type type, int64_t values)
{
    const struct tensor_type_info *info = tensor_type_info(type);
    int64_t bytes;
    if (!info || values < 0 || values % info->block_values != 0)
        return -1;
    if (__builtin_mul_overflow(values / info->block_values, (int64_t)info->block_bytes, &bytes))
        return -1;
    return bytes;
}
