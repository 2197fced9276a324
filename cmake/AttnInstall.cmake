# What `make install` puts where, and how other projects find it: attn.pc for pkg-config, attnConfig.cmake
# for find_package(attn), which gives the targets attn::attn (shared) and attn::static. Both speak of their
# own place, so that what was installed can be moved as a whole.
include(CMakePackageConfigHelpers)

install(TARGETS attn_shared attn_static EXPORT attnTargets
        ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/attn" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
        FILES_MATCHING PATTERN "*.h")
install(EXPORT attnTargets NAMESPACE attn:: DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/attn")

get_property(attn_outside GLOBAL PROPERTY ATTN_OUTSIDE_LIBRARIES)
set(attn_private_libraries "-pthread -lm")
set(attn_find_openmp "")
if("OpenMP::OpenMP_C" IN_LIST attn_outside)
    # By name and place, not by a flag: another compiler may mean another OpenMP by -fopenmp.
    foreach(name IN LISTS OpenMP_C_LIB_NAMES)
        if(NOT name STREQUAL "pthread")
            get_filename_component(attn_place "${OpenMP_${name}_LIBRARY}" DIRECTORY)
            string(PREPEND attn_private_libraries "-L${attn_place} -l${name} ")
        endif()
    endforeach()
    set(attn_find_openmp "find_dependency(OpenMP COMPONENTS C)")
endif()

file(RELATIVE_PATH attn_prefix_from_pc "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
string(REGEX REPLACE "/$" "" attn_prefix_from_pc "${attn_prefix_from_pc}")
configure_file("${PROJECT_SOURCE_DIR}/cmake/attn.pc.in" "${PROJECT_BINARY_DIR}/attn.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/attn.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

configure_package_config_file(
    "${PROJECT_SOURCE_DIR}/cmake/attnConfig.cmake.in" "${PROJECT_BINARY_DIR}/attnConfig.cmake"
    INSTALL_DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/attn")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/attnConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/attnConfig.cmake" "${PROJECT_BINARY_DIR}/attnConfigVersion.cmake"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}/cmake/attn")
