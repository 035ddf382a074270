// What is wrong with a workload, beside its definition and the files it refers to.
#pragma once

#include <filesystem>
#include <vector>

#include "trace/validate.h"

namespace strobe::trace {

std::vector<Message> workload_messages(const Definition& definition, const Workload& workload,
                                       const std::filesystem::path& data_set);

}  // namespace strobe::trace
