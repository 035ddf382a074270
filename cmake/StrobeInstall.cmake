# The installed tree: libraries, headers, the strobe command, find_package(strobe) and pkg-config. Everything in it is relocatable.
include(CMakePackageConfigHelpers)

install(TARGETS strobe strobe_static EXPORT strobe-targets FILE_SET HEADERS)
if(TARGET strobe_cli)
  install(TARGETS strobe_cli)
endif()

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/strobe)
install(EXPORT strobe-targets NAMESPACE strobe:: DESTINATION ${package_dir})
configure_package_config_file(cmake/strobe-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/generated/strobe-config.cmake
                              INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
# While the major version is 0, a new minor version may change the API.
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/generated/strobe-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/generated/strobe-config.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/generated/strobe-config-version.cmake
        DESTINATION ${package_dir})

# From the folder of strobe.pc up to the prefix.
file(RELATIVE_PATH STROBE_PC_TO_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" STROBE_PC_TO_PREFIX "${STROBE_PC_TO_PREFIX}")
configure_file(cmake/strobe.pc.in ${CMAKE_CURRENT_BINARY_DIR}/generated/strobe.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/generated/strobe.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(FILES LICENSE NOTICE DESTINATION ${CMAKE_INSTALL_DOCDIR})
