/* Any bytes as a tokenizer.json; what is accepted must encode. */
#include "tokenizer_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] = "[CLS] UnAffable caf\xC3\xA9 \xE4\xB8\xAD<x>!\x01\xFF a";
    struct tokenizer *t;
    struct failure f = {""};
    if (!tokenizer_from_json(&t, (struct text){(const char *)data, size}, &f)) {
        if (t || !f.message[0])
            abort();
        return 0;
    }
    encode_every_way(t, (struct text){text, sizeof text - 1}, false);
    tokenizer_free(t);
    return 0;
}
