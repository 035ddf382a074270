#include "bench/workload_report.h"

#include <fmt/format.h>

namespace strobe::bench {
namespace {

std::string check_text(const WorkloadResult& result) {
  if (!result.check) return "skipped";
  return fmt::format("{}, {} steps, {} elements, max error {:.3g} (relative {:.3g}){}",
                     result.check->passed ? "pass" : "FAIL", result.checked_steps, result.check->elements,
                     result.check->max_abs_error, result.check->max_rel_error,
                     result.check->passed ? "" : ": " + result.check->worst);
}

double append_share(const WorkloadResult& result) {
  double append = 0;
  for (const WorkloadStep& step : result.steps) append += step.append.seconds;
  return append / result.summary.seconds;
}

Json json_of(const WorkloadStep& step) {
  return {{"decode", step.num_decode},
          {"prefill", step.num_prefill},
          {"tokens", step.num_tokens},
          {"pages_in_use", step.pages_in_use},
          {"append_us", step.append.seconds * 1e6},
          {"plan_us", step.plan_seconds * 1e6},
          {"attention_us", step.attention.seconds * 1e6},
          {"floor_us", step.floor_seconds * 1e6}};
}

}  // namespace

std::string workload_text(const WorkloadResult& result, bool verbose) {
  const StepSummary& summary = result.summary;
  const AttentionLayer& layer = result.plan.layer;
  const SchedulerOptions& server = result.plan.scheduler;
  std::string text =
      fmt::format("{} on the attention layer of {} ({}/{} heads of {}, {}, cache {} {}), {}, {} threads\n",
                  result.plan.name, layer.model, layer.num_qo_heads, layer.num_kv_heads, layer.head_dim,
                  strobe::name(result.plan.dtype), strobe::name(result.plan.kv_dtype),
                  result.plan.values.text("kv_layout"), result.isa, result.threads);
  text += fmt::format("  steps            {}: {} decode only, {} prefill only, {} mixed; {} preemptions\n",
                      summary.steps, summary.decode_steps, summary.prefill_steps, summary.mixed_steps,
                      summary.preemptions);
  text += fmt::format("  batch            mean {:.1f} requests, max {}; mean {:.0f} KV rows\n",
                      summary.batch_mean, summary.batch_max, summary.kv_rows_mean);
  text += fmt::format("  pages of {:<8}mean {:.0f} in use, max {} of {}\n", server.page_size,
                      summary.pages_in_use_mean, summary.pages_in_use_max, server.num_pages);
  text += fmt::format("  tokens           {}: {} decode, {} prefill\n", summary.tokens, summary.decode_tokens,
                      summary.prefill_tokens);
  text += fmt::format("  attention layer  {:.0f} tokens/s (append {:.1f} % of the time)\n",
                      summary.tokens_per_s, 100 * append_share(result));
  text += fmt::format("  step             median {:.3f} ms, p99 {:.3f} ms (append and attention)\n",
                      summary.step_median_s * 1e3, summary.step_p99_s * 1e3);
  text += fmt::format("  plan             median {:.1f} us, p99 {:.1f} us\n",
                      percentile(result.plan_seconds(), 0.5) * 1e6,
                      percentile(result.plan_seconds(), 0.99) * 1e6);
  text += fmt::format("  of limit         {:.3f} (sum of the steps' floors over the sum of their times)\n",
                      result.fraction());
  text += fmt::format("  reference check  {}\n", check_text(result));
  if (result.refused_requests > 0)
    text += fmt::format("  refused          {} requests, longer than the pool\n", result.refused_requests);
  return verbose ? text + "  " + result.repro + "\n" : text;
}

Json json_of(const WorkloadResult& result) {
  const StepSummary& summary = result.summary;
  Json steps = Json::array();
  for (const WorkloadStep& step : result.steps) steps.push_back(json_of(step));
  Json json = {{"workload", result.plan.name},
               {"backend", "cpu"},
               {"device", "cpu"},
               {"isa", result.isa},
               {"threads", result.threads},
               {"case", json_of(result.plan.values)},
               {"num_pages", result.plan.scheduler.num_pages},
               {"num_steps", summary.steps},
               {"decode_steps", summary.decode_steps},
               {"prefill_steps", summary.prefill_steps},
               {"mixed_steps", summary.mixed_steps},
               {"tokens", summary.tokens},
               {"decode_tokens", summary.decode_tokens},
               {"prefill_tokens", summary.prefill_tokens},
               {"batch_mean", summary.batch_mean},
               {"batch_max", summary.batch_max},
               {"kv_rows_mean", summary.kv_rows_mean},
               {"pages_in_use_mean", summary.pages_in_use_mean},
               {"pages_in_use_max", summary.pages_in_use_max},
               {"waiting_max", summary.waiting_max},
               {"preemptions", summary.preemptions},
               {"refused_requests", result.refused_requests},
               {"tokens_per_s", summary.tokens_per_s},
               {"step_median_ms", summary.step_median_s * 1e3},
               {"step_p99_ms", summary.step_p99_s * 1e3},
               {"plan_median_us", percentile(result.plan_seconds(), 0.5) * 1e6},
               {"plan_p99_us", percentile(result.plan_seconds(), 0.99) * 1e6},
               {"append_share", append_share(result)},
               {"roofline_fraction", result.fraction()}};
  json.update(json_of_check(result.check));
  json["checked_steps"] = result.checked_steps;
  json["repro"] = result.repro;
  json["steps"] = std::move(steps);
  return json;
}

}  // namespace strobe::bench
