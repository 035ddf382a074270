// What emulated device code asks of the driver that runs it (tests/fake/driver). Included by both, in a
// translation unit without the host's headers too: builtin types only.
#pragma once

namespace emulated {

struct Index3 {
  unsigned x, y, z;
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
  // One on global memory that all blocks may do; whether it orders what happens before and behind it.
  void (*atomic_of_grid)(const void* address, unsigned long bytes, bool orders);
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
  int capability;  // 90 for sm_90 and sm_90a
};

inline constexpr char kModuleSymbol[] = "emulated_module";

}  // namespace emulated
