# The rooms of the library.
#
#   attn_component(<name> SOURCES file... [FLAGS option...] [LIBS library...])
#
# makes the object library attn_<name> and enters it in the list that src/CMakeLists.txt assembles into
# libattn.a and libattn.so. A folder may call it several times, one for each instruction set:
#
#   attn_component(kernels_avx2 SOURCES body.c FLAGS -mavx2 -mfma)
#
# Headers are included from src/ ("base/sizes.h") and include/ (<attn/attn.h>). LIBS are outside
# libraries the room needs; whoever links libattn gets them too.
function(attn_component name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;FLAGS;LIBS")
    add_library(attn_${name} OBJECT ${arg_SOURCES})
    target_include_directories(attn_${name} PUBLIC "${PROJECT_SOURCE_DIR}/include"
                                                   "${PROJECT_SOURCE_DIR}/src")
    target_compile_options(attn_${name} PRIVATE ${arg_FLAGS})
    target_compile_definitions(attn_${name} PRIVATE ATTN_BUILDING)
    set_target_properties(attn_${name} PROPERTIES C_VISIBILITY_PRESET hidden)
    target_link_libraries(attn_${name} PUBLIC ${arg_LIBS})
    set_property(GLOBAL APPEND PROPERTY ATTN_OBJECT_LIBRARIES attn_${name})
    set_property(GLOBAL APPEND PROPERTY ATTN_OUTSIDE_LIBRARIES ${arg_LIBS})
endfunction()

# The rooms of the command: a static library <name> that sees the public headers and tools/attn alone.
#
#   attn_tool_component(<name> SOURCES file... [LIBS library...])
function(attn_tool_component name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBS")
    add_library(${name} STATIC ${arg_SOURCES})
    target_include_directories(${name} PUBLIC "${PROJECT_SOURCE_DIR}/include"
                                              "${PROJECT_SOURCE_DIR}/tools/attn")
    target_link_libraries(${name} PUBLIC ${arg_LIBS})
endfunction()
