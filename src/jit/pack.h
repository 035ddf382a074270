// A kernel cache as one file, for container images and for hosts that cannot compile: a tar archive of the
// entries' files with their SHA256SUMS in front. A pack is code; take it only from where you would take a
// library.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "jit/cache.h"

namespace strobe::jit {

// The archive of these entries; damaged ones are an Error(kIo) that names the first.
std::string pack(Cache& cache, const std::vector<EntryName>& names);

// Puts every entry of a pack into the cache; the number of entries. A pack is taken whole or not at all: any
// name that is no entry's (a path, "..", anything absolute), link, wrong or missing digest, incomplete or
// damaged entry is Error(kInvalidArgument), and nothing has been written.
std::size_t unpack(Cache& cache, std::string_view archive);

}  // namespace strobe::jit
