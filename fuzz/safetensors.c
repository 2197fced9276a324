/* Any bytes as a safetensors file: opening must refuse them or every tensor must lie inside. */
#include "files/safetensors.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_tensor(const struct safetensors *s, size_t index)
{
    enum { MOST = 1 << 14 };
    const struct file_tensor *t = safetensors_tensor_at(s, index), *same;
    struct failure f;
    if (!safetensors_has_tensor(s, t->name))
        abort();
    volatile unsigned char sum = 0;
    for (size_t i = 0; i < t->bytes; i++)
        sum = (unsigned char)(sum + ((const unsigned char *)t->data)[i]);
    if (!safetensors_get_tensor(s, t->name, &same, &f))
        return;
    if (same != t || (size_t)t->rows * t->row_bytes != t->bytes)
        abort();
    if (t->rows == 0 || t->dims[0] > MOST)
        return;
    float *row = malloc((size_t)t->dims[0] * sizeof(float));
    const char *last = (const char *)t->data + (size_t)(t->rows - 1) * t->row_bytes;
    if (row && (!dequantise_row(t->type, t->data, row, t->dims[0]) ||
                !dequantise_row(t->type, last, row, t->dims[0])))
        abort();
    free(row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct failure f = {""};
    struct safetensors *s;
    if (!safetensors_open_memory(&s, data, size, &f)) {
        if (s || !f.message[0])
            abort();
        return 0;
    }
    for (size_t i = 0; i < safetensors_tensor_count(s); i++)
        read_tensor(s, i);
    safetensors_close(s);
    return 0;
}
