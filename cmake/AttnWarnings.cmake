# Warnings for every C file of the tree. `attn_warnings` is a target to link, for whoever adds a target
# outside the helpers; the folders of this tree get the same options from here.
set(attn_warning_options
    -Wall
    -Wextra
    -Wpedantic
    -Wshadow
    -Wconversion
    -Wno-sign-conversion
    -Wstrict-prototypes
    -Wmissing-prototypes
    -Wold-style-definition
    -Wpointer-arith
    -Wwrite-strings
    -Wundef
    -Wvla
    -Wformat=2
    -Wno-psabi) # vectors wider than the baseline's registers never cross a library's border

if(CMAKE_C_COMPILER_ID MATCHES "Clang")
    # GNU C is the language of this tree; Clang's -Wpedantic names each extension apart.
    list(APPEND attn_warning_options -Wno-gnu)
endif()
if(ATTN_WERROR)
    list(APPEND attn_warning_options -Werror)
endif()

add_library(attn_warnings INTERFACE)
target_compile_options(attn_warnings INTERFACE "$<$<COMPILE_LANGUAGE:C>:${attn_warning_options}>")
add_compile_options("$<$<COMPILE_LANGUAGE:C>:${attn_warning_options}>")
