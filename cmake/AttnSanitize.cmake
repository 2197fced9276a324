# Sanitizers, for the whole tree at once: a report ends the program, so that a test cannot pass over it.
if(ATTN_SANITIZE)
    set(attn_sanitize_options -fsanitize=${ATTN_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    add_compile_options(${attn_sanitize_options})
    add_link_options(${attn_sanitize_options})
endif()
