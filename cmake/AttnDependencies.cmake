# Outside libraries, found once. The library itself needs threads alone; the command and the tests need
# the rest. Targets: Threads::Threads, PkgConfig::{JANSSON,UTF8PROC,PCRE2,POPT,CMOCKA}, DNNL::dnnl.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS C) # the compiler's threads, behind the default executor

if(ATTN_BUILD_TOOLS OR ATTN_BUILD_TESTS)
    find_package(PkgConfig REQUIRED)
endif()
if(ATTN_BUILD_TOOLS)
    pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET GLOBAL jansson)
    pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET GLOBAL libutf8proc)
    pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET GLOBAL libpcre2-8)
    pkg_check_modules(POPT REQUIRED IMPORTED_TARGET GLOBAL popt)
    # Not through oneDNN's own CMake package: on Debian that asks for OpenCL's headers, which nothing
    # here includes.
    find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.h REQUIRED)
    find_library(DNNL_LIBRARY dnnl REQUIRED)
    add_library(DNNL::dnnl UNKNOWN IMPORTED GLOBAL)
    set_target_properties(
        DNNL::dnnl PROPERTIES IMPORTED_LOCATION "${DNNL_LIBRARY}"
                              INTERFACE_INCLUDE_DIRECTORIES "${DNNL_INCLUDE_DIR}")
endif()
if(ATTN_BUILD_TESTS)
    pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET GLOBAL cmocka)
endif()
