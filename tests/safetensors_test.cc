#include "core/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/strided_copy.h"
#include "support/sweep.h"

namespace strobe {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class Safetensors : public testing::Test {
 protected:
  Safetensors()
      : path_(std::filesystem::temp_directory_path() / ("strobe_safetensors_" + std::to_string(getpid()))) {}
  ~Safetensors() override { std::filesystem::remove(path_); }

  // A file with this header and so many bytes after it.
  void write_file(const std::string& header, std::size_t data_bytes) {
    std::ofstream file(path_, std::ios::binary);
    const std::uint64_t length = header.size();
    file.write(reinterpret_cast<const char*>(&length), sizeof length);
    file << header << std::string(data_bytes, '\1');
  }
  std::string read_error() {
    return test::error_message([&] { read_safetensors(path_); });
  }

  std::string path_;
};

TEST_F(Safetensors, KeepsEveryDtypeAndShape) {
  std::vector<Tensor> tensors;
  std::vector<NamedView> named;
  for (int i = 0; i < kDtypeCount; ++i) {
    const auto dtype = static_cast<Dtype>(i);
    tensors.emplace_back(dtype, std::initializer_list<std::int64_t>{3, 5});
    for (std::int64_t byte = 0; byte < tensors.back().view().bytes(); ++byte)
      tensors.back().as<unsigned char>()[byte] = static_cast<unsigned char>(byte * 7 + i);
    named.push_back({std::string(name(dtype)), tensors.back()});
  }
  tensors.emplace_back(Dtype::kF32, std::initializer_list<std::int64_t>{0, 4});
  named.push_back({"empty", tensors.back()});
  write_safetensors(path_, named);
  const auto read = read_safetensors(path_);
  ASSERT_EQ(read.size(), named.size());
  for (const NamedView& tensor : named) {
    const TensorView& got = read.at(tensor.name).view();
    ASSERT_EQ(describe(got), describe(tensor.view));
    EXPECT_EQ(std::memcmp(got.data, tensor.view.data, static_cast<std::size_t>(got.bytes())), 0)
        << tensor.name;
  }
}

TEST_F(Safetensors, StoresTheElementsOfStridedViewsDense) {
  Tensor tensor(Dtype::kF32, {4, 6});
  for (int i = 0; i < 24; ++i) tensor.as<float>()[i] = static_cast<float>(i);
  const TensorView transposed = tensor.view().permute({1, 0}).slice(0, 1, 4);
  const NamedView named[] = {{"t", transposed}};
  write_safetensors(path_, named);
  const auto read = read_safetensors(path_);
  const TensorView& got = read.at("t").view();
  ASSERT_TRUE(got.is_dense());
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 4; ++j) EXPECT_EQ(got.at<float>(i, j), static_cast<float>(j * 6 + i + 1));
}

TEST(StridedCopy, SpanOfNegativeStridesLiesBeforeTheData) {
  float memory[8] = {};
  const TensorView reversed(memory + 7, Dtype::kF32, std::array<std::int64_t, 2>{2, 3},
                            std::array<std::int64_t, 2>{-4, -1});
  EXPECT_EQ(span_of(reversed).low, -6);
  EXPECT_EQ(span_of(reversed).high, 0);
  EXPECT_EQ(span_of(TensorView(memory, Dtype::kF32, {0, 3})).elements(), 0);
}

TEST_F(Safetensors, NamesWhatIsWrongWithAFile) {
  EXPECT_THAT(read_error(), AllOf(HasSubstr(path_), HasSubstr("cannot be read")));
  { std::ofstream(path_, std::ios::binary) << "short"; }
  EXPECT_THAT(read_error(), HasSubstr("no safetensors file"));
  write_file("no JSON", 0);
  EXPECT_THAT(read_error(), HasSubstr("no JSON object"));
  { std::ofstream(path_, std::ios::binary) << std::string(16, '\xff'); }
  EXPECT_THAT(read_error(), HasSubstr("do not hold a header"));
  write_file(R"({"t":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", 8);
  EXPECT_THAT(read_error(), AllOf(HasSubstr("tensor t"), HasSubstr("got F64")));
  write_file(R"({"t":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8);
  EXPECT_THAT(read_error(), AllOf(HasSubstr("expected 12 bytes"), HasSubstr("got 0 to 8")));
  write_file(R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}})", 8);
  EXPECT_THAT(read_error(), HasSubstr("within the 8 that follow"));
  write_file(R"({"t":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8);
  EXPECT_THAT(read_error(), HasSubstr("got [-2]"));
  write_file(
      R"({"t":{"dtype":"F32","shape":[4611686018427387904,4611686018427387904],"data_offsets":[0,0]}})", 0);
  EXPECT_THAT(read_error(), HasSubstr("expected a shape of elements"));
  write_file(R"({"t":{"dtype":"F32","shape":[2]}})", 8);
  EXPECT_THAT(read_error(), HasSubstr("data_offsets"));
  write_file(R"({"__metadata__":{"made":"by hand"},"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
             8);
  EXPECT_EQ(read_safetensors(path_).size(), 1u);
}

TEST_F(Safetensors, AFullDiskIsAnError) {
  const Tensor tensor(Dtype::kF32, {1024});
  const NamedView named[] = {{"t", tensor}};
  EXPECT_THAT(test::error_message([&] { write_safetensors("/dev/full", named); }),
              AllOf(HasSubstr("/dev/full"), HasSubstr("No space")));
}

}  // namespace
}  // namespace strobe
