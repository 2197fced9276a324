/* The list of architectures. */
#include "architecture.h"

static const struct architecture *const architectures[] = {
    &architecture_bert,  &architecture_gemma3, &architecture_gpt2,
    &architecture_llama, &architecture_qwen2,  &architecture_qwen3};

const char *const passed_over_frequencies[] = {"layers.%d.self_attn.rotary_emb.inv_freq", NULL};

const struct architecture *architecture_find(struct text name)
{
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++)
        if (text_is(name, architectures[i]->name))
            return architectures[i];
    return NULL;
}

const char *architecture_list(void)
{
    return "bert, gemma3, gpt2, llama, qwen2, qwen3";
}
