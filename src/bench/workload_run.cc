#include "bench/workload_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "bench/case_line.h"
#include "bench/run_case.h"
#include "core/message.h"
#include "cpu/isa.h"
#include "op/validate.h"
#include "ops/attention_args.h"
#include "strobe/page.h"
#include "strobe/threads.h"

namespace strobe::bench {
namespace {

constexpr int kCheckedSteps = 4;

template <class F>
double seconds_of(F f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Tensor random_tensor(Dtype dtype, std::initializer_list<std::int64_t> shape, op::Random& random) {
  Tensor tensor(dtype, shape);
  op::fill_normal(tensor, random);
  return tensor;
}

// The tensors of one attention layer and its calls for one step after another.
class Layer {
 public:
  explicit Layer(const WorkloadPlan& plan) : plan_(plan), random_(plan.random_seed) {
    const auto& [model, qo_heads, kv_heads, dim] = plan.layer;
    const int tokens = plan.scheduler.token_budget, pages = plan.scheduler.num_pages,
              page = plan.scheduler.page_size;
    const bool hnd = plan.kv_layout == KvLayout::kHnd;
    for (Tensor* cache : {&k_cache_, &v_cache_})
      *cache =
          random_tensor(plan.kv_dtype, {pages, hnd ? kv_heads : page, hnd ? page : kv_heads, dim}, random_);
    for (Tensor* fresh : {&k_, &v_}) *fresh = random_tensor(plan.dtype, {tokens, kv_heads, dim}, random_);
    q_ = random_tensor(plan.dtype, {tokens, qo_heads, dim}, random_);
    out_ = random_tensor(plan.dtype, {tokens, qo_heads, dim}, random_);
  }

  // Points the arguments at the step's part of the tensors. The step must stay until `run` has returned.
  void prepare(Step& step) {
    const auto first = [&](const Tensor& tensor) { return tensor.view().slice(0, 0, step.num_tokens); };
    append_ = {.append_key = first(k_),
               .append_value = first(v_),
               .batch_indices = TensorView::of(step.batch_indices),
               .positions = TensorView::of(step.positions),
               .k_cache = k_cache_,
               .v_cache = v_cache_,
               .kv_indices = TensorView::of(step.kv_indices),
               .kv_indptr = TensorView::of(step.kv_indptr),
               .kv_last_page_len = TensorView::of(step.last_page_len),
               .kv_layout = plan_.kv_layout};
    args_.plan = {};
    args_.plan.qo_indptr = TensorView::of(step.qo_indptr);
    args_.plan.kv_indptr = append_.kv_indptr;
    args_.plan.kv_indices = append_.kv_indices;
    args_.plan.last_page_len = append_.kv_last_page_len;
    args_.plan.num_qo_heads = plan_.layer.num_qo_heads;
    args_.plan.num_kv_heads = plan_.layer.num_kv_heads;
    args_.plan.head_dim_qk = plan_.layer.head_dim;
    args_.plan.page_size = plan_.scheduler.page_size;
    args_.plan.kv_layout = plan_.kv_layout;
    args_.plan.q_dtype = plan_.dtype;
    args_.plan.kv_dtype = plan_.kv_dtype;
    args_.plan.options.mask = MaskMode::kCausal;
    args_.plan.options.deterministic = plan_.deterministic;
    args_.run = {.q = first(q_), .k = k_cache_, .v = v_cache_, .out = first(out_)};
  }

  WorkloadStep run() {
    WorkloadStep result;
    result.append.seconds = seconds_of([&] { append_paged_kv_cache(append_); });
    result.plan_seconds = seconds_of([&] { attention_.plan(args_.plan); });
    result.attention.seconds = seconds_of([&] { attention_.run(args_.run); });
    price(append_operator_, &append_, result.append);
    price(attention_operator_, &args_, result.attention);
    return result;
  }

  // The same, each operator's result held against FP64; adds up in `check`.
  WorkloadStep run_checked(op::CheckResult& check) {
    const op::Axes append_axes = axes_of(append_operator_, &append_);
    const op::Expected appended = op::expect(append_operator_, &append_, append_axes, kCheckedRows, random_);
    append_paged_kv_cache(append_);
    add(op::compare(append_operator_, &append_, append_axes, appended), check);
    const op::Axes axes = axes_of(attention_operator_, &args_);
    const op::Expected expected = op::expect(attention_operator_, &args_, axes, kCheckedRows, random_);
    const WorkloadStep result = run();  // appending the same tokens again changes nothing
    add(op::compare(attention_operator_, &args_, axes, expected), check);
    return result;
  }

 private:
  static op::Axes axes_of(const op::Operator& op, const void* args) {
    op::Axes axes;
    const auto planned = [](const op::Operand& operand) { return operand.phase == op::Phase::kPlan; };
    if (std::any_of(op.operands.begin(), op.operands.end(), planned))
      op::validate(op, args, op::Phase::kPlan, axes);
    op::validate(op, args, op::Phase::kRun, axes);
    return axes;
  }
  static void price(const op::Operator& op, const void* args, WorkloadCall& call) {
    call.cost = op.cost(args, axes_of(op, args));
    call.traffic = traffic_of(op, args, call.cost);
  }
  static void add(const op::CheckResult& part, op::CheckResult& all) {
    if (all.passed && !part.passed) all.worst = part.worst;
    all.passed &= part.passed;
    all.max_abs_error = std::max(all.max_abs_error, part.max_abs_error);
    all.max_rel_error = std::max(all.max_rel_error, part.max_rel_error);
    all.elements += part.elements;
  }

  const WorkloadPlan& plan_;
  op::Random random_;
  const op::Operator& append_operator_ = *op::registry().find("append_paged_kv_cache");
  const op::Operator& attention_operator_ = ops::batch_attention_operator(true);
  Tensor k_cache_, v_cache_, k_, v_, q_, out_;
  AppendPagedKvCacheArgs append_;
  ops::BatchAttentionArgs args_;
  BatchAttention attention_;
};

void skip_steps(Scheduler& scheduler, Step& step, const WorkloadPlan& plan) {
  for (int i = 0; i < plan.skip_steps; ++i) {
    if (!scheduler.next(step))
      fail(ErrorKind::kInvalidArgument,
           "workload: skip_steps: expected fewer than the {} steps after which all requests have ended, got "
           "{}",
           i, plan.skip_steps);
    scheduler.finish_step(0);
  }
}

std::string repro_text(const WorkloadResult& result, bool refcheck) {
  const WorkloadPlan& plan = result.plan;
  std::string text =
      fmt::format("strobe bench {} {}", plan.from_file ? "--requests" : "--workload", plan.name);
  if (!plan.flags.empty()) text += " " + plan.flags;
  text += fmt::format(" --device cpu --isa {} --threads {} --random_seed {}", result.isa, result.threads,
                      plan.random_seed);
  return refcheck ? text + " --refcheck" : text;
}

// Holds the steps against limits measured every few of them.
class StepPricer {
 public:
  StepPricer(const LimitProbe& probe, std::vector<WorkloadStep>& steps)
      : probe_(probe), steps_(steps), last_(probe.measure()) {}

  void after_step() {
    if (steps_.size() - priced_ == kSteps) price();
  }
  void price() {
    const LimitRates now = probe_.measure(), limits = larger(last_, now);
    for (; priced_ < steps_.size(); ++priced_)
      for (const WorkloadCall* call : {&steps_[priced_].append, &steps_[priced_].attention})
        steps_[priced_].floor_seconds += floor_of(call->cost, call->traffic, limits).seconds;
    last_ = now;
  }

 private:
  static constexpr std::size_t kSteps = 20;

  const LimitProbe& probe_;
  std::vector<WorkloadStep>& steps_;
  LimitRates last_;
  std::size_t priced_ = 0;
};

}  // namespace

std::vector<double> WorkloadResult::plan_seconds() const {
  std::vector<double> seconds;
  for (const WorkloadStep& step : steps) seconds.push_back(step.plan_seconds);
  return seconds;
}

double WorkloadResult::fraction() const {
  double least = 0, taken = 0;
  for (const WorkloadStep& step : steps) {
    least += step.floor_seconds;
    taken += step.layer_seconds();
  }
  return taken > 0 ? least / taken : 0;
}

WorkloadResult run_workload(WorkloadPlan plan, bool refcheck, const LimitProbe& probe, Progress& progress) {
  progress.show("workload: making the cache");
  WorkloadResult result;
  Scheduler scheduler(std::move(plan.requests), plan.scheduler);
  plan.requests.clear();
  result.plan = std::move(plan);
  result.isa = cpu::name(cpu::active_isa());
  result.threads = executor().max_workers();
  result.refused_requests = scheduler.refused_by_max_seq_len() + scheduler.refused_by_pool();
  result.repro = repro_text(result, refcheck);
  if (refcheck) result.check.emplace();

  Layer layer(result.plan);
  Step step;
  skip_steps(scheduler, step, result.plan);
  StepStats stats;
  StepPricer pricer(probe, result.steps);
  const int check_every = std::max(1, result.plan.steps / kCheckedSteps);
  for (int i = 0; i < result.plan.steps && scheduler.next(step); ++i) {
    progress.show(fmt::format("workload {}: step {}/{}", result.plan.name, i + 1, result.plan.steps));
    layer.prepare(step);
    if (i == 0) layer.run();  // code, threads and workspace warm up
    const bool checked = refcheck && i % check_every == 0;
    WorkloadStep done = checked ? layer.run_checked(*result.check) : layer.run();
    done.num_decode = step.num_decode;
    done.num_prefill = step.num_prefill;
    done.num_tokens = step.num_tokens;
    done.pages_in_use = step.pages_in_use;
    result.checked_steps += checked;
    stats.add(step, done.layer_seconds());
    result.steps.push_back(done);
    pricer.after_step();
    scheduler.finish_step(0);
  }
  if (result.steps.empty())
    fail(ErrorKind::kInvalidArgument, "workload: no step is left after the {} skipped ones",
         result.plan.skip_steps);
  pricer.price();
  result.summary = stats.summary();
  return result;
}

}  // namespace strobe::bench
