// Continuous batching: turns requests into the batches that a serving engine would run, step by step.
#pragma once

#include <cstdint>
#include <vector>

#include "bench/workload/page_pool.h"
#include "bench/workload/requests.h"

namespace strobe::bench {

struct SchedulerOptions {
  int token_budget = 2048;       // the most tokens of a step; at least max_batch: a token for every decode
  int max_batch = 64;            // the most requests of a step
  int page_size = 16;            // tokens of a page
  int num_pages = 0;             // pages of the pool
  int max_seq_len = 131072;      // the most KV rows of a request
  bool ignore_arrivals = false;  // all requests are there at the start (closed loop)
  double arrival_scale = 1;      // stretches the gaps between arrivals: 2 halves the load
  double step_seconds = 0;       // what every step takes on the simulated clock; 0: what finish_step is told
  std::uint64_t page_seed = 1;   // order of the fresh pool (page_pool.h)
};

// One batch: requests that decode (one token each) stand before requests that prefill. Append the tokens' KV
// rows first, then attend causally.
struct Step {
  // By request of the batch.
  std::vector<std::int32_t> request;        // its index in the vector given to the scheduler
  std::vector<std::int32_t> qo_indptr;      // batch + 1: this step's tokens
  std::vector<std::int32_t> kv_indptr;      // batch + 1: its pages in kv_indices
  std::vector<std::int32_t> kv_indices;     // page ids
  std::vector<std::int32_t> last_page_len;  // rows in the last page
  std::vector<std::int32_t> kv_len;         // KV rows; they and the pages include this step's tokens
  // By token, for append_paged_kv_cache.
  std::vector<std::int32_t> batch_indices;
  std::vector<std::int32_t> positions;  // the token's row in its request's KV

  int num_tokens = 0;
  int num_decode = 0;    // requests that decode, one token each
  int num_prefill = 0;   // requests that prefill a chunk of their context
  int pages_in_use = 0;  // of the pool
  int waiting = 0;       // requests that have arrived and are not in the batch
  int preemptions = 0;   // so far
  double clock_s = 0;    // simulated time at which the step starts

  int batch_size() const { return num_decode + num_prefill; }
};

// The scheduler of a serving engine, reduced to what shapes attention's batches:
//
// - Requests are admitted strictly in the order of arrival, once there is room for the whole context.
// - A step first gives every running request its next tokens: one for a decode, what is left of the budget
//   for a prefill. What remains of the budget goes to newly admitted requests. A context longer than that is
//   prefilled in chunks.
// - Pages are taken as tokens need them and given back when the request ends. When none is left, the newest
//   running request is preempted: its pages are freed, it waits ahead of all others, and recomputes its KV
//   when admitted again. It needs more than it gave back, so no step both preempts and admits.
// - The step that computes the last row of the context yields the first generated token; the last generated
//   token needs no KV row. So a request computes context + max(generated, 1) - 1 rows, more only when
//   preempted.
//
// The oldest running request is never preempted and always fits alone, so every request ends.
class Scheduler {
 public:
  // `requests` in order of arrival. A request whose KV is longer than max_seq_len or than the whole pool is
  // refused: it is counted and never runs. Throws Error(kInvalidArgument) naming the option or request.
  Scheduler(std::vector<Request> requests, const SchedulerOptions& options);

  // Fills `step` with the next batch, or returns false when all requests have ended. With nothing to run, the
  // clock jumps to the next arrival. `step`'s vectors keep their memory: with one Step for all calls, none
  // grows after the first.
  bool next(Step& step);

  // Ends the step that `next` returned: its tokens are computed, ended requests give back their pages, the
  // clock moves on by `seconds` (or by options.step_seconds). Throws Error(kInvalidArgument) without a step,
  // or unless seconds >= 0.
  void finish_step(double seconds);

  double clock_s() const { return clock_s_; }
  int finished() const { return finished_; }
  int preemptions() const { return preemptions_; }
  int refused_by_max_seq_len() const { return refused_by_max_seq_len_; }
  int refused_by_pool() const { return refused_by_pool_; }
  int free_pages() const { return pool_.free_pages(); }

 private:
  struct Sequence {
    int request = 0;
    int known = 0;        // tokens whose KV rows can be computed: context and what has been generated
    int computed = 0;     // KV rows in the cache
    int prefill_end = 0;  // `known` when admitted: rows below are prefill, from there on decode
    int scheduled = 0;    // tokens in the current step
    std::vector<std::int32_t> pages;
  };
  struct Preempted {
    int request;
    int known;
  };

  void accept_requests();
  double arrival_s(int accepted) const;
  void take_arrivals();
  int waiting() const;
  int pages_for(int rows) const { return (rows - 1) / options_.page_size + 1; }  // rows >= 1

  int schedule_running(int budget);
  void admit(int budget);
  bool grow(std::size_t position, int rows);
  void take_pages(Sequence& sequence, int rows);
  void preempt_newest();
  void release(int slot);
  void fill(Step& step) const;
  void append_to(Step& step, const Sequence& sequence) const;

  std::vector<Request> requests_;
  SchedulerOptions options_;
  PagePool pool_;

  // Everything waiting is younger than everything running, and what was preempted is older than what has not
  // run yet.
  std::vector<int> accepted_;  // requests that can run, by arrival
  int fresh_ = 0;              // accepted_[fresh_, arrived_) wait for their first admission
  int arrived_ = 0;
  std::vector<Preempted> preempted_;  // a stack, the oldest on top
  std::vector<Sequence> slots_;       // max_batch, recycled with their memory
  std::vector<int> free_slots_;
  std::vector<int> running_;  // slots in order of arrival; only the last may be within its prefill

  bool in_step_ = false;
  double clock_s_ = 0;
  int finished_ = 0;
  int preemptions_ = 0;
  int refused_by_max_seq_len_ = 0;
  int refused_by_pool_ = 0;
};

}  // namespace strobe::bench
