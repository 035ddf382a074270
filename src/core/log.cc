#include "core/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <unistd.h>

#include <memory>
#include <mutex>
#include <string>

#include "core/env.h"
#include "core/message.h"

namespace strobe::log {
namespace detail {

std::atomic<int> level{-1};

int read_level() {
  const int value = env::integer(env::Variable::kLogLevel, 0, 10, 0);
  if (value != 0 && value != 1 && value != 3 && value != 5 && value != 10)
    fail(ErrorKind::kInvalidArgument, "STROBE_LOGLEVEL: expected one of 0, 1, 3, 5, 10, got {}", value);
  level.store(value, std::memory_order_relaxed);
  return value;
}

}  // namespace detail

namespace {

std::mutex mutex;
std::shared_ptr<spdlog::logger> logger;

// %i becomes the process id.
std::string expand(std::string_view destination) {
  std::string path(destination);
  for (std::size_t at; (at = path.find("%i")) != std::string::npos;)
    path.replace(at, 2, std::to_string(getpid()));
  return path;
}

std::shared_ptr<spdlog::logger> open(std::string_view destination) {
  std::shared_ptr<spdlog::sinks::sink> sink;
  if (destination == "stdout") {
    sink = std::make_shared<spdlog::sinks::stdout_sink_mt>();
  } else if (destination == "stderr") {
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  } else {
    try {
      sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(expand(destination));
    } catch (const spdlog::spdlog_ex& error) {
      fail(ErrorKind::kIo,
           "STROBE_LOGDEST: expected stdout, stderr or a file that can be written, got '{}' ({})",
           destination, error.what());
    }
  }
  auto result = std::make_shared<spdlog::logger>("strobe", sink);
  result->set_pattern("%v");
  result->set_level(spdlog::level::trace);
  result->flush_on(spdlog::level::trace);
  return result;
}

}  // namespace

void write(std::string_view record) {
  const std::lock_guard lock(mutex);
  if (!logger) logger = open(env::text(env::Variable::kLogDest).value_or("stdout"));
  logger->info(record);
}

void configure(int level, std::string_view destination) {
  const std::lock_guard lock(mutex);
  logger = open(destination);
  detail::level.store(level, std::memory_order_relaxed);
}

}  // namespace strobe::log
