# Everything under kernels/ becomes part of the library: STROBE_EMBEDDED_KERNELS is the generated source.
set(STROBE_EMBEDDED_KERNELS ${CMAKE_CURRENT_BINARY_DIR}/generated/embedded_headers.cc)
file(GLOB_RECURSE kernel_headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/kernels
     ${PROJECT_SOURCE_DIR}/kernels/*.h ${PROJECT_SOURCE_DIR}/kernels/*.cuh)
list(SORT kernel_headers)
set(kernel_list ${CMAKE_CURRENT_BINARY_DIR}/generated/kernels.list)
string(REPLACE ";" "\n" kernel_lines "${kernel_headers}")
file(CONFIGURE OUTPUT ${kernel_list} CONTENT "${kernel_lines}\n" @ONLY)  # written only when it changes
list(TRANSFORM kernel_headers PREPEND ${PROJECT_SOURCE_DIR}/kernels/ OUTPUT_VARIABLE kernel_paths)
add_custom_command(
  OUTPUT ${STROBE_EMBEDDED_KERNELS}
  COMMAND ${CMAKE_COMMAND} -DROOT=${PROJECT_SOURCE_DIR}/kernels -DLIST=${kernel_list} -DOUTPUT=${STROBE_EMBEDDED_KERNELS}
          -P ${PROJECT_SOURCE_DIR}/cmake/EmbedKernels.cmake
  DEPENDS ${kernel_list} ${kernel_paths} ${PROJECT_SOURCE_DIR}/cmake/EmbedKernels.cmake
  COMMENT "Embedding kernels/"
  VERBATIM)
