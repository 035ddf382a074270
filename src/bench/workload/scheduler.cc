#include "bench/workload/scheduler.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "core/message.h"

namespace strobe::bench {
namespace {

SchedulerOptions checked(const SchedulerOptions& options) {
  const auto at_least = [](std::string_view name, int value, int least) {
    if (value < least) {
      fail(ErrorKind::kInvalidArgument, "scheduler: expected {} >= {}, found {}", name, least, value);
    }
  };
  at_least("max_batch", options.max_batch, 1);
  at_least("token_budget (at least max_batch)", options.token_budget, options.max_batch);
  at_least("page_size", options.page_size, 1);
  at_least("num_pages", options.num_pages, 1);
  at_least("max_seq_len", options.max_seq_len, 1);
  if (!std::isfinite(options.arrival_scale) || options.arrival_scale <= 0) {
    fail(ErrorKind::kInvalidArgument, "scheduler: expected arrival_scale > 0, found {}",
         options.arrival_scale);
  }
  if (!std::isfinite(options.step_seconds) || options.step_seconds < 0) {
    fail(ErrorKind::kInvalidArgument, "scheduler: expected step_seconds >= 0, found {}",
         options.step_seconds);
  }
  return options;
}

void check_requests(const std::vector<Request>& requests) {
  double previous = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto reject = [&](std::string_view expected, double found) {
      fail(ErrorKind::kInvalidArgument, "scheduler: request {}: expected {}, found {}", i, expected, found);
    };
    const Request& request = requests[i];
    if (!std::isfinite(request.arrival_s) || request.arrival_s < previous) {
      reject("arrival_s not before the previous request's", request.arrival_s);
    }
    if (request.context_tokens < 1 || request.context_tokens > kMaxRequestTokens) {
      reject(fmt::format("context_tokens in [1, {}]", kMaxRequestTokens), request.context_tokens);
    }
    if (request.generated_tokens < 0 || request.generated_tokens > kMaxRequestTokens) {
      reject(fmt::format("generated_tokens in [0, {}]", kMaxRequestTokens), request.generated_tokens);
    }
    previous = request.arrival_s;
  }
}

// Tokens of a request that has ended; the last one has no KV row.
int final_tokens(const Request& request) {
  return request.context_tokens + std::max(request.generated_tokens, 1);
}

}  // namespace

Scheduler::Scheduler(std::vector<Request> requests, const SchedulerOptions& options)
    : requests_(std::move(requests)),
      options_(checked(options)),
      pool_(options.num_pages, options.page_seed),
      slots_(options.max_batch) {
  check_requests(requests_);
  accept_requests();
  preempted_.reserve(options_.max_batch);
  running_.reserve(options_.max_batch);
  for (int slot = options_.max_batch - 1; slot >= 0; --slot) free_slots_.push_back(slot);
}

void Scheduler::accept_requests() {
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    const int rows = final_tokens(requests_[i]) - 1;
    if (rows > options_.max_seq_len) {
      ++refused_by_max_seq_len_;
    } else if (pages_for(rows) > options_.num_pages) {
      ++refused_by_pool_;
    } else {
      accepted_.push_back(static_cast<int>(i));
    }
  }
}

bool Scheduler::next(Step& step) {
  if (in_step_) fail(ErrorKind::kInvalidArgument, "scheduler: expected finish_step before the next step");
  take_arrivals();
  if (running_.empty() && waiting() == 0) {
    if (arrived_ == static_cast<int>(accepted_.size())) return false;
    clock_s_ = arrival_s(arrived_);
    take_arrivals();
  }
  admit(schedule_running(options_.token_budget));
  fill(step);
  in_step_ = true;
  return true;
}

double Scheduler::arrival_s(int accepted) const {
  return options_.ignore_arrivals ? 0 : requests_[accepted_[accepted]].arrival_s * options_.arrival_scale;
}

void Scheduler::take_arrivals() {
  while (arrived_ < static_cast<int>(accepted_.size()) && arrival_s(arrived_) <= clock_s_) ++arrived_;
}

int Scheduler::waiting() const { return static_cast<int>(preempted_.size()) + arrived_ - fresh_; }

int Scheduler::schedule_running(int budget) {
  for (std::size_t position = 0; position < running_.size(); ++position) {
    Sequence& sequence = slots_[running_[position]];
    const int tokens = std::min(sequence.known - sequence.computed, budget);
    if (!grow(position, sequence.computed + tokens)) break;
    sequence.scheduled = tokens;
    budget -= tokens;
  }
  return budget;
}

void Scheduler::admit(int budget) {
  while (budget > 0 && !free_slots_.empty() && waiting() > 0) {
    const bool again = !preempted_.empty();
    const int request = again ? preempted_.back().request : accepted_[fresh_];
    const int known = again ? preempted_.back().known : requests_[request].context_tokens;
    if (pages_for(known) > pool_.free_pages()) return;
    if (again) {
      preempted_.pop_back();
    } else {
      ++fresh_;
    }
    const int slot = free_slots_.back();
    free_slots_.pop_back();
    running_.push_back(slot);
    Sequence& sequence = slots_[slot];
    sequence.request = request;
    sequence.known = sequence.prefill_end = known;
    sequence.computed = 0;
    sequence.scheduled = std::min(known, budget);
    take_pages(sequence, sequence.scheduled);
    budget -= sequence.scheduled;
  }
}

// Gets the pages for `rows` rows of the running request at `position`, preempting newer ones; false when it
// had to preempt that request itself.
bool Scheduler::grow(std::size_t position, int rows) {
  Sequence& sequence = slots_[running_[position]];
  while (pages_for(rows) - static_cast<int>(sequence.pages.size()) > pool_.free_pages()) {
    preempt_newest();
    if (position == running_.size()) return false;
  }
  take_pages(sequence, rows);
  return true;
}

void Scheduler::take_pages(Sequence& sequence, int rows) {
  const auto pages = static_cast<std::size_t>(pages_for(rows));
  while (sequence.pages.size() < pages) sequence.pages.push_back(pool_.take());
}

void Scheduler::preempt_newest() {
  const int slot = running_.back();
  running_.pop_back();
  preempted_.push_back({slots_[slot].request, slots_[slot].known});
  release(slot);
  ++preemptions_;
}

void Scheduler::release(int slot) {
  std::vector<std::int32_t>& pages = slots_[slot].pages;
  for (; !pages.empty(); pages.pop_back()) pool_.give_back(pages.back());
  free_slots_.push_back(slot);
}

void Scheduler::finish_step(double seconds) {
  if (!in_step_) fail(ErrorKind::kInvalidArgument, "scheduler: expected next before finish_step");
  if (!std::isfinite(seconds) || seconds < 0) {
    fail(ErrorKind::kInvalidArgument, "scheduler: expected seconds >= 0, found {}", seconds);
  }
  clock_s_ += options_.step_seconds > 0 ? options_.step_seconds : seconds;
  std::size_t kept = 0;
  for (const int slot : running_) {
    Sequence& sequence = slots_[slot];
    sequence.computed += std::exchange(sequence.scheduled, 0);
    if (sequence.computed == sequence.known) ++sequence.known;
    if (sequence.known == final_tokens(requests_[sequence.request])) {
      release(slot);
      ++finished_;
    } else {
      running_[kept++] = slot;
    }
  }
  running_.resize(kept);
  in_step_ = false;
}

void Scheduler::fill(Step& step) const {
  for (auto* vector : {&step.request, &step.last_page_len, &step.kv_len}) {
    vector->clear();
    vector->reserve(options_.max_batch);
  }
  for (auto* indptr : {&step.qo_indptr, &step.kv_indptr}) {
    indptr->reserve(options_.max_batch + 1);
    indptr->assign(1, 0);
  }
  for (auto* vector : {&step.batch_indices, &step.positions}) {
    vector->clear();
    vector->reserve(options_.token_budget);
  }
  step.kv_indices.clear();
  step.kv_indices.reserve(options_.num_pages);
  step.num_decode = step.num_prefill = 0;
  for (const int slot : running_) append_to(step, slots_[slot]);
  step.num_tokens = step.qo_indptr.back();
  step.pages_in_use = pool_.used_pages();
  step.waiting = waiting();
  step.preemptions = preemptions_;
  step.clock_s = clock_s_;
}

void Scheduler::append_to(Step& step, const Sequence& sequence) const {
  ++(sequence.computed < sequence.prefill_end ? step.num_prefill : step.num_decode);
  const auto index = static_cast<std::int32_t>(step.request.size());
  const int rows = sequence.computed + sequence.scheduled;
  step.request.push_back(sequence.request);
  step.kv_len.push_back(rows);
  step.last_page_len.push_back((rows - 1) % options_.page_size + 1);
  step.kv_indices.insert(step.kv_indices.end(), sequence.pages.begin(), sequence.pages.end());
  step.kv_indptr.push_back(static_cast<std::int32_t>(step.kv_indices.size()));
  step.qo_indptr.push_back(step.qo_indptr.back() + sequence.scheduled);
  for (int row = sequence.computed; row < rows; ++row) {
    step.batch_indices.push_back(index);
    step.positions.push_back(row);
  }
}

}  // namespace strobe::bench
