/* Any small vocabulary and any text, through WordPiece with any of its rules. */
#include "tokenizer_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct input in;
    read_input(&in, data, size);
    struct vocabulary v = vocabulary_default(TOKENIZER_WORDPIECE);
    v.count = in.count;
    v.tokens = in.tokens;
    v.types = in.types;
    v.unknown = 0;
    v.first = v.bos = in.switches & 1 ? 1 : -1;
    v.last = v.sep = in.switches & 2 ? 2 : -1;
    v.word_mark = in.switches & 4 ? WORD_MARK_BLOCK : WORD_MARK_HASHES;
    v.clean_text = !(in.switches & 8);
    v.isolate_cjk = !(in.switches & 16);
    v.strip_accents = !(in.switches & 32);
    v.lowercase = !(in.switches & 64);
    v.max_word = in.switches & 128 ? 5 : 100;
    struct tokenizer *t;
    struct failure f = {""};
    if (!tokenizer_create(&t, &v, &f)) {
        if (t || !f.message[0])
            abort();
        return 0;
    }
    encode_every_way(t, in.text, false);
    size_t bytes;
    free(encode_and_decode(t, in.text, &bytes));
    tokenizer_free(t);
    return 0;
}
