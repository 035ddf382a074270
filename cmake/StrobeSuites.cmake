# The benchmark's suites as C++: run as a script (OUTPUT, SOURCE_DIR, SUITES) it writes the file that defines suite_texts();
# included, it sets STROBE_SUITES_SOURCE and the rule that makes it.
set(STROBE_SUITES quick llama-3.1-8b llama-3.1-70b-tp8 qwen3-32b gpt-oss-120b all)

if(CMAKE_SCRIPT_MODE_FILE)
  set(text "// Generated from suites/*.json by cmake/StrobeSuites.cmake.\n#include \"bench/suites.h\"\n\n")
  string(APPEND text "namespace strobe::bench {\n\nstd::span<const SuiteText> suite_texts() {\n")
  string(APPEND text "  static constexpr SuiteText kTexts[] = {\n")
  foreach(suite IN LISTS STROBE_SUITES)
    file(READ "${SOURCE_DIR}/suites/${suite}.json" json)
    string(APPEND text "{\"${suite}\", R\"suite(${json})suite\"},\n")
  endforeach()
  string(APPEND text "  };\n  return kTexts;\n}\n\n}  // namespace strobe::bench\n")
  file(WRITE "${OUTPUT}" "${text}")
  return()
endif()

list(TRANSFORM STROBE_SUITES REPLACE "(.+)" "${PROJECT_SOURCE_DIR}/suites/\\1.json" OUTPUT_VARIABLE suite_files)
set(STROBE_SUITES_SOURCE ${CMAKE_CURRENT_BINARY_DIR}/generated/suites.cc)
add_custom_command(
  OUTPUT ${STROBE_SUITES_SOURCE}
  COMMAND ${CMAKE_COMMAND} -DOUTPUT=${STROBE_SUITES_SOURCE} -DSOURCE_DIR=${PROJECT_SOURCE_DIR}
          -P ${CMAKE_CURRENT_LIST_FILE}
  DEPENDS ${suite_files} ${CMAKE_CURRENT_LIST_FILE}
  COMMENT "Embedding the benchmark's suites" VERBATIM)
