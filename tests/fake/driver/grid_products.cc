// Products of matrices by a warpgroup's tensor cores. They are computed when a warp waits for them, from what
// lies in shared memory then.
#include <algorithm>
#include <utility>

#include "grid.h"
#include "strobe/dtype.h"

namespace emulated {
namespace {

constexpr int kRows = 16, kMostDepth = 32;  // of a warp's part; of one product, 32 bytes along K
constexpr unsigned kGroupThreads = 128, kGroupWarps = 4;
constexpr std::uintptr_t kRowBytes = 128;
constexpr int kDepthBytes = 32, kPieceBytes = 16;

int element_bytes(const Product& product) {
  return static_cast<int>(strobe::size_of(static_cast<strobe::Dtype>(product.dtype)));
}
int depth_of(const Product& product) { return kDepthBytes / element_bytes(product); }

bool same(const MatrixPlace& a, const MatrixPlace& b) {
  return a.address == b.address && a.panel_bytes == b.panel_bytes &&
         a.eight_rows_bytes == b.eight_rows_bytes && a.row_bytes == b.row_bytes && a.across_k == b.across_k;
}

// Chunk c of row r, counted from the address as if nothing were permuted.
std::uintptr_t permuted(std::uintptr_t address, const MatrixPlace& place) {
  const std::uintptr_t rows = place.row_bytes == kRowBytes ? 7 : 1;
  return address ^ (address >> 7 & rows) << 4;
}

std::uintptr_t row_at(const MatrixPlace& place, int row) {
  return place.address + static_cast<std::uintptr_t>(row / 8) * place.eight_rows_bytes +
         static_cast<std::uintptr_t>(row % 8) * place.row_bytes;
}

}  // namespace

void Grid::bind_products(Machine& machine) {
  machine.begin_products = [] { instance().current().begun = true; };
  machine.multiply = [](const Product& product) { instance().multiply(product); };
  machine.end_products = [] {
    Thread& thread = instance().current();
    thread.begun = false;
    thread.product_groups.push_back(std::exchange(thread.products, {}));
  };
  machine.wait_for_products = [](int groups) {
    instance().wait_for_products(static_cast<std::size_t>(groups));
  };
}

void Grid::multiply(const Product& product) {
  use_order();
  Thread& thread = current();
  if (!thread.begun) fail(kLaunchFailed, "multiplies without begin_products()");
  thread.products.push_back(product);
  const auto index = static_cast<unsigned>(fibers_.current());
  if (index / kGroupThreads * kGroupThreads + kGroupThreads > static_cast<unsigned>(block_threads_))
    fail(kLaunchFailed, "multiplies in no whole warpgroup");
  if (index % kWarpThreads != 0) return;
  // From here on the operands may be read: one lane looks at what all of the warp need.
  float a[kRows][kMostDepth], b[kMostDepth][256];
  read_rows(product, index / kWarpThreads % kGroupWarps, a, b);
}

void Grid::wait_for_products(std::size_t groups) {
  constexpr unsigned kAllLanes = 0xffffffff;
  current().groups_wanted = groups;
  meet(kAllLanes, &current(), [](void* const* lanes) { instance().finish_group(lanes); });
}

// All groups of the warp but the last ones that may stay under way.
void Grid::finish_group(void* const* lanes) {
  const auto thread_of = [&](unsigned lane) -> Thread& { return *static_cast<Thread*>(lanes[lane]); };
  const unsigned warp = static_cast<unsigned>(fibers_.current()) / kWarpThreads % kGroupWarps;
  const Thread& first = thread_of(0);
  for (unsigned lane = 1; lane < kWarpThreads; ++lane)
    if (thread_of(lane).product_groups.size() != first.product_groups.size() ||
        thread_of(lane).groups_wanted != first.groups_wanted)
      fail(kLaunchFailed, "lanes of a warp disagree on how many products are under way");
  while (first.product_groups.size() > first.groups_wanted) {
    const std::size_t count = first.product_groups.front().size();
    for (std::size_t i = 0; i < count; ++i) {
      const Product* products[kWarpThreads];
      for (unsigned lane = 0; lane < kWarpThreads; ++lane) {
        const std::vector<Product>& group = thread_of(lane).product_groups.front();
        if (group.size() != count) fail(kLaunchFailed, "lanes of a warp disagree on what they multiply");
        products[lane] = &group[i];
      }
      compute(products, warp);
    }
    for (unsigned lane = 0; lane < kWarpThreads; ++lane) thread_of(lane).product_groups.pop_front();
  }
}

// Rows of A that the warp has, and B, as far as they lie in shared memory.
void Grid::read_rows(const Product& product, unsigned warp, float (*a)[kMostDepth], float (*b)[256]) {
  const int bytes = element_bytes(product), elements = kPieceBytes / bytes, depth = depth_of(product);
  const int panel_columns = static_cast<int>(kRowBytes) / bytes;
  if (product.b.across_k && bytes == 1) fail(kLaunchFailed, "multiplies 8-bit elements that lie across K");
  const auto read_piece = [&](const MatrixPlace& place, std::uintptr_t address, auto store) {
    read_async(permuted(address, place), kPieceBytes);
    const auto* piece = reinterpret_cast<const unsigned char*>(permuted(address, place));
    for (int i = 0; i < elements; ++i) {
      const unsigned value = bytes == 1 ? piece[i] : piece[2 * i] | piece[2 * i + 1] << 8;
      store(i, machine_.widen(value, product.dtype));
    }
  };
  if (product.a.address != 0)
    for (int row = 0; row < kRows; ++row)
      for (int k = 0; k < depth; k += elements)
        read_piece(
            product.a,
            row_at(product.a, static_cast<int>(warp) * kRows + row) + static_cast<std::uintptr_t>(k * bytes),
            [&](int i, float x) { a[row][k + i] = x; });
  for (int n = 0; n < product.columns; n += product.b.across_k ? elements : 1)
    for (int k = 0; k < depth; k += product.b.across_k ? 1 : elements) {
      if (product.b.across_k)
        read_piece(product.b,
                   row_at(product.b, k) +
                       static_cast<std::uintptr_t>(n / panel_columns) * product.b.panel_bytes +
                       static_cast<std::uintptr_t>(n % panel_columns * bytes),
                   [&](int i, float x) { b[k][n + i] = x; });
      else
        read_piece(product.b, row_at(product.b, n) + static_cast<std::uintptr_t>(k * bytes),
                   [&](int i, float x) { b[k + i][n] = x; });
    }
}

void Grid::compute(const Product* const* lanes, unsigned warp) {
  const Product& first = *lanes[0];
  float a[kRows][kMostDepth], b[kMostDepth][256];
  read_rows(first, warp, a, b);
  for (unsigned lane = 0; lane < kWarpThreads; ++lane) {
    const Product& product = *lanes[lane];
    if (!same(product.a, first.a) || !same(product.b, first.b) || product.columns != first.columns ||
        product.dtype != first.dtype || product.add != first.add)
      fail(kLaunchFailed, "lanes of a warp disagree on what they multiply");
    if (first.a.address != 0) continue;
    const unsigned g = lane / 4, c = lane % 4;
    const auto in_word = static_cast<unsigned>(4 / element_bytes(first)), bits = 32 / in_word;
    for (unsigned word = 0; word < 4; ++word)
      for (unsigned i = 0; i < in_word; ++i)
        a[g + word % 2 * 8][in_word * c + i + word / 2 * 4 * in_word] =
            machine_.widen(product.a_registers[word] >> bits * i & ((1u << bits) - 1), product.dtype);
  }
  for (unsigned lane = 0; lane < kWarpThreads; ++lane) {
    const unsigned g = lane / 4, c = lane % 4;
    for (int j = 0; j < first.columns / 8; ++j)
      for (unsigned h = 0; h < 2; ++h)
        for (unsigned i = 0; i < 2; ++i) {
          float& sum = lanes[lane]->sums[4 * j + static_cast<int>(2 * h + i)];
          float total = first.add ? sum : 0.0f;
          for (int k = 0; k < depth_of(first); ++k)
            total += a[8 * h + g][k] * b[k][8 * j + static_cast<int>(2 * c + i)];
          sum = total;
        }
  }
}

// Sums of products that nobody has waited for are the tensor cores'.
void Grid::check_sums(const Thread& thread, std::uintptr_t address, std::size_t bytes) {
  const auto check = [&](const std::vector<Product>& products) {
    for (const Product& product : products) {
      const auto begin = reinterpret_cast<std::uintptr_t>(product.sums);
      const std::size_t size = static_cast<std::size_t>(product.columns) / 2 * sizeof(float);
      if (address < begin + size && begin < address + bytes)
        fail(kLaunchFailed, "touches sums of products that it has not waited for");
    }
  };
  check(thread.products);
  for (const std::vector<Product>& group : thread.product_groups) check(group);
}

// Of a thread that ends.
void Grid::check_end() {
  const Thread& thread = current();
  if (!thread.products.empty() || !thread.product_groups.empty())
    fail(kLaunchFailed, "ends with products that it has not waited for");
  if (!thread.stores.empty() || !thread.storing.empty())
    fail(kLaunchFailed, "ends with stores that it has not waited for");
}

}  // namespace emulated
