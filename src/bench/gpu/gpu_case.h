// Runs one case on a GPU, as run_case does on the CPU.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bench/gpu/gpu_probe.h"
#include "bench/run_case.h"

namespace strobe::bench {

// Why nothing can be measured on the device; empty when it can.
std::string gpu_problem(Device device);

// How rows and --backends name Backend::kAuto on a device for which an operator has several backends: it is
// the operator that shares its requests out among them.
inline constexpr const char* kAutoGpuBackend = "cuda/auto";
std::string gpu_backend_label(Backend backend);

// The case's operator on the device: the backends among `wanted` that it has and the device serves, each
// once. kAuto is the only one there is, or stays what it is.
std::vector<Backend> gpu_backends(const op::Operator& op, Device device, std::span<const Backend> wanted);

// Names of the routines that run on the device.
std::vector<std::string> gpu_routines(Device device);

// A row for each of the backends, which take turns. Inputs are made on the host and copied; cold calls rotate
// through copies.
std::vector<Row> run_gpu_case(const BenchCase& bench_case, const RunOptions& options,
                              std::span<const Backend> backends, const GpuProbe& probe,
                              std::string_view position, Progress& progress);

}  // namespace strobe::bench
