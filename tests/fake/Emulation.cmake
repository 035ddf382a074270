# The emulated GPU: stand-ins for libnvrtc and libcuda that compile the CUDA kernels for the CPU and run them
# there. strobe_emulated_tests(<target>) adds the target's tests once more, named emulated.*, with these.
set(STROBE_EMULATION_MISSING "")
if(CMAKE_CROSSCOMPILING OR NOT CMAKE_SYSTEM_PROCESSOR STREQUAL x86_64)
  set(STROBE_EMULATION_MISSING "it is made for x86-64, tests run on ${CMAKE_SYSTEM_PROCESSOR}")
elseif(NOT CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
  set(STROBE_EMULATION_MISSING "it takes GCC's or Clang's -fsanitize=thread, the compiler is ${CMAKE_CXX_COMPILER_ID}")
elseif(CMAKE_CXX_FLAGS MATCHES "-fsanitize")
  set(STROBE_EMULATION_MISSING "its threads have stacks of their own, which sanitizers do not know")
endif()
if(STROBE_EMULATION_MISSING)
  message(STATUS "No tests on the emulated GPU: ${STROBE_EMULATION_MISSING}")
  function(strobe_emulated_tests)
  endfunction()
  function(strobe_emulation_test)
  endfunction()
  return()
endif()

set(STROBE_EMULATION_ROOT ${CMAKE_CURRENT_LIST_DIR})
set(STROBE_EMULATION_OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/emulated)
file(GLOB_RECURSE STROBE_EMULATION_DEVICE CONFIGURE_DEPENDS ${STROBE_EMULATION_ROOT}/device/*.h)

# Kernels compiled with other stand-in headers, or another front end, are others: their cache is another folder.
set(digest "${CMAKE_CXX_COMPILER_VERSION}")
foreach(file IN LISTS STROBE_EMULATION_DEVICE ITEMS ${STROBE_EMULATION_ROOT}/compiler/nvrtc.cc ${STROBE_EMULATION_ROOT}/compiler/front_end.cc)
  file(SHA256 ${file} one)
  string(APPEND digest ${one})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
endforeach()
string(SHA256 digest "${digest}")
string(SUBSTRING ${digest} 0 12 digest)
set(STROBE_EMULATION_CACHE ${STROBE_EMULATION_OUTPUT}/cache-${digest})

add_library(emulated_nvrtc SHARED fake/compiler/nvrtc.cc fake/compiler/front_end.cc fake/compiler/host_compiler.cc)
add_library(emulated_cuda SHARED fake/driver/code.cc fake/driver/device.cc fake/driver/error.cc fake/driver/fiber.cc
                                 fake/driver/grid.cc fake/driver/grid_barriers.cc fake/driver/grid_boxes.cc fake/driver/grid_products.cc
                                 fake/driver/memory.cc fake/driver/stream.cc)
target_link_libraries(emulated_cuda PRIVATE strobe_static ${CMAKE_DL_LIBS})
set_target_properties(emulated_nvrtc PROPERTIES OUTPUT_NAME nvrtc SOVERSION 13)
set_target_properties(emulated_cuda PROPERTIES OUTPUT_NAME cuda SOVERSION 1)
foreach(library emulated_nvrtc emulated_cuda)
  strobe_settings(${library})
  set_target_properties(${library} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${STROBE_EMULATION_OUTPUT} CXX_VISIBILITY_PRESET hidden)
  target_compile_definitions(${library} PRIVATE EMULATED_COMPILER="${CMAKE_CXX_COMPILER}"
                                                EMULATED_DEVICE_FOLDER="${STROBE_EMULATION_ROOT}/device")
  target_compile_options(${library} PRIVATE -U_FORTIFY_SOURCE)  # it forbids jumps between stacks
  target_include_directories(${library} PRIVATE ${PROJECT_SOURCE_DIR}/src)
endforeach()

# Adds the tests of an executable with `prefix` to their names; further arguments are variables (NAME=value) of theirs.
function(strobe_emulated_tests_with prefix name)
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 TEST_PREFIX ${prefix} TEST_FILTER -*Slow.* TEST_LIST ${prefix}${name}
                       PROPERTIES TIMEOUT 600 LABELS emulated)
  # gtest_discover_tests takes no list as a property: this file is read after the one that adds the tests.
  set(environment LD_LIBRARY_PATH=${STROBE_EMULATION_OUTPUT} STROBE_NVRTC=$<TARGET_FILE:emulated_nvrtc>
                  STROBE_CACHE_DIR=${STROBE_EMULATION_CACHE} STROBE_CUBLASLT=none STROBE_CUPTI=none ${ARGN})
  set(file ${STROBE_EMULATION_OUTPUT}/${prefix}${name}.cmake)
  file(GENERATE OUTPUT ${file} CONTENT "set_tests_properties(\${${prefix}${name}} PROPERTIES ENVIRONMENT \"${environment}\")\n")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${file})
endfunction()

# Once as an sm_90, once as an sm_80.
function(strobe_emulated_tests name)
  add_dependencies(${name} emulated_nvrtc emulated_cuda)
  strobe_emulated_tests_with(emulated. ${name})
  strobe_emulated_tests_with(emulated_sm80. ${name} EMULATED_CAPABILITY=80)
endfunction()

# A test of the emulation itself: it finds the emulated driver before any real one.
function(strobe_emulation_test name)
  set(STROBE_TEST_LABEL emulated)
  strobe_test(${name} ${name}.cc)
  add_dependencies(${name} emulated_nvrtc emulated_cuda)
  target_compile_definitions(${name} PRIVATE STROBE_EMULATED_NVRTC="$<TARGET_FILE:emulated_nvrtc>")
  set_target_properties(${name} PROPERTIES BUILD_RPATH ${STROBE_EMULATION_OUTPUT})
endfunction()
