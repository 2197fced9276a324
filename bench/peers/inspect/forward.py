"""One forward of a GGUF model through transformers in f32; prints JSON.

    forward.py MODEL.gguf TEXT TOKENS sdpa|eager

sdpa: the forward alone. eager: with the attention weights of every layer, and from them the mean entropy
of each head, which is how it is done today. Neither computes the vocabulary's logits but of the last token.
Loading is not counted.
"""

import json
import os
import sys
import time

import torch
import transformers


def entropies(attentions):
    """Mean over rows of each head's entropy in nats, [layers][heads]; a head at a time, to spare memory."""
    return [[float(torch.special.entr(head).sum(dim=-1).mean()) for head in weights[0]] for weights in attentions]


def main():
    path, text_path, count, attention = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    folder, name = os.path.split(os.path.abspath(path))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=name, dtype=torch.float32, attn_implementation=attention)
    model.eval()
    with open(text_path, encoding="utf-8") as file:
        ids = tokenizer(file.read(), return_tensors="pt")["input_ids"][:, :count]
    result = {"torch": torch.__version__, "transformers": transformers.__version__, "tokens": ids.shape[1],
              "threads": torch.get_num_threads()}
    with torch.inference_mode():
        model(ids[:, :64], use_cache=False, logits_to_keep=1)
        begin = time.perf_counter()
        output = model(ids, use_cache=False, logits_to_keep=1, output_attentions=attention == "eager")
        if attention == "eager":
            result["entropies"] = entropies(output.attentions)
        result["seconds"] = time.perf_counter() - begin
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
