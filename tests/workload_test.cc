// Continuous batching: what every step must satisfy, on random and on constructed workloads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "bench/workload/builtin_workload.h"
#include "bench/workload/page_pool.h"
#include "bench/workload/scheduler.h"
#include "bench/workload/step_stats.h"
#include "op/random.h"
#include "strobe/error.h"

namespace strobe::bench {
namespace {

// Follows a scheduler from outside: knows only the requests, the options and the steps.
class Checker {
 public:
  Checker(const std::vector<Request>& requests, const SchedulerOptions& options)
      : requests_(requests), options_(options) {}

  // What is wrong with the next step; "" when nothing is.
  std::string check(const Step& step) {
    const std::string wrong = check_shape(step);
    if (!wrong.empty()) return wrong;
    std::set<std::int32_t> owned;
    std::map<int, Table> running;
    for (int i = 0; i < step.batch_size(); ++i) {
      const std::string wrong_request = check_request(step, i, owned, running);
      if (!wrong_request.empty()) return "request " + std::to_string(step.request[i]) + ": " + wrong_request;
    }
    if (static_cast<int>(owned.size()) != step.pages_in_use) return "pages_in_use";
    const int preempted_before = preemptions;
    leave(running);
    if (step.preemptions != preemptions) return "preemptions";
    const bool admits = std::any_of(running.begin(), running.end(),
                                    [&](const auto& entry) { return !running_.contains(entry.first); });
    if (admits && preemptions > preempted_before) return "admits and preempts in one step";
    rows_computed += step.num_tokens;
    running_ = std::move(running);
    return "";
  }

  // After the last step.
  void end() { leave({}); }

  std::int64_t rows_computed = 0;
  std::int64_t rows_lost = 0;  // by preemption
  int preemptions = 0;
  std::set<int> finished;
  std::vector<int> first_tokens;  // requests in the order in which their context was complete

 private:
  struct Table {
    int kv_len;
    int prefill_end;  // rows up to here are prefill: the context, or all that a preempted request lost
    std::vector<std::int32_t> pages;
  };

  std::string check_shape(const Step& step) const {
    const std::size_t batch = step.request.size();
    if (batch == 0 || static_cast<int>(batch) > options_.max_batch) return "batch size";
    if (static_cast<int>(batch) != step.batch_size()) return "num_decode + num_prefill";
    if (step.qo_indptr.size() != batch + 1 || step.kv_indptr.size() != batch + 1) return "indptr size";
    if (step.kv_len.size() != batch || step.last_page_len.size() != batch) return "kv_len size";
    if (step.qo_indptr.front() != 0 || step.kv_indptr.front() != 0) return "indptr start";
    if (step.qo_indptr.back() != step.num_tokens || step.num_tokens > options_.token_budget) return "tokens";
    const auto tokens = static_cast<std::size_t>(step.num_tokens);
    if (step.batch_indices.size() != tokens || step.positions.size() != tokens) return "token arrays";
    if (step.kv_indptr.back() != static_cast<int>(step.kv_indices.size())) return "kv_indices size";
    if (!std::is_sorted(step.request.begin(), step.request.end())) return "order of requests";
    return "";
  }

  std::string check_request(const Step& step, int i, std::set<std::int32_t>& owned,
                            std::map<int, Table>& running) {
    const int id = step.request[i];
    const int tokens = step.qo_indptr[i + 1] - step.qo_indptr[i];
    const auto before = running_.find(id);
    const int computed = before == running_.end() ? 0 : before->second.kv_len;
    known_[id] = std::max(known_[id], requests_[id].context_tokens);
    const int prefill_end = before == running_.end() ? known_[id] : before->second.prefill_end;
    if (finished.contains(id)) return "has ended";
    if (requests_[id].arrival_s > step.clock_s && !options_.ignore_arrivals) return "has not arrived";
    if (tokens < 1 || step.kv_len[i] != computed + tokens) return "kv_len";
    if (step.kv_len[i] > final_rows(id)) return "more rows than it has tokens";
    const bool decodes = computed >= prefill_end;
    if ((i < step.num_decode) != decodes || (decodes && tokens != 1)) return "decode or prefill";
    for (int token = step.qo_indptr[i]; token < step.qo_indptr[i + 1]; ++token) {
      if (step.batch_indices[token] != i) return "batch_indices";
      if (step.positions[token] != computed + token - step.qo_indptr[i]) return "positions";
    }
    if (step.kv_len[i] >= known_[id]) {  // this step yields a token
      if (known_[id] == requests_[id].context_tokens) first_tokens.push_back(id);
      known_[id] = step.kv_len[i] + 1;
    }
    running[id] = {step.kv_len[i], prefill_end, {}};
    return check_pages(step, i, owned, running[id].pages);
  }

  std::string check_pages(const Step& step, int i, std::set<std::int32_t>& owned,
                          std::vector<std::int32_t>& pages) const {
    pages.assign(step.kv_indices.begin() + step.kv_indptr[i],
                 step.kv_indices.begin() + step.kv_indptr[i + 1]);
    const int size = options_.page_size;
    if (static_cast<int>(pages.size()) != (step.kv_len[i] + size - 1) / size) return "number of pages";
    if (step.kv_len[i] != (static_cast<int>(pages.size()) - 1) * size + step.last_page_len[i])
      return "last_page_len";
    if (step.last_page_len[i] < 1 || step.last_page_len[i] > size) return "last_page_len";
    for (const std::int32_t page : pages) {
      if (page < 0 || page >= options_.num_pages) return "page out of range";
      if (!owned.insert(page).second) return "page owned twice";
    }
    const auto before = running_.find(step.request[i]);
    if (before != running_.end()) {
      const std::vector<std::int32_t>& held = before->second.pages;
      if (!std::equal(held.begin(), held.end(), pages.begin())) return "pages moved";
    }
    return "";
  }

  // Requests of the last step that are not in `running` have either ended or been preempted.
  void leave(const std::map<int, Table>& running) {
    for (const auto& [id, table] : running_) {
      if (running.contains(id)) continue;
      if (table.kv_len == final_rows(id)) {
        finished.insert(id);
      } else {
        ++preemptions;
        rows_lost += table.kv_len;
      }
    }
  }

  int final_rows(int id) const {
    return requests_[id].context_tokens + std::max(requests_[id].generated_tokens, 1) - 1;
  }

  const std::vector<Request>& requests_;
  SchedulerOptions options_;
  std::map<int, Table> running_;
  std::map<int, int> known_;  // tokens of each request: its context and what has been generated
};

std::vector<Request> random_requests(int count, int max_context, int max_generated, double mean_gap_s,
                                     std::uint64_t seed) {
  op::Random random(seed);
  std::vector<Request> requests(count);
  double arrival_s = 0;
  for (Request& request : requests) {
    request = {arrival_s, static_cast<int>(random.integer(1, max_context)),
               static_cast<int>(random.integer(0, max_generated))};
    arrival_s += 2 * mean_gap_s * random.uniform();
  }
  return requests;
}

std::int64_t rows_without_preemption(const std::vector<Request>& requests) {
  std::int64_t rows = 0;
  for (const Request& request : requests) {
    rows += request.context_tokens + std::max(request.generated_tokens, 1) - 1;
  }
  return rows;
}

// Runs all requests through a scheduler, with a step time that grows with its tokens, and checks every step.
Checker run_checked(const std::vector<Request>& requests, const SchedulerOptions& options) {
  Scheduler scheduler(requests, options);
  Checker checker(requests, options);
  Step step;
  while (scheduler.next(step)) {
    const std::string wrong = checker.check(step);
    EXPECT_EQ(wrong, "");
    if (!wrong.empty()) return checker;
    EXPECT_EQ(scheduler.free_pages() + step.pages_in_use, options.num_pages);
    scheduler.finish_step(1e-3 + 1e-5 * step.num_tokens);
  }
  checker.end();
  EXPECT_EQ(checker.finished.size(), requests.size());
  EXPECT_EQ(scheduler.finished(), static_cast<int>(requests.size()));
  EXPECT_EQ(scheduler.free_pages(), options.num_pages);
  EXPECT_EQ(scheduler.preemptions(), checker.preemptions);
  EXPECT_EQ(checker.rows_computed, rows_without_preemption(requests) + checker.rows_lost);
  return checker;
}

TEST(Scheduler, RandomWorkloadsKeepEveryInvariant) {
  const std::vector<Request> requests = random_requests(150, 700, 60, 0.004, 3);
  for (const int page_size : {1, 3, 16, 64}) {
    for (const int pool_rows : {800, 2'000, 40'000}) {
      for (const int budget : {32, 256, 2048}) {
        for (const bool ignore_arrivals : {false, true}) {
          SCOPED_TRACE(testing::Message()
                       << page_size << " " << pool_rows << " " << budget << " " << ignore_arrivals);
          SchedulerOptions options{.token_budget = budget, .max_batch = 32, .page_size = page_size};
          options.num_pages = (pool_rows + page_size - 1) / page_size;
          options.ignore_arrivals = ignore_arrivals;
          const Checker checker = run_checked(requests, options);
          EXPECT_TRUE(std::is_sorted(checker.first_tokens.begin(), checker.first_tokens.end()));
          if (pool_rows == 40'000) {
            EXPECT_EQ(checker.preemptions, 0);
          }
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST(Scheduler, SmallPoolPreemptsTheNewestAndLosesNothing) {
  const std::vector<Request> requests = random_requests(200, 20, 200, 0, 5);
  SchedulerOptions options{.token_budget = 64, .max_batch = 16, .page_size = 4, .num_pages = 100};
  const Checker checker = run_checked(requests, options);
  EXPECT_GT(checker.preemptions, 20);
  EXPECT_TRUE(std::is_sorted(checker.first_tokens.begin(), checker.first_tokens.end()));
}

TEST(Scheduler, PreemptedRequestRecomputesItsWholeContext) {
  // Two requests of 4 + 8 tokens on 4 pages of 4: both fit at first; when both need a third page, the newer
  // one leaves.
  const std::vector<Request> requests(2, Request{0, 4, 8});
  const SchedulerOptions options{.token_budget = 16, .max_batch = 2, .page_size = 4, .num_pages = 4};
  Scheduler scheduler(requests, options);
  Step step;
  std::vector<std::vector<int>> kv_lens;
  std::vector<int> decodes;
  while (scheduler.next(step)) {
    kv_lens.emplace_back(step.kv_len.begin(), step.kv_len.end());
    decodes.push_back(step.num_decode);
    scheduler.finish_step(0.01);
  }
  // The second has 5 tokens more than its context when it is preempted; it prefills 9 rows at once, then
  // decodes 2.
  const std::vector<std::vector<int>> expected = {{4, 4}, {5, 5}, {6, 6}, {7, 7}, {8, 8}, {9},
                                                  {10},   {11},   {9},    {10},   {11}};
  EXPECT_EQ(kv_lens, expected);
  EXPECT_EQ(decodes, (std::vector<int>{0, 2, 2, 2, 2, 1, 1, 1, 0, 1, 1}));
  EXPECT_EQ(scheduler.preemptions(), 1);
}

TEST(Scheduler, LongContextIsPrefilledInChunksBesideDecodes) {
  const std::vector<Request> requests = {{0, 10, 9}, {0, 250, 2}};
  const SchedulerOptions options{.token_budget = 64, .max_batch = 4, .page_size = 16, .num_pages = 100};
  Scheduler scheduler(requests, options);
  Step step;
  std::vector<std::vector<int>> qo_indptrs;
  while (scheduler.next(step)) {
    qo_indptrs.emplace_back(step.qo_indptr.begin(), step.qo_indptr.end());
    scheduler.finish_step(0.01);
  }
  const std::vector<std::vector<int>> expected = {{0, 10, 64}, {0, 1, 64}, {0, 1, 64}, {0, 1, 64}, {0, 1, 8},
                                                  {0, 1, 2},   {0, 1},     {0, 1},     {0, 1}};
  EXPECT_EQ(qo_indptrs, expected);
}

TEST(Scheduler, AdmissionWaitsForRoomForTheWholeContext) {
  // The second context's first 4 tokens would have room beside the first request, its 100 would not.
  const std::vector<Request> requests = {{0, 60, 3}, {0, 100, 1}, {0, 1, 1}};
  const SchedulerOptions options{.token_budget = 64, .max_batch = 4, .page_size = 16, .num_pages = 10};
  Scheduler scheduler(requests, options);
  std::vector<std::vector<int>> batches;
  for (Step step; scheduler.next(step); scheduler.finish_step(0.01)) {
    batches.emplace_back(step.request.begin(), step.request.end());
  }
  EXPECT_EQ(batches,
            (std::vector<std::vector<int>>{{0}, {0}, {0}, {1}, {1, 2}}));  // and the third keeps its turn
}

TEST(Scheduler, NoneOrOneGeneratedTokenNeedsNoDecode) {
  for (const int generated : {0, 1}) {
    const std::vector<Request> requests = {{0, 5, generated}};
    const SchedulerOptions options{.token_budget = 64, .max_batch = 4, .page_size = 1, .num_pages = 5};
    Scheduler scheduler(requests, options);
    Step step;
    ASSERT_TRUE(scheduler.next(step));
    EXPECT_EQ(step.num_prefill, 1);
    EXPECT_EQ(step.num_decode, 0);
    EXPECT_EQ(step.kv_len, std::vector<std::int32_t>{5});
    EXPECT_EQ(step.kv_indices.size(), 5u);
    EXPECT_EQ(step.positions, (std::vector<std::int32_t>{0, 1, 2, 3, 4}));
    scheduler.finish_step(0.01);
    EXPECT_FALSE(scheduler.next(step));
    EXPECT_EQ(scheduler.finished(), 1);
  }
}

TEST(Scheduler, RequestsThatNeverFitAreRefusedAndCounted) {
  const std::vector<Request> requests = {{0, 160, 2},   {0, 161, 0}, {0, 300, 1},
                                         {0, 8, 1'000}, {0, 8, 3},   {0, 160, 1}};
  const SchedulerOptions options{
      .token_budget = 64, .max_batch = 4, .page_size = 16, .num_pages = 10, .max_seq_len = 299};
  Scheduler scheduler(requests, options);
  EXPECT_EQ(scheduler.refused_by_max_seq_len(), 2);
  EXPECT_EQ(scheduler.refused_by_pool(), 2);
  std::set<int> ran;
  for (Step step; scheduler.next(step); scheduler.finish_step(0.01))
    ran.insert(step.request.begin(), step.request.end());
  EXPECT_EQ(ran, (std::set<int>{4, 5}));
  EXPECT_EQ(scheduler.finished(), 2);
}

TEST(Scheduler, ClockFollowsStepsAndJumpsWhenIdle) {
  const std::vector<Request> requests = {{1, 4, 2}, {1.25, 4, 1}, {100, 4, 1}};
  SchedulerOptions options{.token_budget = 64, .max_batch = 4, .page_size = 16, .num_pages = 10};
  const auto starts = [&] {
    Scheduler scheduler(requests, options);
    std::vector<double> clocks;
    for (Step step; scheduler.next(step); scheduler.finish_step(0.5)) clocks.push_back(step.clock_s);
    return clocks;
  };
  EXPECT_EQ(starts(), (std::vector<double>{1, 1.5, 100}));
  options.arrival_scale = 2;
  EXPECT_EQ(starts(), (std::vector<double>{2, 2.5, 200}));
  options.arrival_scale = 1;
  options.step_seconds =
      0.125;  // the reported time does not count: the second request comes after the first's end
  EXPECT_EQ(starts(), (std::vector<double>{1, 1.125, 1.25, 100}));
  options.ignore_arrivals = true;
  EXPECT_EQ(starts(), (std::vector<double>{0, 0.125}));
}

TEST(Scheduler, WaitingCountsArrivedRequestsOutsideTheBatch) {
  const std::vector<Request> requests = {{0, 4, 3}, {0, 4, 3}, {0, 4, 3}, {50, 4, 3}};
  const SchedulerOptions options{.token_budget = 64, .max_batch = 2, .page_size = 16, .num_pages = 10};
  Scheduler scheduler(requests, options);
  Step step;
  ASSERT_TRUE(scheduler.next(step));
  EXPECT_EQ(step.batch_size(), 2);
  EXPECT_EQ(step.waiting, 1);
}

bool equal(const Step& a, const Step& b) {
  return a.request == b.request && a.qo_indptr == b.qo_indptr && a.kv_indptr == b.kv_indptr &&
         a.kv_indices == b.kv_indices && a.last_page_len == b.last_page_len && a.kv_len == b.kv_len &&
         a.clock_s == b.clock_s;
}

TEST(Scheduler, SameRequestsGiveTheSameSteps) {
  const std::vector<Request> requests = random_requests(200, 300, 60, 0.004, 9);
  SchedulerOptions options{.token_budget = 128, .max_batch = 16, .page_size = 16, .num_pages = 60};
  Scheduler first(requests, options);
  Scheduler second(requests, options);
  options.page_seed = 2;
  Scheduler other_pages(requests, options);
  Step a;
  Step b;
  Step c;
  while (first.next(a)) {
    ASSERT_TRUE(second.next(b));
    ASSERT_TRUE(other_pages.next(c));
    ASSERT_TRUE(equal(a, b));
    ASSERT_FALSE(equal(a, c));  // the batches are the same, on other pages
    ASSERT_EQ(a.kv_len, c.kv_len);
    for (Scheduler* scheduler : {&first, &second, &other_pages}) scheduler->finish_step(1e-5 * a.num_tokens);
  }
  EXPECT_FALSE(second.next(b));
}

TEST(Scheduler, StepBuffersDoNotMove) {
  const std::vector<Request> requests = random_requests(200, 300, 60, 0, 9);
  const SchedulerOptions options{.token_budget = 128, .max_batch = 16, .page_size = 4, .num_pages = 500};
  Scheduler scheduler(requests, options);
  Step step;
  const auto buffers = [&] {
    return std::vector<const std::int32_t*>{
        step.request.data(), step.qo_indptr.data(), step.kv_indptr.data(),     step.kv_indices.data(),
        step.kv_len.data(),  step.positions.data(), step.batch_indices.data(), step.last_page_len.data()};
  };
  ASSERT_TRUE(scheduler.next(step));
  const auto first = buffers();
  do {
    ASSERT_EQ(buffers(), first);
    scheduler.finish_step(0.01);
  } while (scheduler.next(step));
}

TEST(Scheduler, PageTablesScatterAsRequestsComeAndGo) {
  const std::vector<Request> requests = random_requests(300, 300, 60, 0, 9);
  SchedulerOptions options{.token_budget = 512, .max_batch = 16, .page_size = 16, .num_pages = 300};
  options.page_seed = 0;
  Scheduler scheduler(requests, options);
  Step step;
  const auto neighbours = [&] {  // the share of a table's entries that follow their predecessor in memory
    int following = 0;
    int entries = 0;
    for (int i = 0; i < step.batch_size(); ++i) {
      for (int k = step.kv_indptr[i] + 1; k < step.kv_indptr[i + 1]; ++k, ++entries) {
        following += step.kv_indices[k] == step.kv_indices[k - 1] + 1;
      }
    }
    return static_cast<double>(following) / entries;
  };
  ASSERT_TRUE(scheduler.next(step));
  EXPECT_EQ(neighbours(), 1);
  for (int i = 0; i < 300; ++i) {
    scheduler.finish_step(0.01);
    ASSERT_TRUE(scheduler.next(step));
  }
  EXPECT_LT(neighbours(), 0.2);
}

TEST(Scheduler, BuiltinWorkloadsRun) {
  for (const std::string_view name : workload_names()) {
    const std::vector<Request> requests = builtin_workload(name, 300, 1);
    SchedulerOptions options{.token_budget = 2048, .max_batch = 64, .page_size = 16, .num_pages = 4000};
    run_checked(requests, options);
  }
}

TEST(Scheduler, NoRequestsNoSteps) {
  Scheduler scheduler({}, {.num_pages = 1});
  Step step;
  EXPECT_FALSE(scheduler.next(step));
}

// Each corruption of a good step must be seen, or the checks above would prove nothing.
TEST(SchedulerChecker, SeesCorruptedSteps) {
  const std::vector<Request> requests = random_requests(20, 100, 20, 0, 1);
  const SchedulerOptions options{.token_budget = 512, .max_batch = 8, .page_size = 16, .num_pages = 100};
  Scheduler scheduler(requests, options);
  Checker checker(requests, options);
  Step good;
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(scheduler.next(good));
    if (i == 4) break;
    ASSERT_EQ(checker.check(good), "");
    scheduler.finish_step(0.01);
  }
  const auto verdict = [&](auto&& corrupt) {
    Step step = good;
    corrupt(step);
    return Checker(checker).check(step);
  };
  const int n = good.batch_size();
  ASSERT_GE(n, 2);
  EXPECT_EQ(verdict([](Step&) {}), "");
  EXPECT_NE(verdict([](Step& s) { s.kv_indices[0] = s.kv_indices.back(); }), "");
  EXPECT_NE(verdict([](Step& s) { s.kv_indices[0] = 100; }), "");
  EXPECT_NE(verdict([](Step& s) { std::swap(s.kv_indices.front(), s.kv_indices.back()); }), "");
  EXPECT_NE(verdict([](Step& s) { ++s.kv_len[0]; }), "");
  EXPECT_NE(verdict([](Step& s) { s.last_page_len[0] = 0; }), "");
  EXPECT_NE(verdict([](Step& s) { ++s.positions[0]; }), "");
  EXPECT_NE(verdict([](Step& s) { ++s.batch_indices[0]; }), "");
  EXPECT_NE(verdict([](Step& s) { ++s.pages_in_use; }), "");
  EXPECT_NE(verdict([](Step& s) { ++s.preemptions; }), "");
  EXPECT_NE(verdict([](Step& s) { std::swap(s.request[0], s.request[1]); }), "");
  EXPECT_NE(verdict([](Step& s) { ++s.num_tokens; }), "");
  EXPECT_NE(verdict([](Step& s) { --s.num_decode, ++s.num_prefill; }), "");
}

template <class Call>
std::string error_of(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

TEST(Scheduler, BadOptionsNameTheOption) {
  const auto expect_error = [](const SchedulerOptions& options, const std::string& name,
                               const std::string& found) {
    const std::string message = error_of([&] { Scheduler({}, options); });
    EXPECT_NE(message.find(name), std::string::npos) << message;
    EXPECT_NE(message.find("found " + found), std::string::npos) << message;
  };
  expect_error({}, "num_pages", "0");
  expect_error({.num_pages = -3}, "num_pages", "-3");
  expect_error({.token_budget = 63, .num_pages = 1}, "token_budget", "63");
  expect_error({.max_batch = 0, .num_pages = 1}, "max_batch", "0");
  expect_error({.page_size = 0, .num_pages = 1}, "page_size", "0");
  expect_error({.num_pages = 1, .max_seq_len = 0}, "max_seq_len", "0");
  expect_error({.num_pages = 1, .arrival_scale = 0}, "arrival_scale", "0");
  expect_error({.num_pages = 1, .arrival_scale = std::nan("")}, "arrival_scale", "nan");
  expect_error({.num_pages = 1, .step_seconds = -1}, "step_seconds", "-1");
}

TEST(Scheduler, BadRequestsNameTheRequest) {
  const auto expect_error = [](const std::vector<Request>& requests, const std::string& name) {
    const std::string message = error_of([&] { Scheduler(requests, {.num_pages = 1}); });
    EXPECT_NE(message.find("request 1: expected " + name), std::string::npos) << message;
  };
  expect_error({{1, 1, 1}, {0.5, 1, 1}}, "arrival_s");
  expect_error({{1, 1, 1}, {std::numeric_limits<double>::infinity(), 1, 1}}, "arrival_s");
  expect_error({{1, 1, 1}, {1, 0, 1}}, "context_tokens");
  expect_error({{1, 1, 1}, {1, kMaxRequestTokens + 1, 1}}, "context_tokens");
  expect_error({{1, 1, 1}, {1, 1, -1}}, "generated_tokens");
}

TEST(Scheduler, CallsOutOfOrder) {
  Scheduler scheduler({{0, 4, 2}}, {.num_pages = 1});
  Step step;
  EXPECT_NE(error_of([&] { scheduler.finish_step(0); }).find("expected next before"), std::string::npos);
  ASSERT_TRUE(scheduler.next(step));
  EXPECT_NE(error_of([&] { scheduler.next(step); }).find("expected finish_step before"), std::string::npos);
  EXPECT_NE(error_of([&] { scheduler.finish_step(-1); }).find("found -1"), std::string::npos);
  EXPECT_NE(error_of([&] { scheduler.finish_step(std::nan("")); }).find("found nan"), std::string::npos);
  scheduler.finish_step(0);
  EXPECT_TRUE(scheduler.next(step));
}

TEST(PagePool, HandsOutFirstFreedFirst) {
  PagePool pool(3, 0);
  EXPECT_EQ(pool.take(), 0);
  EXPECT_EQ(pool.take(), 1);
  pool.give_back(1);
  EXPECT_EQ(pool.take(), 2);
  pool.give_back(0);
  EXPECT_EQ(pool.free_pages(), 2);
  EXPECT_EQ(pool.used_pages(), 1);
  EXPECT_EQ(pool.take(), 1);
  EXPECT_EQ(pool.take(), 0);
  EXPECT_EQ(pool.free_pages(), 0);
}

TEST(PagePool, SeedShufflesAllPages) {
  PagePool pool(1000, 4);
  std::vector<std::int32_t> pages(1000);
  for (std::int32_t& page : pages) page = pool.take();
  EXPECT_FALSE(std::is_sorted(pages.begin(), pages.end()));
  std::sort(pages.begin(), pages.end());
  std::vector<std::int32_t> all(1000);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(pages, all);
}

TEST(StepStats, SumsMeansAndPercentiles) {
  StepStats stats;
  EXPECT_EQ(stats.summary().steps, 0);
  EXPECT_EQ(stats.summary().step_p99_s, 0);
  Step step;
  const auto add = [&](int decode, int prefill, int tokens, int pages, double seconds) {
    step.num_decode = decode;
    step.num_prefill = prefill;
    step.num_tokens = tokens;
    step.pages_in_use = pages;
    step.kv_len.assign(decode + prefill, 100);
    stats.add(step, seconds);
  };
  add(0, 2, 60, 10, 0.5);
  add(2, 1, 42, 20, 0.25);
  add(3, 0, 3, 12, 0.25);
  add(1, 0, 1, 2, 1);
  const StepSummary summary = stats.summary();
  EXPECT_EQ(summary.steps, 4);
  EXPECT_EQ(summary.prefill_steps, 1);
  EXPECT_EQ(summary.mixed_steps, 1);
  EXPECT_EQ(summary.decode_steps, 2);
  EXPECT_EQ(summary.tokens, 106);
  EXPECT_EQ(summary.decode_tokens, 6);
  EXPECT_EQ(summary.prefill_tokens, 100);
  EXPECT_EQ(summary.batch_mean, 2.25);
  EXPECT_EQ(summary.batch_max, 3);
  EXPECT_EQ(summary.kv_rows_mean, 225);
  EXPECT_EQ(summary.pages_in_use_mean, 11);
  EXPECT_EQ(summary.pages_in_use_max, 20);
  EXPECT_EQ(summary.seconds, 2);
  EXPECT_EQ(summary.tokens_per_s, 53);
  EXPECT_EQ(summary.step_median_s, 0.375);
  EXPECT_NEAR(summary.step_p99_s, 0.985, 1e-12);  // 0.97 of the way from 0.5 to 1
}

TEST(Percentile, IsLinearBetweenOrderStatistics) {
  EXPECT_EQ(percentile({}, 0.5), 0);
  EXPECT_EQ(percentile({3}, 0.99), 3);
  EXPECT_EQ(percentile({4, 1, 3, 2}, 0), 1);
  EXPECT_EQ(percentile({4, 1, 3, 2}, 0.5), 2.5);
  EXPECT_EQ(percentile({4, 1, 3, 2}, 1), 4);
}

}  // namespace
}  // namespace strobe::bench
