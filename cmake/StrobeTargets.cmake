# Settings of Strobe's own targets; nothing global.
function(strobe_settings target)
  target_compile_features(${target} PRIVATE cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
                                             POSITION_INDEPENDENT_CODE ON)
  # g++ 12 reports -Wrestrict inside its own std::string, falsely.
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow=local -Wno-missing-field-initializers -Wno-psabi
                         -Wno-restrict $<$<BOOL:${STROBE_WERROR}>:-Werror>
                         $<$<CONFIG:Release>:-O2>)  # -O3 pays in kernels only, which ask for it (StrobeIsa.cmake)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include
                             ${PROJECT_SOURCE_DIR}/kernels)  # parameter structs that host and device share
endfunction()
