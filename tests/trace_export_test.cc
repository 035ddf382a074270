// Definitions made from the declarations, and the page of a data set's traces.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "op/operator.h"
#include "strobe/error.h"
#include "trace/export.h"
#include "trace/json_text.h"
#include "trace/run/leaderboard_page.h"

namespace strobe::trace {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

Definition exported(const char* name, const ExportOptions& options) {
  return export_definition(*op::registry().find(name), options);
}

TEST(TraceExport, AnOperatorInPlaceAndOneWithAMultipleOfAnAxis) {
  const Definition fused =
      exported("fused_add_rmsnorm", {.axes = {{"hidden", 4096}}, .values = {{"eps", "1e-5"}}});
  EXPECT_EQ(fused.name, "fused_add_rmsnorm_hidden4096_bfloat16");
  ASSERT_EQ(fused.inputs.size(), 3u);
  ASSERT_EQ(fused.outputs.size(), 2u);
  EXPECT_EQ(fused.outputs[1].name, "residual_out");
  EXPECT_EQ(fused.axis("hidden")->value, 4096);
  EXPECT_FALSE(fused.axis("num_tokens")->value);
  EXPECT_THAT(fused.reference, AllOf(HasSubstr("residual_out = residual.copy()"),
                                     HasSubstr("residual=residual_out"), HasSubstr("eps=1e-5)")));

  const Definition silu = exported("silu_and_mul", {.dtype = "float32"});
  EXPECT_THAT(silu.constraints, ElementsAre("hidden_x2 == 2 * hidden"));
  EXPECT_THAT(silu.inputs[0].shape.value(), ElementsAre("num_tokens", "hidden_x2"));
  EXPECT_THAT(silu.reference, HasSubstr("np.empty((input.shape[0], (input.shape[1] - 0) // 2, )"));
  EXPECT_EQ(exported("silu_and_mul", {.axes = {{"hidden", 10}}}).axis("hidden_x2")->value, 20);
}

TEST(TraceExport, AnOperatorWithAPlanGetsWhatItsShapesSay) {
  const Definition paged = exported("batch_attention_paged", {.axes = {{"page_size", 16}}});
  EXPECT_THAT(
      paged.reference,
      AllOf(HasSubstr("planned.plan("), HasSubstr("page_size=16"), HasSubstr("num_qo_heads=q.shape[1]"),
            HasSubstr("planned.run(q=q, k=k, v=v, out=out"), Not(HasSubstr("window_left"))));
}

// Every operator gives a definition that the schema takes, or says what is in the way.
TEST(TraceExport, EveryOperator) {
  int definitions = 0;
  for (const op::Operator* op : op::registry().all()) {
    try {
      const Json json = to_json(export_definition(*op, {}));
      EXPECT_EQ(one_line(to_json(read_definition(json, op->name))), one_line(json));
      ++definitions;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::AnyOf(HasSubstr("the schema has no uint8"),
                                               HasSubstr("give it a size with --axes")))
          << op->name;
    }
  }
  EXPECT_GE(definitions, 25);
}

TEST(TraceLeaderboard, ShowsTheFastestOfASolutionAndWhatFailed) {
  const fs::path root = fs::temp_directory_path() / "strobe_trace_leaderboard";
  fs::remove_all(root);
  fs::create_directories(root);
  DataSet set(root);
  set.add(exported("rmsnorm", {.axes = {{"hidden", 64}}, .dtype = "float32"}));
  const auto add_solution = [&](const char* name) {
    set.add(Solution{.name = name,
                     .definition = "rmsnorm_hidden64_float32",
                     .author = "<me>",
                     .language = "python",
                     .target_hardware = {"CPU"},
                     .entry_point = "main.py::run",
                     .dependencies = {},
                     .destination_passing_style = true,
                     .binding = {},
                     .sources = {{"main.py", "def run(): pass\n"}},
                     .description = {}});
  };
  add_solution("quick");
  add_solution("broken");
  const auto add_trace = [&](const char* solution, Status status, double ms) {
    Evaluation evaluation{.status = status,
                          .environment = {"H200", {}},
                          .timestamp = "t",
                          .log = status == Status::kPassed ? "" : "why",
                          .correctness = {},
                          .performance = {}};
    if (status == Status::kPassed) {
      evaluation.correctness = Correctness{};
      evaluation.performance = Performance{ms, 1, 1 / ms};
    }
    set.add(Trace{"rmsnorm_hidden64_float32", {{{"num_tokens", 4}}, {}, "w-1"}, solution, evaluation});
  };
  add_trace("quick", Status::kPassed, 0.5);
  add_trace("quick", Status::kPassed, 0.25);
  add_trace("broken", Status::kTimeout, 0);
  const std::string page = leaderboard_page(set, {.bandwidth = 100});
  EXPECT_THAT(
      page, AllOf(HasSubstr("rmsnorm_hidden64_float32 on H200"), HasSubstr("4.00×"), Not(HasSubstr("2.00×")),
                  HasSubstr("TIMEOUT"), HasSubstr("&lt;me&gt;"), HasSubstr("<svg")));
  EXPECT_LT(page.find("quick"), page.find("broken"));
  fs::remove_all(root);
}

}  // namespace
}  // namespace strobe::trace
