# Build for AArch64 Linux on another machine, and run what was built under qemu's user emulation.
#
# With GCC: gcc-aarch64-linux-gnu. With -D CMAKE_C_COMPILER=clang: the same C library and headers, and the
# sysroot's libomp. The tests' library, which no Debian package brings for a foreign machine, is found in
# <build>/sysroot, where scripts/check-neon puts it.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)

if(NOT CMAKE_C_COMPILER)
    set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
endif()
set(CMAKE_C_COMPILER_TARGET aarch64-linux-gnu) # for Clang

set(attn_system /usr/aarch64-linux-gnu)
set(attn_sysroot "${CMAKE_BINARY_DIR}/sysroot")
set(CMAKE_FIND_ROOT_PATH "${attn_system}" "${attn_sysroot}" "${attn_sysroot}/usr/lib/llvm-14")
if(CMAKE_C_COMPILER MATCHES "clang")
    set(attn_libomp "${attn_sysroot}/usr/lib/llvm-14/lib")
    set(CMAKE_EXE_LINKER_FLAGS_INIT "-L${attn_libomp} -Wl,-rpath,${attn_libomp}")
    set(CMAKE_SHARED_LINKER_FLAGS_INIT "${CMAKE_EXE_LINKER_FLAGS_INIT}")
endif()
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

# try_compile reads this file again, with a build folder of its own, and the environment is one for all.
get_property(attn_is_trying GLOBAL PROPERTY IN_TRY_COMPILE)
if(NOT attn_is_trying)
    set(ENV{PKG_CONFIG_SYSROOT_DIR} "${attn_sysroot}")
    set(ENV{PKG_CONFIG_LIBDIR} "${attn_sysroot}/usr/lib/aarch64-linux-gnu/pkgconfig")
endif()

# The oldest 64-bit instruction set: what a test can run here, every AArch64 machine can.
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -cpu cortex-a57 -L "${attn_system}")
