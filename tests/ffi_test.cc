// Arguments from other languages: every kind of value, every way to get it wrong, and tvm-ffi's objects by
// their layout. The C interface itself is tested from C, in tests/consumer/c_client.c.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <thread>
#include <vector>

#include "ffi/describe.h"
#include "ffi/function.h"
#include "ffi/tvm_abi.h"
#include "ffi/values.h"
#include "strobe/strobe.h"
#include "support/toy_operator.h"

namespace strobe {
namespace {

using ffi::Function;
using test::declare_toys;
using ::testing::HasSubstr;

constexpr int kRows = 2, kColumns = 3;

struct Toy {
  std::vector<float> input = {1, 2, 3, 4, 5, 6};
  std::vector<float> out = std::vector<float>(6, NAN);
  std::array<std::int64_t, 2> shape = {kRows, kColumns};
  std::array<std::int64_t, 2> strides = {kColumns, 1};

  Toy() { declare_toys(); }
  StrobeTensor view(std::vector<float>& data) {
    return {.data = data.data(),
            .device_type = 1,
            .device_index = 0,
            .rank = 2,
            .dtype_code = 2,
            .dtype_bits = 32,
            .dtype_lanes = 1,
            .shape = shape.data(),
            .strides = nullptr,
            .byte_offset = 0};
  }
  StrobeTensor input_view = view(input), out_view = view(out);

  // "" or the message of the error.
  std::string call(std::vector<StrobeValue> values, const std::vector<std::string_view>& arguments) {
    try {
      Function("toy", arguments, Backend::kAuto).call(values, {});
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  }
  std::string call_with_factor(StrobeValue factor) {
    return call({strobe_tensor(&input_view), strobe_tensor(&out_view), factor}, {"input", "out", "factor"});
  }
};

TEST(Ffi, CallsByPositionInTheCallersOrder) {
  Toy toy;
  EXPECT_EQ(toy.call({strobe_float(3), strobe_tensor(&toy.out_view), strobe_tensor(&toy.input_view)},
                     {"factor", "out", "input"}),
            "");
  EXPECT_THAT(toy.out, testing::ElementsAre(3, 6, 9, 12, 15, 18));
}

TEST(Ffi, WhatIsNotGivenKeepsItsDefault) {
  Toy toy;
  EXPECT_EQ(toy.call_with_factor(strobe_none()), "");
  EXPECT_THAT(toy.out, testing::ElementsAre(2, 4, 6, 8, 10, 12));
  EXPECT_EQ(
      toy.call({strobe_tensor(&toy.input_view), strobe_tensor(&toy.out_view)}, {"input", "out", "factor"}),
      "");
}

TEST(Ffi, NumbersAreWhatTheDeclarationSays) {
  Toy toy;
  EXPECT_EQ(toy.call_with_factor(strobe_int(-4)), "");
  EXPECT_EQ(toy.out[0], -4);
  EXPECT_EQ(toy.call_with_factor(strobe_float(11)), "toy: factor: expected a value in [-10, 10], got 11");
  EXPECT_EQ(toy.call_with_factor(strobe_float(1e300)),
            "toy: factor: expected a value in [-10, 10], got 1e+300");
  EXPECT_THAT(toy.call_with_factor(strobe_float(NAN)), HasSubstr("got nan"));
  EXPECT_EQ(toy.call_with_factor(strobe_string("3")), "toy: factor: expected a number, got a string");
  EXPECT_EQ(toy.call_with_factor(strobe_tensor(&toy.input_view)),
            "toy: factor: expected a number, got a tensor");
}

TEST(Ffi, WrongNamesSayWhatThereIs) {
  Toy toy;
  EXPECT_EQ(toy.call({}, {"input", "output"}),
            "toy: run has no argument 'output'; known: input, out, factor");
  EXPECT_THAT([] { Function("rmsnrom", {}, Backend::kAuto); },
              testing::ThrowsMessage<Error>(HasSubstr("unknown operator 'rmsnrom'; known: ")));
  EXPECT_THAT(
      [] { ffi::parse_backend("fa9"); },
      testing::ThrowsMessage<Error>("backend: expected one of auto, cpu, cuda/sm80, cuda/sm90, got 'fa9'"));
}

TEST(Ffi, TensorsKeepTheirStridesAndOffset) {
  Toy toy;
  toy.input = {9, 9, 9, 3, 4, 9, 9, 9, 8, 6};
  toy.shape = {2, 2};
  std::array<std::int64_t, 2> strides = {5, 2};
  toy.input_view = toy.view(toy.input);
  toy.input_view.strides = strides.data();
  std::vector<float> ones = {1, 1};
  StrobeTensor weight = toy.view(ones);
  weight.rank = 1;
  const Function rmsnorm("rmsnorm", std::vector<std::string_view>{"input", "weight", "out", "eps"},
                         Backend::kAuto);
  const std::vector<StrobeValue> values = {strobe_tensor(&toy.input_view), strobe_tensor(&weight),
                                           strobe_tensor(&toy.out_view), strobe_float(0)};
  EXPECT_THAT([&] { rmsnorm.call(values, {}); },
              testing::ThrowsMessage<Error>(
                  "rmsnorm: input: expected stride 1 on the innermost axis, got f32[2, 2] strides [5, 2]"));
  strides = {5, 1};
  toy.input_view.byte_offset = 3 * sizeof(float);
  rmsnorm.call(values, {});
  const float a = std::sqrt(12.5f), b = std::sqrt(50.0f);
  EXPECT_THAT(std::span(toy.out).first(4),
              testing::Pointwise(testing::FloatEq(), {3 / a, 4 / a, 8 / b, 6 / b}));
}

// One tensor [rows, 2, columns] holds both operands.
TEST(Ffi, OperandsThatArePartsOfATensor) {
  Toy toy;
  std::vector<float> both = {3, 4, 0, 0, 8, 6, 0, 0}, ones = {1, 1};
  std::array<std::int64_t, 3> shape = {2, 2, 2};
  StrobeTensor whole = toy.view(both), weight = toy.view(ones);
  weight.shape = shape.data();
  whole.rank = 3;
  whole.shape = shape.data();
  weight.rank = 1;
  Function("rmsnorm", std::vector<std::string_view>{"input[1=0]", "out[1=1]", "weight", "eps"},
           Backend::kAuto)
      .call(
          std::vector{strobe_tensor(&whole), strobe_tensor(&whole), strobe_tensor(&weight), strobe_float(0)},
          {});
  const float a = std::sqrt(12.5f), b = std::sqrt(50.0f);
  EXPECT_THAT(both,
              testing::Pointwise(testing::FloatEq(), {3.0f, 4.0f, 3 / a, 4 / a, 8.0f, 6.0f, 8 / b, 6 / b}));
  EXPECT_EQ(toy.call({strobe_tensor(&whole)}, {"input[1=2]"}),
            "toy: input: expected a tensor with index 2 of axis 1, got f32[2, 2, 2]");
  EXPECT_EQ(toy.call({strobe_tensor(&toy.input_view)}, {"input[2=0]"}),
            "toy: input: expected a tensor with index 0 of axis 2, got f32[2, 3]");
  EXPECT_THAT(toy.call({strobe_none()}, {"input[1=0]"}), HasSubstr("got nothing"));
  EXPECT_EQ(toy.call({strobe_tensor(&whole)}, {"input[1=0/3]"}),
            "toy: input: expected a tensor whose axis 1 has 3, got f32[2, 2, 2]");
  for (const char* wrong : {"input[10]", "input[6=0]", "input[1=x]", "factor[1=0]", "input[1=0",
                            "input[1=0/]", "input[1=0/x]", "input[1=0:2]"})
    EXPECT_THAT(toy.call({}, {wrong}), HasSubstr("expected an operand with [axis=index], got '")) << wrong;
}

TEST(Ffi, OperandsThatShareAValue) {
  Toy toy;
  std::vector<float> both = {3, 4, 0, 0, 8, 6, 0, 0}, ones = {1, 1};
  std::array<std::int64_t, 3> shape = {2, 2, 2};
  StrobeTensor whole = toy.view(both), weight = toy.view(ones);
  weight.shape = shape.data();
  whole.rank = 3;
  whole.shape = shape.data();
  weight.rank = 1;
  const Function rmsnorm("rmsnorm", std::vector<std::string_view>{"input[1=0/2]+out[1=1/2]", "weight", "eps"},
                         Backend::kAuto);
  EXPECT_EQ(rmsnorm.arity(), 3u);
  rmsnorm.call(std::vector{strobe_tensor(&whole), strobe_tensor(&weight), strobe_float(0)}, {});
  const float a = std::sqrt(12.5f), b = std::sqrt(50.0f);
  EXPECT_THAT(both,
              testing::Pointwise(testing::FloatEq(), {3.0f, 4.0f, 3 / a, 4 / a, 8.0f, 6.0f, 8 / b, 6 / b}));
  EXPECT_THAT([&] { rmsnorm.call(std::vector(4, strobe_none()), {}); },
              testing::ThrowsMessage<Error>("rmsnorm: expected at most 3 arguments, got 4"));
  EXPECT_THAT(toy.call({}, {"input+missing"}), HasSubstr("has no argument 'missing'"));
}

TEST(Ffi, EveryDtypeOfDlpackThatStrobeHas) {
  declare_toys();
  struct Case {
    std::uint8_t code, bits;
    const char* got;
  };
  for (const Case& c :
       {Case{2, 16, "got f16[1, 1]"}, Case{4, 16, "got bf16[1, 1]"}, Case{10, 8, "got e4m3[1, 1]"},
        Case{12, 8, "got e5m2[1, 1]"}, Case{0, 8, "got i8[1, 1]"}, Case{1, 8, "got u8[1, 1]"},
        Case{0, 32, "got i32[1, 1]"}, Case{0, 64, "got i64[1, 1]"}, Case{6, 8, "got bool[1, 1]"},
        Case{2, 64, "got f64"}, Case{1, 16, "got u16"}, Case{5, 64, "got complex64"},
        Case{17, 4, "got dtype 17 of bits 4"}}) {
    Toy toy;
    toy.shape = {1, 1};
    toy.input_view.dtype_code = c.code;
    toy.input_view.dtype_bits = c.bits;
    EXPECT_EQ(toy.call_with_factor(strobe_none()), std::string("toy: input: expected dtype f32, ") + c.got);
  }
}

TEST(Ffi, DevicesAreThoseOfDlpack) {
  Toy toy;
  toy.input_view.device_type = toy.out_view.device_type = 3;  // pinned host memory
  EXPECT_EQ(toy.call_with_factor(strobe_none()), "");
  toy.input_view.device_type = 2;
  toy.input_view.device_index = 1;
  EXPECT_THAT(toy.call_with_factor(strobe_none()), HasSubstr("expected device cuda:1 (that of input), got"));
  toy.input_view.device_type = 10;  // ROCm
  EXPECT_EQ(toy.call_with_factor(strobe_none()),
            "toy: input: expected a tensor on the CPU or a CUDA device, got one on DLPack device 10:1");
  toy.input_view.device_type = 2;
  toy.input_view.device_index = 128;
  EXPECT_THAT(toy.call_with_factor(strobe_none()), HasSubstr("DLPack device 2:128"));
}

TEST(Ffi, RanksBeyondTheLibrarysAreRefused) {
  Toy toy;
  toy.input_view.rank = kMaxRank + 1;
  EXPECT_EQ(toy.call_with_factor(strobe_none()), "toy: input: expected at most 6 axes, got 7");
}

TEST(Ffi, AnythingButATensorIsATypeError) {
  Toy toy;
  const Function function("toy", std::vector<std::string_view>{"input"}, Backend::kAuto);
  for (const StrobeValue& value : {strobe_int(3), strobe_string("x"), strobe_float(1), strobe_bool(1)})
    EXPECT_THROW(function.call(std::vector{value}, {}), ffi::TypeError);
  EXPECT_THAT(toy.call({strobe_int(3)}, {"input"}), "toy: input: expected a tensor, got an integer");
  EXPECT_THAT(toy.call({strobe_none(), strobe_none(), strobe_none()}, {"input", "out"}),
              "toy: expected at most 2 arguments, got 3");
  EXPECT_THAT(toy.call({}, {"input"}),
              HasSubstr("toy: input: expected [rows, columns] of dtype f32, got nothing"));
}

// A tensor and strings as tvm-ffi's objects: a header of 24 bytes, then the contents.
TEST(Ffi, ObjectsOfTvmFfi) {
  Toy toy;
  struct {
    ffi::tvm::ObjectHeader header;
    StrobeTensor tensor;
  } object = {{1, ffi::tvm::kTensor, 0, nullptr}, toy.input_view};
  StrobeValue value = strobe_none();
  value.kind = ffi::tvm::kTensor;
  std::memcpy(&value.as, std::array<void*, 1>{&object}.data(), sizeof(void*));
  EXPECT_EQ(toy.call({value, strobe_tensor(&toy.out_view)}, {"input", "out"}), "");
  EXPECT_EQ(toy.out[5], 12);

  StrobeValue small = strobe_none();
  small.kind = ffi::tvm::kSmallStr;
  small.reserved = 6;
  std::memcpy(&small.as, "causal", 6);
  EXPECT_EQ(ffi::text_of(small), "causal");
  struct {
    ffi::tvm::ObjectHeader header;
    ffi::tvm::ByteArray bytes;
  } text = {{1, ffi::tvm::kStr, 0, nullptr}, {"batch_attention_paged!", 21}};
  value.kind = ffi::tvm::kStr;
  std::memcpy(&value.as, std::array<void*, 1>{&text}.data(), sizeof(void*));
  EXPECT_EQ(ffi::text_of(value), "batch_attention_paged");
  EXPECT_EQ(ffi::text_of(strobe_int(1)), std::nullopt);
}

TEST(Ffi, EnumeratorsByNameOrNumber) {
  std::array<std::int64_t, 2> shape = {1, 8};
  std::vector<float> q(8), k(16), out(8);
  std::array<std::int64_t, 3> kv_shape = {2, 1, 8};
  const auto view = [](float* data, std::int64_t* extents, int rank) {
    return StrobeTensor{data, 1, 0, rank, 2, 32, 1, extents, nullptr, 0};
  };
  const StrobeTensor q_view = view(q.data(), shape.data(), 2), k_view = view(k.data(), kv_shape.data(), 3),
                     out_view = view(out.data(), shape.data(), 2);
  const Function decode("single_decode", std::vector<std::string_view>{"q", "k", "v", "out", "mask"},
                        Backend::kAuto);
  const auto call = [&](StrobeValue mask) -> std::string {
    try {
      decode.call(std::vector{strobe_tensor(&q_view), strobe_tensor(&k_view), strobe_tensor(&k_view),
                              strobe_tensor(&out_view), mask},
                  {});
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  };
  EXPECT_EQ(call(strobe_string("causal")), "");
  EXPECT_EQ(call(strobe_int(1)), "");
  EXPECT_EQ(call(strobe_int(2)),
            "single_decode: mask: expected none or causal for a single query token, got custom");
  EXPECT_EQ(call(strobe_int(3)),
            "single_decode: mask: expected one of none, causal, custom, got enumerator 3");
  EXPECT_EQ(call(strobe_string("Causal")),
            "single_decode: mask: expected one of none, causal, custom, got 'Causal'");
  EXPECT_EQ(call(strobe_float(1)), "single_decode: mask: expected a string, got a float");
}

TEST(Ffi, PlanAndRunTakeTheirOwnArguments) {
  const std::vector<std::string_view> plan_arguments = {"qo_indptr"}, run_arguments = {"q"};
  EXPECT_THAT(
      [&] { Function("batch_attention_ragged", run_arguments, Backend::kAuto); },
      testing::ThrowsMessage<Error>(HasSubstr("plan has no argument 'q'; known: qo_indptr, kv_indptr")));
  const Function plan("batch_attention_ragged", plan_arguments, Backend::kAuto);
  EXPECT_THAT([&] { Function(plan, ffi::Bound::kRun, plan_arguments); },
              testing::ThrowsMessage<Error>(HasSubstr("run has no argument 'qo_indptr'; known: q, k, v")));
  const Function run(plan, ffi::Bound::kRun, run_arguments);
  EXPECT_THAT([&] { Function(run, ffi::Bound::kRun, run_arguments); },
              testing::ThrowsMessage<Error>(HasSubstr("expected a bound plan, got a function without one")));
  EXPECT_TRUE(plan.plans());
  EXPECT_FALSE(run.plans());
}

// One request of one head, whose values count its tokens: attention's plan, made again with another window.
TEST(Ffi, PlansMadeAgainHaveTheirArraysAsTheyWere) {
  std::array<std::int32_t, 2> qo_indptr = {0, 1}, kv_indptr = {0, 4};
  std::array<float, 8> q{}, out{};
  std::array<float, 32> k{}, v;
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i / 8);
  std::array<std::int64_t, 1> two = {2};
  std::array<std::int64_t, 3> q_shape = {1, 1, 8}, kv_shape = {4, 1, 8};
  const auto view = [](auto& data, auto& shape) {
    const bool whole = std::is_same_v<std::int32_t&, decltype(data[0])>;
    return StrobeTensor{data.data(),
                        1,
                        0,
                        static_cast<int>(shape.size()),
                        whole ? std::uint8_t{0} : std::uint8_t{2},
                        32,
                        1,
                        shape.data(),
                        nullptr,
                        0};
  };
  const StrobeTensor qo_view = view(qo_indptr, two), kv_view = view(kv_indptr, two),
                     q_view = view(q, q_shape), k_view = view(k, kv_shape), v_view = view(v, kv_shape),
                     out_view = view(out, q_shape);
  const Function plan("batch_attention_ragged",
                      std::vector<std::string_view>{"num_qo_heads", "num_kv_heads", "head_dim_qk", "q_dtype",
                                                    "kv_dtype", "window_left", "qo_indptr", "kv_indptr"},
                      Backend::kCpu);
  const Function again(plan, ffi::Bound::kAgain, std::vector<std::string_view>{"window_left"});
  const Function reordered(
      plan, ffi::Bound::kPlan,
      std::vector<std::string_view>{"kv_indptr", "qo_indptr", "num_qo_heads", "num_kv_heads", "head_dim_qk",
                                    "q_dtype", "kv_dtype"});
  const Function run(plan, ffi::Bound::kRun, std::vector<std::string_view>{"q", "k", "v", "out"});
  const auto mean = [&] {
    run.call(std::vector{strobe_tensor(&q_view), strobe_tensor(&k_view), strobe_tensor(&v_view),
                         strobe_tensor(&out_view)},
             {});
    return out[7];
  };
  const StrobeValue f32 = strobe_string("f32"), one = strobe_int(1);
  EXPECT_THAT([&] { again.call(std::vector{one}, {}); },
              testing::ThrowsMessage<Error>(HasSubstr("expected a successful plan before it is made again")));
  plan.call(std::vector{one, one, strobe_int(8), f32, f32, strobe_int(0), strobe_tensor(&qo_view),
                        strobe_tensor(&kv_view)},
            {});
  kv_indptr = {0, 1};
  EXPECT_FLOAT_EQ(mean(), 3);  // the last token
  again.call(std::vector{one}, {});
  EXPECT_FLOAT_EQ(mean(), 2.5f);  // the last two
  again.call(std::vector{strobe_none()}, {});
  EXPECT_FLOAT_EQ(mean(), 1.5f);  // all, as without a window
  again.call(std::vector{strobe_int(0)}, {});
  EXPECT_FLOAT_EQ(mean(), 3);
  kv_indptr = {0, 2};
  reordered.call(
      std::vector{strobe_tensor(&kv_view), strobe_tensor(&qo_view), one, one, strobe_int(8), f32, f32}, {});
  EXPECT_FLOAT_EQ(mean(), 0.5f);  // the first two
  EXPECT_THAT(
      [&] { Function(plan, ffi::Bound::kAgain, std::vector<std::string_view>{"qo_indptr"}); },
      testing::ThrowsMessage<Error>(HasSubstr("expected attributes for a plan made again, got 'qo_indptr'")));
}

TEST(Ffi, AllArgumentsInTheDeclarationsOrder) {
  Toy toy;
  const Function function(test::toy_operator<0>("toy"));
  ASSERT_EQ(function.arity(), 3u);
  function.call(std::vector{strobe_tensor(&toy.input_view), strobe_tensor(&toy.out_view), strobe_float(5)},
                {});
  EXPECT_EQ(toy.out[1], 10);
}

// The C interface's words belong to the thread that failed.
TEST(Ffi, EveryThreadHasItsOwnLastError) {
  declare_toys();
  StrobeFunction* function = nullptr;
  EXPECT_EQ(strobe_bind("no_such", nullptr, 0, "auto", &function), STROBE_INVALID_ARGUMENT);
  const std::string here = strobe_last_error();
  std::thread([] {
    EXPECT_STREQ(strobe_last_error(), "");
    EXPECT_EQ(strobe_bind(nullptr, nullptr, 0, "auto", nullptr), STROBE_INVALID_ARGUMENT);
    EXPECT_THAT(strobe_last_error(), HasSubstr("got a null pointer"));
  }).join();
  EXPECT_EQ(strobe_last_error(), here);
  EXPECT_EQ(strobe_bind("toy", nullptr, 1, "auto", &function), STROBE_INVALID_ARGUMENT);
  EXPECT_EQ(strobe_call(nullptr, nullptr, 0, nullptr), STROBE_INVALID_ARGUMENT);
  EXPECT_EQ(strobe_bind_run(nullptr, nullptr, 0, &function), STROBE_INVALID_ARGUMENT);
  EXPECT_EQ(strobe_retain(nullptr), nullptr);
  strobe_release(nullptr);
}

TEST(Ffi, LaunchesOfAnotherSize) {
  declare_toys();
  StrobeFunction* function = nullptr;
  ASSERT_EQ(strobe_bind("toy", nullptr, 0, "cpu", &function), STROBE_OK);
  StrobeLaunch launch{.size = sizeof(StrobeLaunch) - 1, .stream = nullptr};
  EXPECT_EQ(strobe_call(function, nullptr, 0, &launch), STROBE_INVALID_ARGUMENT);
  EXPECT_THAT(strobe_last_error(), HasSubstr("launch->size"));
  launch.size = sizeof(StrobeLaunch) + 8;  // of a later header: what the library does not know is left
  EXPECT_EQ(strobe_call(function, nullptr, 0, &launch), STROBE_INVALID_ARGUMENT);
  EXPECT_THAT(strobe_last_error(), HasSubstr("toy: input"));
  strobe_release(function);
}

}  // namespace
}  // namespace strobe
