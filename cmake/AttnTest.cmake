# Tests.
#
#   attn_test(<name> SOURCES file... [LIBS target...] [LABELS label...] [ENVIRONMENT NAME=value...]
#             [TIMEOUT seconds])
#
# makes the program test_<name> with cmocka and registers it with ctest as <name>. LIBS says what is
# tested: attn::static for the whole library, attn_<room> for one room's objects, a room of the
# command, attn_ref. A test that cannot be made here skips itself by exit status 77. Headers are found under include/, src/, tools/attn/, ref/ and tests/. The program
# is compiled with these strings:
#   ATTN_SOURCE_DIR  the tree's top         ATTN_BINARY_DIR  this build's top
#   ATTN_MODELS_DIR  where scripts/get-model keeps models (a test skips itself if one is not there)
#   ATTN_COMMAND     the attn command of this build
set(ATTN_MODELS_DIR "${PROJECT_SOURCE_DIR}/build/models" CACHE PATH "Where models are kept")

# A sanitized build runs the same tests under names of their own, so that one list can hold both.
set(attn_test_prefix "")
if(ATTN_SANITIZE MATCHES "address")
    set(attn_test_prefix "asan.")
elseif(ATTN_SANITIZE MATCHES "thread")
    set(attn_test_prefix "tsan.")
endif()

function(attn_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "SOURCES;LIBS;LABELS;ENVIRONMENT")
    add_executable(test_${name} ${arg_SOURCES})
    target_include_directories(
        test_${name}
        PRIVATE "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/src"
                "${PROJECT_SOURCE_DIR}/tools/attn" "${PROJECT_SOURCE_DIR}/ref"
                "${PROJECT_SOURCE_DIR}/tests")
    target_compile_definitions(
        test_${name}
        PRIVATE ATTN_SOURCE_DIR="${PROJECT_SOURCE_DIR}" ATTN_BINARY_DIR="${PROJECT_BINARY_DIR}"
                ATTN_MODELS_DIR="${ATTN_MODELS_DIR}" ATTN_COMMAND="${PROJECT_BINARY_DIR}/attn")
    target_link_libraries(test_${name} PRIVATE ${arg_LIBS} PkgConfig::CMOCKA Threads::Threads m)
    # A release build tests the release flags, but a test's own assert() must still bite.
    target_compile_options(test_${name} PRIVATE -UNDEBUG)
    add_test(NAME ${attn_test_prefix}${name} COMMAND test_${name})
    attn_test_properties(${name} "${arg_LABELS}" "${arg_ENVIRONMENT}" "${arg_TIMEOUT}")
endfunction()

# attn_test_script(<name> COMMAND ... [LABELS ...] [ENVIRONMENT ...] [TIMEOUT s]): a test that is a
# script, or test_<other> once more under other circumstances.
function(attn_test_script name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "COMMAND;LABELS;ENVIRONMENT")
    add_test(NAME ${attn_test_prefix}${name} COMMAND ${arg_COMMAND})
    attn_test_properties(${name} "${arg_LABELS}" "${arg_ENVIRONMENT}" "${arg_TIMEOUT}")
endfunction()

function(attn_test_properties name labels environment timeout)
    if(NOT timeout)
        set(timeout 300)
    endif()
    set_tests_properties(${attn_test_prefix}${name} PROPERTIES TIMEOUT ${timeout} LABELS "${labels}"
                                                                 SKIP_RETURN_CODE 77)
    # GCC 12 misaligns 64-byte vectors on the stack that it fakes to detect use after return (its bug
    # 110027), so that check stays off.
    list(PREPEND environment "ASAN_OPTIONS=detect_stack_use_after_return=0" "UBSAN_OPTIONS=print_stacktrace=1"
         "TSAN_OPTIONS=halt_on_error=1:ignore_noninstrumented_modules=1:suppressions=${PROJECT_SOURCE_DIR}/tests/tsan.supp"
         "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/lsan.supp:print_suppressions=0")
    set_tests_properties(${attn_test_prefix}${name} PROPERTIES ENVIRONMENT "${environment}")
endfunction()
