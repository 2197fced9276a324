#!/usr/bin/env python3
"""Write small random models as transformers saves them, folder-<name>/, and what transformers says about them,
folder-<name>.json.

    make_folders.py      (needs the Python packages torch, transformers, tokenizers and safetensors)

The models are smaller than those of make_small.py, whose tokenizers, weights and facts these are made with. Each is
saved, in the type and words of its case, read again by transformers from the folder, and run in double precision.
"""
import json
import os
import shutil

import torch
from transformers import (AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM,
                          Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

import make_small

HERE = os.path.dirname(os.path.abspath(__file__))
VOCABULARY = make_small.VOCABULARY
WRITTEN, KINDS = 24, 6
SHAPE = {**make_small.SHAPE, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}


def llama3():
    return LlamaForCausalLM(LlamaConfig(**SHAPE, rms_norm_eps=1e-5, tie_word_embeddings=False, head_dim=6, rope_parameters={
        "rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64}))


def smollm2():
    return LlamaForCausalLM(LlamaConfig(**SHAPE, rms_norm_eps=1e-5, tie_word_embeddings=True, attention_bias=True,
                                        mlp_bias=True, rope_parameters={
                                            "rope_type": "linear", "rope_theta": 1e5, "factor": 3.0}))


def qwen2():
    return Qwen2ForCausalLM(Qwen2Config(**{**SHAPE, "vocab_size": VOCABULARY + 4}, rms_norm_eps=1e-6,
                                        tie_word_embeddings=True, use_sliding_window=True, sliding_window=24,
                                        max_window_layers=1,
                                        rope_parameters={"rope_type": "linear", "rope_theta": 1e6, "factor": 2.0}))


def qwen3():
    return Qwen3ForCausalLM(Qwen3Config(**SHAPE, rms_norm_eps=1e-6, tie_word_embeddings=False, head_dim=10,
                                        attention_bias=True,
                                        rope_parameters={"rope_type": "default", "rope_theta": 1e6}))


def gpt2():
    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=4, n_positions=256,
                                      bos_token_id=None, eos_token_id=VOCABULARY - 1, attn_implementation="eager"))


# maker, cut of words, type of tensors, how large a shard may be
CASES = {"llama3": (llama3, "llama-bpe", torch.float32, "16KB"), "smollm2": (smollm2, "smollm", torch.bfloat16, "1GB"),
         "qwen2": (qwen2, "qwen2", torch.float16, "1GB"), "qwen3": (qwen3, "qwen2", torch.bfloat16, "1GB"),
         "gpt2": (gpt2, "gpt-2", torch.float32, "1GB")}


def edit(path, change):
    with open(path) as file:
        data = json.load(file)
    change(data)
    with open(path, "w") as file:
        json.dump(data, file, ensure_ascii=False)
        file.write("\n")


def older_words(config):
    """As transformers wrote it before its version 5."""
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = None if rope["rope_type"] == "default" else {
        "type" if key == "rope_type" else key: value for key, value in rope.items()}


def begin_with_bos(tokenizer):
    """As Llama 3's: a token in front of every text, and normal ones that the model's own text may hold."""
    tokenizer["post_processor"] = {"type": "Sequence", "processors": [
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
        {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|end|>", "type_id": 0}},
                                                  {"Sequence": {"id": "A", "type_id": 0}}],
         "pair": [], "special_tokens": {"<|end|>": {"id": "<|end|>", "ids": [VOCABULARY - 1], "tokens": ["<|end|>"]}}}]}


def save(name, model, hf, dtype, shard):
    folder = os.path.join(HERE, "folder-" + name)
    shutil.rmtree(folder, ignore_errors=True)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    hf.save(os.path.join(folder, "tokenizer.json"), pretty=False)
    config, tokens = (os.path.join(folder, file) for file in ("config.json", "tokenizer.json"))
    edit(config, older_words if name in ("smollm2", "qwen3") else lambda data: None)
    edit(tokens, begin_with_bos if name == "llama3" else
         (lambda data: data["model"].pop("type")) if name == "gpt2" else lambda data: None)
    if name == "llama3":
        edit(os.path.join(folder, "generation_config.json"),
             lambda data: data.update(eos_token_id=[VOCABULARY - 1, 65]))
    else:
        os.remove(os.path.join(folder, "generation_config.json"))
    return folder


class Through:
    """The tokenizer of the folder, as make_small.golden asks for ids."""

    def __init__(self, folder):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    def encode(self, text):
        class Encoding:
            ids = self.tokenizer(text).input_ids
        return Encoding


def main():
    torch.set_num_threads(1)
    for seed, (name, (make, cut, dtype, shard)) in enumerate(CASES.items()):
        hf = make_small.tokenizer(cut)
        for attempt in range(200):  # until greedy tokens are various and none is near a tie
            folder = save(name, make_small.randomise(make(), 1000 * seed + attempt), hf, dtype, shard)
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
            try:
                facts = make_small.golden(model, Through(folder), WRITTEN, KINDS)
                break
            except AssertionError:
                assert attempt < 199, name
        with open(folder + ".json", "w") as out:
            json.dump(facts, out)
            out.write("\n")
        print(name, "attempt", attempt, "%d ids, gap %.3f, greedy of %d kinds" % (
            len(facts["ids"]), facts["gap"], len(set(facts["greedy"]))), sorted(os.listdir(folder)))


if __name__ == "__main__":
    main()
