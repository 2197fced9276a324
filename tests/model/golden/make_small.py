#!/usr/bin/env python3
"""Write small random models, small-<name>.gguf, and what transformers says about them, small-<name>.json.

    make_small.py        (needs the Python packages torch, transformers, tokenizers and gguf)

Each model is made by transformers, run by it in double precision, and converted here to a GGUF file as
llama.cpp's converter would write it: the rows of a Llama's q and k reordered so that neighbours turn together, GPT-2's
weights transposed, Llama 3's scaling as rope_freqs.weight. Weights are large enough that attention is far from uniform
and greedy tokens are far from ties. The vocabulary is a byte-level BPE of 300 tokens, trained here.

The JSON file has the prompt and its ids, logits after some of them (positions), -ln p of every next token (nll), the
greedy continuation, the least difference of the two best logits on its way (gap), and the logits at its end.
"""
import json
import math
import os

import gguf
import numpy
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM,
                          Qwen3Config, Qwen3ForCausalLM)

HERE = os.path.dirname(os.path.abspath(__file__))
VOCABULARY, WRITTEN = 300, 48
TEXT = """The sea was calm that morning, and the three boats lay side by side in the harbour. "We leave at 6:45," said
the captain; nobody answered. Two of the men had been out all night, and the third one was counting the nets: 1, 2, 3,
up to 27. It wasn't the first time. Être libre, c'est naître égal. Заря.

"""
PROMPT = TEXT.replace("\n", " ")[:230] + "\n  Naïve? 12345 свет"

LLAMA = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
         r"\s+(?!\S)|\s+")


def tokenizer(cut):
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=cut in ("gpt-2", "smollm"))
    first = {"gpt-2": [], "smollm": [pre_tokenizers.Digits(individual_digits=True)],
             "llama-bpe": [pre_tokenizers.Split(Regex(LLAMA % "{1,3}"), "isolated")],
             "qwen2": [pre_tokenizers.Split(Regex(LLAMA % ""), "isolated")]}[cut]
    hf = Tokenizer(models.BPE(ignore_merges=cut == "llama-bpe"))
    hf.pre_tokenizer = pre_tokenizers.Sequence(first + [byte_level])
    hf.decoder = decoders.ByteLevel()
    hf.train_from_iterator([TEXT] * 2, trainers.BpeTrainer(
        vocab_size=VOCABULARY - 1, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    hf.add_special_tokens(["<|end|>"])
    assert hf.get_vocab_size() == VOCABULARY
    return hf


SHAPE = {"vocab_size": VOCABULARY, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "bos_token_id": None,
         "eos_token_id": VOCABULARY - 1, "attn_implementation": "eager"}


def llama3():
    return LlamaForCausalLM(LlamaConfig(**SHAPE, rms_norm_eps=1e-5, tie_word_embeddings=False, rope_parameters={
        "rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64}))


def smollm2():
    return LlamaForCausalLM(LlamaConfig(**SHAPE, rms_norm_eps=1e-5, tie_word_embeddings=True, attention_bias=True,
                                        rope_parameters={"rope_type": "default", "rope_theta": 1e5}))


def qwen2():
    return Qwen2ForCausalLM(Qwen2Config(**SHAPE, rms_norm_eps=1e-6, tie_word_embeddings=True,
                                        rope_parameters={"rope_type": "default", "rope_theta": 1e6}))


def qwen3():
    return Qwen3ForCausalLM(Qwen3Config(**SHAPE, rms_norm_eps=1e-6, tie_word_embeddings=False, head_dim=10,
                                        rope_parameters={"rope_type": "default", "rope_theta": 1e6}))


def gpt2():
    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_embd=24, n_layer=3, n_head=4, n_inner=40, n_positions=256,
                                      bos_token_id=None, eos_token_id=VOCABULARY - 1, attn_implementation="eager"))


CASES = {"llama3": (llama3, "llama", "llama-bpe"), "smollm2": (smollm2, "llama", "smollm"),
         "qwen2": (qwen2, "qwen2", "qwen2"), "qwen3": (qwen3, "qwen3", "qwen2"), "gpt2": (gpt2, "gpt2", "gpt-2")}


def randomise(model, seed):
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=random)
            if p.dim() == 1:
                p.copy_(0.3 * noise + (1.0 if "norm" in name or "ln_" in name and name.endswith("weight") else 0.0))
            elif "embed" in name or "wte" in name:
                p.copy_(0.2 * noise)
            elif "wpe" in name:
                p.copy_(0.7 * noise)
            else:
                p.copy_(noise * (1.2 / math.sqrt(24)))
    return model.eval()


# ---- conversion ----

def pairs(weight, heads):
    """Rows of each head from halves (i, i + n/2) to neighbours (2i, 2i + 1)."""
    shape = weight.shape
    return weight.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


LAYER = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
         "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "ln_1": "attn_norm", "attn.c_attn": "attn_qkv",
         "attn.c_proj": "attn_output", "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
         "transformer.wte": "token_embd", "transformer.wpe": "position_embd", "transformer.ln_f": "output_norm"}


def tensors(model, kind, config):
    """(name in GGUF, values) of every parameter."""
    for name, p in model.named_parameters():
        values = p.detach().numpy().astype(numpy.float32)
        name, ending = name.rsplit(".", 1)
        if name in WHOLE:
            yield WHOLE[name] + "." + ending, values
            continue
        layer, name = name.split(".", 3)[2:]
        if kind == "gpt2" and values.ndim == 2:
            values = values.T
        if kind == "llama" and name == "self_attn.q_proj":
            values = pairs(values, config.num_attention_heads)
        if kind == "llama" and name == "self_attn.k_proj":
            values = pairs(values, config.num_key_value_heads)
        yield "blk.%s.%s.%s" % (layer, LAYER[name], ending), values


def divisors(config, size):
    """What Llama 3's scaling divides each frequency by (rope_freqs.weight)."""
    rope = config.rope_parameters
    for i in range(size // 2):
        turns = rope["original_max_position_embeddings"] * rope["rope_theta"] ** (-2 * i / size) / (2 * math.pi)
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        smooth = min(1.0, max(0.0, (turns - low) / (high - low)))
        yield 1 / ((1 - smooth) / rope["factor"] + smooth)


def write_settings(writer, kind, config):
    gpt2_kind = kind == "gpt2"
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.n_inner if gpt2_kind else config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    if gpt2_kind:
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        return
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    if kind == "llama":
        writer.add_rope_dimension_count(config.head_dim)
    if kind == "qwen3":
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)


def write_tokenizer(writer, hf, cut):
    data = json.loads(hf.to_str())
    tokens = [hf.id_to_token(i) for i in range(VOCABULARY)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(cut)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if i == VOCABULARY - 1 else 1 for i in range(VOCABULARY)])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in data["model"]["merges"]])
    writer.add_eos_token_id(VOCABULARY - 1)
    writer.add_add_bos_token(False)


def write(path, model, kind, hf, cut):
    config = model.config
    writer = gguf.GGUFWriter(path, kind)
    write_settings(writer, kind, config)
    write_tokenizer(writer, hf, cut)
    for name, values in tensors(model, kind, config):
        writer.add_tensor(name, numpy.ascontiguousarray(values))
    if kind == "llama" and config.rope_parameters["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", numpy.array(list(divisors(config, config.head_dim)), numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# ---- what transformers says ----

def golden(model, hf, length=WRITTEN, kinds=12):
    ids = hf.encode(PROMPT).ids
    model = model.double()
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
        nll = -torch.log_softmax(logits, -1)[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]
        written, gap = list(ids), math.inf
        for _ in range(length):
            last = model(torch.tensor([written]), use_cache=False).logits[0, -1]
            best = torch.topk(last, 2)
            gap = min(gap, (best.values[0] - best.values[1]).item())
            written.append(best.indices[0].item())
        final = model(torch.tensor([written]), use_cache=False).logits[0, -1]
    assert gap > 1e-2 and len(set(written[len(ids):])) >= kinds
    positions = [0, len(ids) // 2, len(ids) - 1]
    return {"prompt": PROMPT, "ids": ids, "nll": [round(v, 7) for v in nll.tolist()], "positions": positions,
            "logits": [[round(v, 6) for v in logits[p].tolist()] for p in positions], "greedy": written[len(ids):],
            "gap": gap, "final": [round(v, 6) for v in final.tolist()]}


def main():
    torch.set_num_threads(1)
    for seed, (name, (make, kind, cut)) in enumerate(CASES.items()):
        hf = tokenizer(cut)
        for attempt in range(100):  # until greedy tokens are various and none is near a tie
            model = randomise(make(), 1000 * seed + attempt)
            write(os.path.join(HERE, "small-%s.gguf" % name), model, kind, hf, cut)
            try:
                facts = golden(model, hf)
                break
            except AssertionError:
                assert attempt < 99, name
        with open(os.path.join(HERE, "small-%s.json" % name), "w") as out:
            json.dump(facts, out)
            out.write("\n")
        print(name, "attempt", attempt, "%d ids, gap %.3f, nll %.2f, greedy of %d kinds" % (
            len(facts["ids"]), facts["gap"], sum(facts["nll"]) / len(facts["nll"]), len(set(facts["greedy"]))))


if __name__ == "__main__":
    main()
