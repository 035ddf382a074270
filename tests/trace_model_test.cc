// The objects of the FlashInfer-Trace schema: what is read, what is refused, what is written, hashes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "support/sweep.h"
#include "trace/constraint.h"
#include "trace/fields.h"
#include "trace/json_text.h"
#include "trace/model.h"
#include "trace/python_text.h"
#include "trace/sha1.h"

namespace strobe::trace {
namespace {

using test::error_message;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

Json parsed(std::string_view text) { return parse_json(text, "a.json"); }

constexpr std::string_view kDefinition = R"({
  "name": "rmsnorm_h128", "op_type": "rmsnorm", "future": [1],
  "axes": {"batch_size": {"type": "var", "description": "rows"}, "hidden_size": {"value": "128"}},
  "inputs": {"x": {"shape": ["batch_size", "hidden_size"], "dtype": "bfloat16"},
             "weight": {"shape": ["hidden_size"], "dtype": "bfloat16"}, "eps": {"shape": null, "dtype": "float32"}},
  "outputs": {"y": {"shape": ["batch_size", "hidden_size"], "dtype": "bfloat16"}},
  "reference": "import torch\n\ndef run(x, weight, eps):\n    return x  # 'not a text\n",
  "constraints": ["hidden_size % 8 == 0"]})";

// The document with one value replaced, by its pointer.
Json with(std::string_view text, const std::string& pointer, const std::string& value) {
  Json json = parsed(text);
  json[Json::json_pointer(pointer)] = parsed(value);
  return json;
}

TEST(TraceDefinition, IsReadLaxlyAndWrittenStrictly) {
  const Definition definition = read_definition(parsed(kDefinition), "a.json");
  ASSERT_EQ(definition.axes.size(), 2u);
  EXPECT_EQ(definition.axes[0].name, "batch_size");  // the order of the file
  EXPECT_FALSE(definition.axes[0].value);
  EXPECT_EQ(definition.axes[1].value, 128);
  ASSERT_EQ(definition.inputs.size(), 3u);
  EXPECT_FALSE(definition.inputs[2].shape);
  const Json written = to_json(definition);
  EXPECT_FALSE(written.contains("future"));
  EXPECT_EQ(
      one_line(written["axes"]),
      R"({"batch_size":{"type":"var","description":"rows"},"hidden_size":{"type":"const","value":128}})");
  EXPECT_EQ(one_line(to_json(read_definition(written, "again"))), one_line(written));
}

struct Refused {
  std::string pointer, value, message;
};

TEST(TraceDefinition, NamesWhatBreaksTheSchema) {
  for (const auto& [pointer, value, message] : std::vector<Refused>{
           {"/name", "\"\"", "a.json: name: expected a text that is not empty, got \"\""},
           {"/axes/hidden_size/value", "4.5", "a.json: axes.hidden_size.value: expected an integer"},
           {"/axes/hidden_size/value", "-1", "at least 0, got -1"},
           {"/axes/hidden_size/value", "null", "got null"},
           {"/axes/batch_size/type", "\"expr\"", "one of const, var, got \"expr\""},
           {"/inputs/x/shape", "[\"rows\"]", "'rows' is none"},
           {"/inputs/x/dtype", "\"uint8\"", "inputs.x.dtype: expected one of float32"},
           {"/outputs", "{\"x\": {\"shape\": [], \"dtype\": \"float32\"}}", "'x' is one"},
           {"/tags", "null", "tags: expected a list, got null"},
           {"/reference", "\"def other(x):\\n  return x\"", "a function named run"},
           {"/reference", "\"class A:\\n  def run(x): pass\"", "a function named run"},
           {"/reference", "\"async def run(x): pass\"", "a function named run"},
           {"/reference", "\"def run(x):\\n  return (x\"", "line 2: a bracket is not closed"},
           {"/reference", "\"def run(x):\\n  return 'x\"", "line 2: a text does not end"},
           {"/constraints", "[\"(a == b\"]", "a bracket is not closed"},
       }) {
    const Json json = with(kDefinition, pointer, value);
    EXPECT_THAT(error_message([&] { read_definition(json, "a.json"); }), HasSubstr(message))
        << pointer << value;
  }
  Json without = parsed(kDefinition);
  without["inputs"]["x"].erase("shape");
  EXPECT_THAT(error_message([&] { read_definition(without, "a.json"); }),
              HasSubstr("a.json: inputs.x: expected a field 'shape'"));
}

TEST(TraceDefinition, OfFlashInferMayLackAReferenceAndHaveItsDtypes) {
  Json json = with(kDefinition, "/inputs/x/dtype", "\"uint8\"");
  json["inputs"]["x"]["optional"] = true;
  json["inputs"]["x"]["param"] = "q";
  json["axes"]["hidden_size"] = parsed(R"({"type": "const"})");
  json.erase("reference");
  const Definition definition = read_definition(json, "a.json", Dialect::kFlashInfer);
  EXPECT_TRUE(definition.inputs[0].optional);
  EXPECT_EQ(definition.inputs[0].param, "q");
  EXPECT_FALSE(definition.axes[1].value);
}

constexpr std::string_view kSolution = R"({
  "name": "fast", "definition": "rmsnorm_h128", "author": "someone",
  "spec": {"language": "python", "target_hardware": ["CPU"], "entry_point": "main.py::run",
           "dependencies": ["torch", "numpy"], "binding": null},
  "sources": [{"path": "main.py", "content": "def run(x, w):\n    return x\n"}, {"path": "util.py", "content": "A = 1\n"}]})";

TEST(TraceSolution, HasTheContentHashOfFlashInferBench) {
  // python3 -c 'import hashlib; …' over the same fields, one after the other.
  EXPECT_EQ(content_hash(read_solution(parsed(kSolution), "s.json")),
            "9f1aa7a8a6ecb2e16e345f3dab90c07e04e554ab");
}

TEST(TraceSolution, BuildKeysTellApartWhatTheContentHashDoesNot) {
  const Solution solution = read_solution(parsed(kSolution), "s.json");
  Solution returning = solution, shifted = solution;
  returning.destination_passing_style = false;
  shifted.dependencies = {"torchn", "umpy"};
  EXPECT_EQ(content_hash(returning), content_hash(solution));
  EXPECT_EQ(content_hash(shifted), content_hash(solution));
  EXPECT_NE(build_key(returning, {}), build_key(solution, {}));
  EXPECT_NE(build_key(shifted, {}), build_key(solution, {}));
  EXPECT_NE(build_key(solution, {"sm_90a"}), build_key(solution, {"sm_80"}));
  EXPECT_EQ(build_key(solution, {"sm_90a"}), build_key(solution, {"sm_90a"}));
}

TEST(TraceSolution, PassesOutputsUnlessTheDialectDoesNot) {
  EXPECT_TRUE(read_solution(parsed(kSolution), "s.json").destination_passing_style);
  EXPECT_FALSE(read_solution(parsed(kSolution), "s.json", Dialect::kFlashInfer).destination_passing_style);
  const Json no = with(kSolution, "/spec/destination_passing_style", "\"off\"");
  EXPECT_FALSE(read_solution(no, "s.json").destination_passing_style);
}

TEST(TraceSolution, NamesWhatBreaksTheSchema) {
  for (const auto& [pointer, value, message] : std::vector<Refused>{
           {"/spec/language", "\"rust\"", "s.json: spec.language: expected one of python, triton"},
           {"/spec/target_hardware", "[]", "at least one name"},
           {"/spec/entry_point", "\"main.py\"", "\"path::symbol\""},
           {"/spec/entry_point", "\"main.py::a::b\"", "\"path::symbol\""},
           {"/spec/entry_point", "\"other.py::run\"", "among the sources"},
           {"/spec/destination_passing_style", "2", "true or false, got 2"},
           {"/sources/0/path", "\"../main.py\"", "sources[0].path: expected a relative path"},
           {"/sources/0/path", "\"/main.py\"", "relative path"},
           {"/sources/0/path", "\"a/../../main.py\"", "relative path"},
           {"/sources/1/path", "\"main.py\"", "that no other source has"},
           {"/sources/1/content", "\"\"", "not empty"},
           {"/sources", "null", "expected a list, got null"},
       })
    EXPECT_THAT(error_message([&] { read_solution(with(kSolution, pointer, value), "s.json"); }),
                HasSubstr(message))
        << pointer << value;
}

constexpr std::string_view kTrace = R"({"definition": "rmsnorm_h128", "solution": "fast",
  "workload": {"axes": {"batch_size": 4}, "uuid": "u1", "inputs": {"x": {"type": "random"},
               "weight": {"path": "blob/w.safetensors", "tensor_key": "weight"}, "eps": {"value": 1e-6}}},
  "evaluation": {"status": "PASSED", "environment": {"hardware": "H200", "libs": {"cuda": "13.0"}}, "timestamp": "2026-11-20T12:00:00",
    "correctness": {"max_relative_error": Infinity, "max_absolute_error": "nan", "extra": {"tvd": 0.1}},
    "performance": {"latency_ms": 0.5, "reference_latency_ms": "1", "speedup_factor": 2}}})";

TEST(TraceRecord, IsReadLaxlyAndWrittenStrictly) {
  const Trace trace = read_trace(parsed(kTrace), "t.jsonl:1");
  EXPECT_TRUE(std::holds_alternative<RandomInput>(*trace.workload.input("x")));
  EXPECT_EQ(std::get<FileInput>(*trace.workload.input("weight")).tensor_key, "weight");
  EXPECT_EQ(std::get<double>(std::get<ScalarInput>(*trace.workload.input("eps")).value), 1e-6);
  EXPECT_TRUE(std::isinf(trace.evaluation->correctness->max_relative_error));
  EXPECT_TRUE(std::isnan(trace.evaluation->correctness->max_absolute_error));
  EXPECT_EQ(trace.evaluation->performance->reference_latency_ms, 1);
  const std::string line = one_line(to_json(trace));
  EXPECT_THAT(
      line, AllOf(HasSubstr(R"("max_relative_error":"Infinity")"), HasSubstr(R"("max_absolute_error":"NaN")"),
                  HasSubstr(R"("extra":{"tvd":0.1})"), HasSubstr(R"("weight":{"type":"safetensors")")));
  EXPECT_EQ(one_line(to_json(read_trace(parse_json(line, "again"), "again"))), line);
}

TEST(TraceRecord, HasWhatItsStatusMeasures) {
  for (const auto& [pointer, value, message] : std::vector<Refused>{
           {"/evaluation/performance", "null", "expected a performance with status PASSED"},
           {"/evaluation/correctness", "null", "expected a correctness with status PASSED"},
           {"/evaluation/status", "\"TIMEOUT\"", "expected no correctness with status TIMEOUT"},
           {"/evaluation/status", "\"INCORRECT_NUMERICAL\"", "expected no performance"},
           {"/evaluation/status", "\"OK\"", "one of PASSED"},
           {"/evaluation", "null", "expected a solution and an evaluation, or neither"},
           {"/evaluation/correctness/max_absolute_error", "-1", "at least 0, or NaN, got -1"},
           {"/evaluation/log", "null", "log: expected a text"},
           {"/workload/uuid", "\"\"", "workload.uuid"},
           {"/workload/inputs/x/type", "\"zeros\"", "one of random, scalar, safetensors"},
       })
    EXPECT_THAT(error_message([&] { read_trace(with(kTrace, pointer, value), "t.jsonl:1"); }),
                AllOf(StartsWith("t.jsonl:1: "), HasSubstr(message)))
        << pointer << value;
}

TEST(TraceRecord, ScalarsKeepTheirKind) {
  const auto scalar = [](const std::string& value) {
    return read_workload(
        parsed(R"({"axes":{},"uuid":"u","inputs":{"s":{"type":"scalar","value":)" + value + "}}}"), "w");
  };
  const auto written = [&](const std::string& value) {
    return one_line(to_json(scalar(value))["inputs"]["s"]["value"]);
  };
  EXPECT_EQ(written("true"), "true");
  EXPECT_EQ(written("1"), "1");
  EXPECT_EQ(written("1.0"), "1.0");
  EXPECT_EQ(written("\"3\""), "3");
  EXPECT_EQ(written("NaN"), "\"NaN\"");
  EXPECT_EQ(written("-Infinity"), "\"-Infinity\"");  // and not null, which could not be read again
  EXPECT_EQ(written("\"-Infinity\""), "\"-Infinity\"");
  EXPECT_THAT(error_message([&] { scalar("null"); }), HasSubstr("inputs.s.value"));
  const Workload untyped =
      read_workload(parsed(R"({"axes":{},"uuid":"u","inputs":{"s":{"value":null}}})"), "w");
  EXPECT_TRUE(std::holds_alternative<RandomInput>(*untyped.input("s")));
}

TEST(TraceFields, NumbersAreTakenAsPydanticTakesThem) {
  for (const char* text : {"4", "\"4\"", "\" 4\"", "\"4.0\"", "4.0"})
    EXPECT_EQ(Field(parsed(text), "n").integer(), 4) << text;
  EXPECT_EQ(Field(parsed("true"), "n").integer(), 1);
  for (const char* text :
       {"4.5", "null", "\"4.5\"", "\"\"", "\"4x\"", "[4]", "9223372036854775808", "1e300", "NaN"})
    EXPECT_THAT(error_message([&] { (void)Field(parsed(text), "n").integer(); }),
                StartsWith("n: expected an integer"))
        << text;
  for (const char* text : {"true", "1", "1.0", "\"Yes\"", "\"on\"", "\"T\""})
    EXPECT_TRUE(Field(parsed(text), "b").boolean()) << text;
  for (const char* text : {"2", "null", "\"maybe\""})
    EXPECT_THAT(error_message([&] { (void)Field(parsed(text), "b").boolean(); }), HasSubstr("true or false"))
        << text;
}

TEST(TraceJson, KeepsOrderTakesTokensAndTheLastOfEqualKeys) {
  EXPECT_EQ(one_line(parsed(R"({"b":NaN,"a":[Infinity,-Infinity,-1],"t":"NaN, \" -Infinity","b":2})")),
            R"({"b":2,"a":["Infinity","-Infinity",-1],"t":"NaN, \" -Infinity"})");
  EXPECT_EQ(one_line(parsed("\"\xc3\xa4\"")), "\"\xc3\xa4\"");
}

TEST(TraceJson, NamesLineAndColumnOfAnError) {
  EXPECT_THAT(error_message([] { parse_json("{\n  \"a\": NaN, NaN,\n}", "f.json"); }),
              StartsWith("f.json:2:16: "));
  EXPECT_THAT(error_message([] { parse_json("{\"a\": 1", "f.jsonl", 7); }), StartsWith("f.jsonl:7:"));
  EXPECT_THAT(error_message([] { parse_json("NaNs", "f.json"); }), StartsWith("f.json:1:1: "));
}

TEST(TraceSha1, HasThePublishedDigests) {
  EXPECT_EQ(Sha1().hex(), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
  EXPECT_EQ(Sha1().add("a").add("bc").hex(), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(Sha1().add(std::string(1000000, 'a')).hex(), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
}

TEST(TracePython, FindsTopLevelFunctionsOnly) {
  EXPECT_TRUE(defines_function("def run(x):\n  pass", "run"));
  EXPECT_TRUE(defines_function("x = '''\ndef no(): '''\ndef  run (\n x):\n  pass", "run"));
  EXPECT_FALSE(defines_function("x = '''\ndef run(): '''\n", "run"));
  EXPECT_FALSE(defines_function("# def run():\nif True:\n  def run(x): pass", "run"));
  EXPECT_FALSE(defines_function("def runs(x): pass\ndef_run(1)", "run"));
  EXPECT_FALSE(defines_function("x = (\ndef run(x)\n)", "run"));
  EXPECT_EQ(python_problem("x = \"a\\\"b\"  # it's\ny = [1, {2: (3)}]"), "");
  EXPECT_EQ(python_problem("x = (1]"), "line 1: ']' closes nothing");
}

std::optional<Operand> known(std::string_view name) {
  if (name == "n") return std::int64_t{8};
  if (name == "scale") return 0.5;
  if (name == "indptr") return IntegerTensor{{4}, std::vector<std::int64_t>{0, 2, 5, 9}};
  if (name == "q") return IntegerTensor{{9, 8, 128}, {}};
  return {};
}

TEST(TraceConstraint, IsEvaluated) {
  for (const char* text :
       {"n == 8", "n % 8 == 0 and n // 3 == 2", "-n // 3 == -3", "2 ** 3 == n", "n / 16 == scale",
        "not n < 8", "0 < n <= 8 != 9", "indptr[-1].item() == 9", "indptr[0] == 0", "len(indptr) == n - 4",
        "q.shape[0] == indptr[-1]", "max(n, 3 * (1 + 2)) == 9", "indptr.max() == 9", "indptr.sum() == 16",
        "abs(-n) == 8", "n - 4 - 4 == 0", "9007199254740993 != 9007199254740992"}) {
    const Verdict verdict = evaluate(text, known);
    ASSERT_TRUE(verdict.holds) << text << ": " << verdict.why;
    EXPECT_TRUE(*verdict.holds) << text;
  }
  for (const char* text : {"n == 9", "n < 8 or indptr[1] == 3", "8 > n >= 8", "not True"}) {
    const Verdict verdict = evaluate(text, known);
    ASSERT_TRUE(verdict.holds) << text << ": " << verdict.why;
    EXPECT_FALSE(*verdict.holds) << text;
  }
}

TEST(TraceConstraint, SaysWhatItDoesNotKnow) {
  for (const auto& [text, why] : std::vector<std::pair<std::string, std::string>>{
           {"m == 1", "m is not known"},
           {"n % 0 == 1", "division by zero"},
           {"indptr[4] == 1", "indptr[4]: there are 4"},
           {"q[0] == 1", "q has 3 axes"},
           {"torch.all(q)", "torch is not known"},
           {"n ==", "it ends too early"},
           {"n == 8)", "')' is not understood"},
           {"q.max() == 1", "the elements of q are not recorded"},
           {"9223372036854775807 + n", "beyond 64 bits"},
           {std::string(2000, '('), "longer than 1000"}}) {
    const Verdict verdict = evaluate(text, known);
    EXPECT_FALSE(verdict.holds) << text;
    EXPECT_THAT(verdict.why, HasSubstr(why)) << text;
  }
}

}  // namespace
}  // namespace strobe::trace
