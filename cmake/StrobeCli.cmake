# The benchmark as a library (the tests link it) and the strobe command.
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
include(StrobeSuites)    # STROBE_SUITES_SOURCE: suites/*.json as C++

strobe_isa_objects(strobe_limits src/bench/limits_kernels.cc)
add_library(strobe_bench STATIC
    src/bench/backends.cc src/bench/case_line.cc src/bench/flashinfer/flags.cc src/bench/flashinfer/output.cc
    src/bench/flashinfer/translate.cc src/bench/json_report.cc src/bench/limit_probe.cc src/bench/limits.cc src/bench/machine.cc src/bench/measure.cc
    src/bench/output_file.cc src/bench/progress.cc src/bench/roofline.cc src/bench/rotation.cc src/bench/run_case.cc
    src/bench/session.cc src/bench/suite_file.cc src/bench/suites.cc src/bench/test_list.cc src/bench/text_file.cc src/bench/text_report.cc
    src/bench/workload_plan.cc src/bench/workload_report.cc src/bench/workload_run.cc
    src/bench/workload/builtin_workload.cc src/bench/workload/csv.cc src/bench/workload/page_pool.cc
    src/bench/workload/requests.cc src/bench/workload/scheduler.cc src/bench/workload/step_stats.cc
    src/bench/workload/timestamp.cc
    src/cli/bench_command.cc src/cli/bench_options.cc src/cli/bench_plan.cc src/cli/cli.cc src/cli/docs_command.cc src/cli/doctor_command.cc
    src/op/docs.cc
    ${STROBE_SUITES_SOURCE} ${strobe_limits_OBJECTS})
strobe_settings(strobe_bench)
target_compile_definitions(strobe_bench PRIVATE STROBE_VERSION="${PROJECT_VERSION}")
target_link_libraries(strobe_bench PUBLIC strobe_static fmt::fmt-header-only nlohmann_json::nlohmann_json
                                   PRIVATE CLI11::CLI11 Threads::Threads)

add_executable(strobe_cli src/cli/main.cc)
strobe_settings(strobe_cli)
set_target_properties(strobe_cli PROPERTIES OUTPUT_NAME strobe RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
target_link_libraries(strobe_cli PRIVATE strobe_bench)
