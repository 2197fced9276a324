/* Any bytes as a GGUF file: opening must refuse them or everything handed out must lie inside. */
#include "files/gguf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Read every byte of a stretch, so that AddressSanitizer sees one that does not belong to us. */
static void touch(const void *data, size_t bytes)
{
    volatile unsigned char sum = 0;
    for (size_t i = 0; i < bytes; i++)
        sum = (unsigned char)(sum + ((const unsigned char *)data)[i]);
}

static void read_array(const struct gguf *g, const char *key)
{
    static const enum gguf_type wanted[] = {GGUF_STRING, GGUF_BOOL, GGUF_I64, GGUF_F64, GGUF_F32};
    for (size_t w = 0; w < sizeof wanted / sizeof wanted[0]; w++) {
        struct gguf_array a;
        if (!gguf_get_array(g, key, wanted[w], &a, NULL))
            continue;
        touch(a.data, a.bytes);
        if (a.type == GGUF_STRING) {
            size_t strings = 0, count = a.count;
            for (struct text t; gguf_next_string(&a, &t); strings++)
                touch(t.data, t.bytes);
            if (strings != count || a.bytes != 0)
                abort();
            continue;
        }
        volatile double sum = 0;
        for (size_t i = 0; i < a.count; i++) {
            sum = sum + gguf_array_number(&a, i);
            if (wanted[w] == GGUF_I64)
                sum = sum + (double)gguf_array_integer(&a, i);
        }
    }
}

static void read_key(const struct gguf *g, size_t index)
{
    char key[256], quoted[TEXT_QUOTED];
    enum gguf_type type, again;
    struct text name = gguf_key_at(g, index, &type);
    text_quote(name, quoted);
    if (name.bytes >= sizeof key || memchr(name.data, '\0', name.bytes))
        return;
    memcpy(key, name.data, name.bytes);
    key[name.bytes] = '\0';
    if (!gguf_has(g, key, &again) || again != type)
        abort();
    int64_t integer;
    double number;
    bool yes;
    struct text string;
    struct failure f;
    gguf_get_integer(g, key, -5, 1000000, &integer, &f);
    gguf_get_number(g, key, &number, &f);
    gguf_get_bool(g, key, &yes, &f);
    if (gguf_get_string(g, key, &string, &f))
        touch(string.data, string.bytes);
    read_array(g, key);
}

static void read_tensor(const struct gguf *g, size_t index)
{
    enum { MOST = 1 << 14 };
    const struct file_tensor *t = gguf_tensor_at(g, index), *same;
    struct failure f;
    if (!gguf_has_tensor(g, t->name))
        abort();
    if (!gguf_get_tensor(g, t->name, &same, &f))
        return;
    if (same != t || t->rows * t->dims[0] != t->values ||
        (size_t)t->rows * t->row_bytes != t->bytes)
        abort();
    touch(t->data, t->bytes);
    if (t->dims[0] > MOST)
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
    struct gguf *g;
    if (!gguf_open_memory(&g, data, size, &f)) {
        if (g || !f.message[0])
            abort();
        return 0;
    }
    for (size_t i = 0; i < gguf_key_count(g); i++)
        read_key(g, i);
    for (size_t i = 0; i < gguf_tensor_count(g); i++)
        read_tensor(g, i);
    gguf_close(g);
    return 0;
}
