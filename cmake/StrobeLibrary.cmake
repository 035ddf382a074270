# libstrobe, shared and static, from one set of objects.
set(STROBE_DECLARE_PROTOTYPES "")
set(STROBE_DECLARE_CALLS "")
foreach(family IN LISTS STROBE_OPERATOR_FAMILIES)
  list(APPEND STROBE_SOURCES src/ops/${family}.cc)
  string(APPEND STROBE_DECLARE_PROTOTYPES "void declare_${family}(Registry& registry);\n")
  string(APPEND STROBE_DECLARE_CALLS "  declare_${family}(registry);\n")
endforeach()
configure_file(src/op/builtin.cc.in ${CMAKE_CURRENT_BINARY_DIR}/generated/builtin.cc @ONLY)

set(STROBE_KERNEL_PROTOTYPES "")
set(STROBE_KERNEL_CALLS "")
foreach(family IN LISTS STROBE_CUDA_FAMILIES)
  list(APPEND STROBE_SOURCES src/ops/${family}_cuda.cc)
  string(APPEND STROBE_KERNEL_PROTOTYPES "void declare_${family}_kernels(jit::KernelRegistry& registry);\n")
  string(APPEND STROBE_KERNEL_CALLS "  op::declare_${family}_kernels(registry);\n")
endforeach()
configure_file(src/jit/builtin_kernels.cc.in ${CMAKE_CURRENT_BINARY_DIR}/generated/builtin_kernels.cc @ONLY)

set(STROBE_ISA_FLAG_TEXTS "")
foreach(level IN LISTS STROBE_ISA_LEVELS)
  list(JOIN STROBE_ISA_FLAGS_${level} " " flags)
  string(APPEND STROBE_ISA_FLAG_TEXTS "\"${flags}\", ")
endforeach()
configure_file(src/cpu/isa_flags.cc.in ${CMAKE_CURRENT_BINARY_DIR}/generated/isa_flags.cc @ONLY)

include(StrobeKernels)   # STROBE_EMBEDDED_KERNELS: kernels/ as a source of the library
add_library(strobe_objects OBJECT ${STROBE_SOURCES} ${CMAKE_CURRENT_BINARY_DIR}/generated/builtin.cc
                                  ${CMAKE_CURRENT_BINARY_DIR}/generated/builtin_kernels.cc ${CMAKE_CURRENT_BINARY_DIR}/generated/isa_flags.cc
                                  ${STROBE_EMBEDDED_KERNELS})
strobe_settings(strobe_objects)
# spdlog without the libfmt that its target links: that one's definitions would export fmt's functions from libstrobe.
get_target_property(spdlog_definitions spdlog::spdlog_header_only INTERFACE_COMPILE_DEFINITIONS)
get_target_property(spdlog_include spdlog::spdlog_header_only INTERFACE_INCLUDE_DIRECTORIES)
target_compile_definitions(strobe_objects PRIVATE ${spdlog_definitions})
target_include_directories(strobe_objects SYSTEM PRIVATE ${spdlog_include})
target_link_libraries(strobe_objects PRIVATE strobe_fmt nlohmann_json::nlohmann_json)
set_property(SOURCE src/ffi/c_api.cc APPEND PROPERTY COMPILE_DEFINITIONS STROBE_VERSION="${PROJECT_VERSION}")
strobe_isa_objects(strobe_kernels ${STROBE_KERNEL_SOURCES})

# What tvm-ffi's languages see of the shared library: a function for each declared operator, written by the declarations themselves.
add_executable(strobe_write_tvm_exports src/ffi/write_tvm_exports.cc $<TARGET_OBJECTS:strobe_objects> ${strobe_kernels_OBJECTS})
strobe_settings(strobe_write_tvm_exports)
target_link_libraries(strobe_write_tvm_exports PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
set(STROBE_TVM_EXPORTS ${CMAKE_CURRENT_BINARY_DIR}/generated/tvm_exports.cc)
add_custom_command(OUTPUT ${STROBE_TVM_EXPORTS} COMMAND strobe_write_tvm_exports ${STROBE_TVM_EXPORTS}
                   DEPENDS strobe_write_tvm_exports COMMENT "Writing tvm-ffi exports" VERBATIM)
add_library(strobe_tvm_exports OBJECT ${STROBE_TVM_EXPORTS})
strobe_settings(strobe_tvm_exports)

file(GLOB STROBE_HEADERS CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/strobe/*.h)
add_library(strobe SHARED $<TARGET_OBJECTS:strobe_objects> $<TARGET_OBJECTS:strobe_tvm_exports> ${strobe_kernels_OBJECTS})
add_library(strobe_static STATIC $<TARGET_OBJECTS:strobe_objects> ${strobe_kernels_OBJECTS})
set_target_properties(strobe PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
set_target_properties(strobe_static PROPERTIES OUTPUT_NAME strobe EXPORT_NAME static)
# `cmake --build … --target all_verify_interface_header_sets` compiles every public header by itself.
set_target_properties(strobe PROPERTIES VERIFY_INTERFACE_HEADER_SETS ${PROJECT_IS_TOP_LEVEL})
foreach(target strobe strobe_static)
  set_target_properties(${target} PROPERTIES LINKER_LANGUAGE CXX)
  target_compile_features(${target} PUBLIC cxx_std_20)
  # The header set also gives users their include directory, in the build tree and installed.
  target_sources(${target} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${STROBE_HEADERS})
  target_link_libraries(${target} PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
endforeach()
target_link_options(strobe PRIVATE -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/exports.map)
set_property(TARGET strobe APPEND PROPERTY LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/exports.map)
target_compile_definitions(strobe_static PUBLIC STROBE_STATIC)
add_library(strobe::strobe ALIAS strobe)
add_library(strobe::static ALIAS strobe_static)
