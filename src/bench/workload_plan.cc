#include "bench/workload_plan.h"

#include "bench/case_line.h"
#include "bench/workload/builtin_workload.h"
#include "core/message.h"

namespace strobe::bench {
namespace {

// More requests than the steps of a run can admit; drawing them takes a millisecond.
constexpr int kBuiltinRequests = 20000;

// Tokens of the page pool unless --num_pages says otherwise: 64 requests of 2048.
constexpr int kPoolTokens = 131072;

constexpr AttentionLayer kLayers[] = {
    {"llama-3.1-8b", 32, 8, 128},
    {"llama-3.1-70b-tp8", 8, 1, 128},
};

const AttentionLayer& find_layer(const std::string& model) {
  std::vector<std::string_view> names;
  for (const AttentionLayer& layer : kLayers) {
    if (layer.model == model) return layer;
    names.push_back(layer.model);
  }
  fail(ErrorKind::kInvalidArgument, "model: expected one of {}, got '{}'", fmt::join(names, ", "), model);
}

KvLayout parse_layout(const std::string& text) {
  if (text == "HND") return KvLayout::kHnd;
  if (text == "NHD") return KvLayout::kNhd;
  fail(ErrorKind::kInvalidArgument, "kv_layout: expected HND or NHD, got '{}'", text);
}

double positive(const op::Case& values, std::string_view name) {
  const double value = values.number(name);
  if (!(value > 0))
    fail(ErrorKind::kInvalidArgument, "{}: expected a number above 0, got '{}'", name, values.text(name));
  return value;
}

SchedulerOptions scheduler_options(const op::Case& values, std::uint64_t seed) {
  SchedulerOptions options;
  options.token_budget = static_cast<int>(values.integer("token_budget", 1));
  options.max_batch = static_cast<int>(values.integer("max_batch", 1));
  options.page_size = static_cast<int>(values.integer("page_size", 1));
  options.num_pages = static_cast<int>(values.integer("num_pages"));
  if (options.num_pages == 0) options.num_pages = (kPoolTokens - 1) / options.page_size + 1;
  options.step_seconds = positive(values, "step_ms") * 1e-3;
  if (const double rate = values.number("rate"); rate == 0)
    options.ignore_arrivals = true;
  else
    options.arrival_scale = 1 / positive(values, "rate");
  options.page_seed = seed;
  return options;
}

}  // namespace

const std::vector<op::Parameter>& workload_parameters() {
  static const std::vector<op::Parameter> parameters = {
      {"model", "llama-3.1-8b", "whose attention layer runs: llama-3.1-8b, llama-3.1-70b-tp8"},
      {"steps", "200", "steps that are run and timed"},
      {"skip_steps", "300",
       "steps before them that are scheduled only, until the server is as busy as it will be"},
      {"rate", "1", "load, as a multiple of the recorded one; 0: all requests are there at the start"},
      {"step_ms", "30",
       "how long a step of the whole model takes on the server's clock: which requests meet in a batch "
       "depends on it, "
       "and not on this machine"},
      {"token_budget", "2048", "the most tokens of a step"},
      {"max_batch", "256", "the most requests of a step"},
      {"page_size", "16", "tokens of a page"},
      {"num_pages", "0", "pages of the pool; 0: enough for 131072 tokens"},
      {"kv_layout", "HND", "HND or NHD"},
      {"dtype", "bf16", "of q, k, v and out: f32, f16 or bf16"},
      {"kv_dtype", "", "of the cache: e4m3, e5m2; empty: dtype"},
      {"deterministic", "false", "a request's bits depend on the request alone"},
  };
  return parameters;
}

WorkloadPlan plan_workload(const std::string& name, const std::string& requests_file,
                           std::span<const std::string> words, std::uint64_t random_seed) {
  WorkloadPlan plan;
  plan.values = case_values("workload", workload_parameters(), split_flags("workload", words));
  plan.flags = joined(words);
  const op::Case& values = plan.values;
  plan.layer = find_layer(values.text("model"));
  plan.steps = static_cast<int>(values.integer("steps", 1));
  plan.skip_steps = static_cast<int>(values.integer("skip_steps"));
  plan.scheduler = scheduler_options(values, random_seed);
  plan.dtype = values.dtype("dtype");
  plan.kv_dtype = values.text("kv_dtype").empty() ? plan.dtype : values.dtype("kv_dtype");
  plan.kv_layout = parse_layout(values.text("kv_layout"));
  plan.deterministic = values.flag("deterministic");
  plan.random_seed = random_seed;
  plan.from_file = !requests_file.empty();
  plan.name = plan.from_file ? requests_file : name;
  plan.requests =
      !plan.from_file ? builtin_workload(name, kBuiltinRequests, random_seed) : read_requests(requests_file);
  return plan;
}

}  // namespace strobe::bench
