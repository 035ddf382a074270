# The benchmark as a library (the tests link it) and the strobe command.
find_package(CLI11 REQUIRED)
include(StrobeSuites)    # STROBE_SUITES_SOURCE: suites/*.json as C++

strobe_isa_objects(strobe_limits src/bench/limits_kernels.cc)

# The report page's style and script, as text.
foreach(part STYLE:css SCRIPT:js)
  string(REGEX MATCH "(.*):(.*)" part ${part})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS src/bench/report/page.${CMAKE_MATCH_2})
  file(READ src/bench/report/page.${CMAKE_MATCH_2} STROBE_PAGE_${CMAKE_MATCH_1})
endforeach()
configure_file(src/bench/report/page_parts.cc.in ${CMAKE_CURRENT_BINARY_DIR}/generated/page_parts.cc @ONLY)

# The program of the processes in which strobe trace runs Python, as text.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS src/trace/run/worker.py)
file(READ src/trace/run/worker.py STROBE_TRACE_WORKER)
configure_file(src/trace/run/worker_source.cc.in ${CMAKE_CURRENT_BINARY_DIR}/generated/trace_worker.cc @ONLY)

# The commit that result files name; looked up in every build.
add_custom_target(strobe_build_commit
    COMMAND ${CMAKE_COMMAND} -DSOURCE=${PROJECT_SOURCE_DIR} -DOUTPUT=${CMAKE_CURRENT_BINARY_DIR}/generated/bench/build_commit.h
            -P ${PROJECT_SOURCE_DIR}/cmake/WriteBuildCommit.cmake
    BYPRODUCTS ${CMAKE_CURRENT_BINARY_DIR}/generated/bench/build_commit.h
    COMMENT "Looking up the commit" VERBATIM)

set(STROBE_CLI_SOURCES
    src/cli/bench_command.cc src/cli/bench_compare_command.cc src/cli/bench_options.cc src/cli/bench_plan.cc src/cli/bench_report_command.cc
    src/cli/cache_command.cc src/cli/cli.cc src/cli/cuda_findings.cc src/cli/device_flag.cc src/cli/docs_command.cc src/cli/doctor_command.cc
    src/cli/interrupt.cc src/cli/kernel_cache.cc src/cli/replay_command.cc src/cli/trace_command.cc src/cli/trace_explain_command.cc src/cli/trace_run_command.cc src/cli/warmup_command.cc)
# CLI11 and commands that run once: optimising them is what they would take longest for.
set_property(SOURCE ${STROBE_CLI_SOURCES} APPEND PROPERTY COMPILE_OPTIONS $<$<CONFIG:Release>:-O1>)
add_library(strobe_bench STATIC
    src/bench/backends.cc src/bench/case_line.cc src/bench/case_problem.cc src/bench/gpu/gpu_case.cc src/bench/gpu/gpu_probe.cc src/bench/gpu/kernel_recorder.cc src/bench/gpu/matrix_product.cc
    src/bench/flashinfer/flags.cc src/bench/flashinfer/output.cc
    src/bench/flashinfer/translate.cc src/bench/json_report.cc src/bench/limit_probe.cc src/bench/limits.cc src/bench/machine.cc src/bench/measure.cc
    src/bench/output_file.cc src/bench/progress.cc src/bench/rehearse.cc src/bench/result_file.cc src/bench/roofline.cc src/bench/rotation.cc
    src/bench/run_case.cc src/bench/run_info.cc
    src/bench/report/chart_frame.cc src/bench/report/format.cc src/bench/report/html.cc src/bench/report/kind.cc
    src/bench/report/labels.cc src/bench/report/line_chart.cc src/bench/report/page_header.cc src/bench/report/report_page.cc
    src/bench/report/result_table.cc src/bench/report/results.cc src/bench/report/roofline_chart.cc
    src/bench/report/routine_chart.cc src/bench/report/scale.cc src/bench/report/svg.cc src/bench/report/sweep_charts.cc
    src/bench/report/workload_chart.cc ${CMAKE_CURRENT_BINARY_DIR}/generated/page_parts.cc
    src/bench/session.cc src/bench/suite_file.cc src/bench/suites.cc src/bench/test_list.cc src/bench/text_file.cc src/bench/text_report.cc
    src/bench/workload_plan.cc src/bench/workload_report.cc src/bench/workload_run.cc
    src/bench/workload/builtin_workload.cc src/bench/workload/csv.cc src/bench/workload/page_pool.cc
    src/bench/workload/requests.cc src/bench/workload/scheduler.cc src/bench/workload/step_stats.cc
    src/bench/workload/timestamp.cc
    src/bench/compare/compare.cc src/bench/compare/compare_text.cc src/bench/compare/verdict.cc
    src/bench/report/compare_page.cc src/bench/report/ratio_chart.cc
    ${STROBE_CLI_SOURCES}
    src/trace/run/child.cc src/trace/run/compare.cc src/trace/run/evaluate.cc src/trace/run/gpu_calls.cc src/trace/run/inputs.cc src/trace/run/leaderboard_page.cc src/trace/run/sampling.cc src/trace/run/native_worker.cc src/trace/run/tensor_sets.cc src/trace/run/worker_process.cc
    ${CMAKE_CURRENT_BINARY_DIR}/generated/trace_worker.cc
    src/op/docs.cc
    ${STROBE_SUITES_SOURCE} ${strobe_limits_OBJECTS})
strobe_settings(strobe_bench)
add_dependencies(strobe_bench strobe_build_commit)
target_include_directories(strobe_bench PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/generated)
target_compile_definitions(strobe_bench PRIVATE STROBE_VERSION="${PROJECT_VERSION}")
target_link_libraries(strobe_bench PUBLIC strobe_static strobe_fmt nlohmann_json::nlohmann_json
                                   PRIVATE CLI11::CLI11 Threads::Threads)

add_executable(strobe_cli src/cli/main.cc)
strobe_settings(strobe_cli)
set_target_properties(strobe_cli PROPERTIES OUTPUT_NAME strobe RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
target_link_libraries(strobe_cli PRIVATE strobe_bench)
