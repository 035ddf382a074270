// Device memory: pages of this process between pages that nobody may touch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "shadow.h"

namespace emulated {

struct Allocation {
  std::uintptr_t begin = 0, end = 0;
  int device = 0;
  Cell* cells = nullptr;  // one per byte
};

// The allocation that holds the address; null when none does.
const Allocation* find_allocation(std::uintptr_t address);

// "516 bytes behind the beginning of an allocation of 512 bytes", of the last allocation before the address.
std::string describe_address(std::uintptr_t address);

}  // namespace emulated
