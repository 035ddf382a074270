// What emulated device code asks of the driver that runs it (tests/fake/driver). Included by both, in a
// translation unit without the host's headers too: builtin types only.
#pragma once

namespace emulated {

struct Index3 {
  unsigned x, y, z;
};

// A CUtensorMap of the emulated driver.
struct TensorMapContent {
  unsigned long address;
  unsigned long size[5], stride[4];  // elements; bytes of axes 1, 2, …
  unsigned short box[5];             // elements
  unsigned char rank, element_bytes;
  unsigned char permutes;  // 16-byte chunk c of 128-byte row r is at c ^ r % 8
  unsigned char is_map;    // kIsMap
};
static_assert(sizeof(TensorMapContent) <= 128);
inline constexpr unsigned char kIsMap = 0xa5;

// An operand of a warpgroup's product in shared memory, in panels of 128-byte rows, or of 32-byte rows.
struct MatrixPlace {
  unsigned long address;  // null: in registers
  unsigned panel_bytes, eight_rows_bytes, row_bytes;
  bool across_k;  // rows of the panels are rows of B
};

// One thread's part of D[64 x columns] += A[64 x depth] B[depth x columns]: 32 bytes deep.
struct Product {
  float* sums;
  unsigned a_registers[4];
  MatrixPlace a, b;
  int columns;
  int dtype;
  bool add;
};

// The driver's side: where the running thread stands, and what it cannot do alone.
struct Machine {
  Index3 thread, block, block_dim, grid_dim;
  char* dynamic_shared;
  unsigned cluster_rank;

  // Ends the launch with that fault of the running thread.
  void (*fail)(const char* what);
  // Before every access to memory; `alignment` is what the instruction asks for.
  void (*access)(const void* address, unsigned long bytes, unsigned long alignment, bool write);
  // The same for an atomic operation, which reads and writes and does not race with its kind.
  void (*atomic)(const void* address, unsigned long bytes);
  // Before an atomic operation through which blocks order what they do before and behind it.
  void (*release_acquire)(const void* address);
  // Before a read of what may be read before the kernel before has ended.
  void (*access_settled)(const void* address, unsigned long bytes);
  void (*wait_for_block)();
  void (*wait_for_cluster)();
  // Where the block of that rank in the cluster has what lies at an address of dynamic shared memory.
  const void* (*of_rank)(const void* shared, unsigned rank);
  // Once all of `lanes` have come, calls `act` with what they gave, in the order of the lanes (null: does not
  // take part), and goes on with all.
  void (*meet)(unsigned lanes, void* given, void (*act)(void* const* of_lanes));
  // What the warp has done before is ordered before what it does afterwards.
  void (*sync_warp)();
  // From null come zeros.
  void (*copy_async)(void* shared, const void* global, unsigned long bytes);
  void (*end_copy_group)();
  void (*wait_for_copies)(int groups);
  void (*wait_for_kernel_before)();
  // kernels/ptx/mbarrier.h, named_barrier.h; addresses are those of shared memory.
  void (*init_barrier)(unsigned long barrier, unsigned arrivals);
  void (*publish_barriers)();
  void (*arrive)(unsigned long barrier, unsigned bytes);
  void (*wait_for_phase)(unsigned long barrier, unsigned parity);
  void (*sync_threads)(int barrier, int threads);
  // kernels/ptx/tensor_copy.h; `at`: four coordinates.
  void (*copy_box)(unsigned long to, const void* map, unsigned long barrier, const int* at);
  void (*store_box)(const void* map, unsigned long from, const int* at);
  void (*end_store_group)();
  void (*wait_for_stores)();
  void (*order_before_async)();
  // kernels/ptx/wgmma.h.
  void (*begin_products)();
  void (*multiply)(const Product& product);
  void (*end_products)();
  void (*wait_for_products)(int groups);
  // Conversions to and from the bits of a strobe::Dtype.
  unsigned (*narrow)(float value, int dtype);
  float (*widen)(unsigned bits, int dtype);
};

// The code's side: its symbol kModuleSymbol is a Module.
struct Entry {
  const char* name;
  unsigned long params_bytes;
  int max_threads;  // of a block, by __launch_bounds__
  void (*call)(const void* params);
};

struct Module {
  Machine** machine;  // to be set before a call
  const Entry* entries;
  int entry_count;
  int capability;        // 90 for sm_90 and sm_90a
  int shared_alignment;  // that the code declares for its dynamic shared memory
};

inline constexpr char kModuleSymbol[] = "emulated_module";

}  // namespace emulated
