# strobe_fmt: fmt's headers for our targets. Used header-only, fmt would be compiled again in every file that formats a message, two
# seconds each; so src/core/fmt.cc holds its functions once. They lie in an inline namespace of ours: a program that links libstrobe.a
# and has an fmt of its own never sees two definitions. What fmt.cc instantiates is that of fmt 9; others are used header-only.
add_library(strobe_fmt INTERFACE)
if(fmt_VERSION VERSION_LESS 10)
  target_include_directories(strobe_fmt SYSTEM INTERFACE
                             $<TARGET_PROPERTY:fmt::fmt-header-only,INTERFACE_INCLUDE_DIRECTORIES>)
  target_compile_definitions(strobe_fmt INTERFACE "FMT_BEGIN_NAMESPACE=namespace fmt { inline namespace strobe_fmt {"
                                                  "FMT_END_NAMESPACE=} }")
else()
  target_link_libraries(strobe_fmt INTERFACE fmt::fmt-header-only)
endif()
