# The fuzz targets: for each name a file <name>.c with LLVMFuzzerTestOneInput, the libraries it is
# linked with, and seeds in seeds/<name>/. `attn_fuzz_rooms` are the libraries whose coverage guides
# the fuzzer. A target belongs here as soon as its file exists.
set(attn_fuzz_targets gguf safetensors)
set(attn_fuzz_libs_gguf attn_tool_files)
set(attn_fuzz_libs_safetensors attn_tool_files)
set(attn_fuzz_rooms attn_tool_base attn_tool_files)

list(APPEND attn_fuzz_targets tokenizer_spm tokenizer_wordpiece tokenizer_bpe tokenizer_json)
set(attn_fuzz_libs_tokenizer_spm attn_tool_tokenizer)
set(attn_fuzz_libs_tokenizer_wordpiece attn_tool_tokenizer)
set(attn_fuzz_libs_tokenizer_bpe attn_tool_tokenizer)
set(attn_fuzz_libs_tokenizer_json attn_tool_tokenizer)
list(APPEND attn_fuzz_rooms attn_tool_tokenizer)

list(APPEND attn_fuzz_targets kv_file kv_table)
set(attn_fuzz_libs_kv_file attn_kv attn_rotary attn_exec attn_base Threads::Threads m)
set(attn_fuzz_libs_kv_table ${attn_fuzz_libs_kv_file})
list(APPEND attn_fuzz_rooms attn_kv)

list(APPEND attn_fuzz_targets attention_cached)
set(attn_fuzz_libs_attention_cached attn_static)
list(APPEND attn_fuzz_rooms attn_plan attn_attention)
