// Writes the source of one exported function in tvm-ffi's convention for each operator that has no plan:
// `write_tvm_exports OUTPUT`. Run by the build with the declarations linked in, so that they are the only
// list.
#include <cstdio>
#include <fstream>

#include "op/operator.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: write_tvm_exports OUTPUT\n");
    return 2;
  }
  std::ofstream out(argv[1]);
  out << "// Written by src/ffi/write_tvm_exports.cc from the declarations.\n#include \"ffi/tvm_call.h\"\n";
  for (const strobe::op::Operator* op : strobe::op::registry().all()) {
    if (op->make_planned != nullptr) continue;
    out << "\nextern \"C\" STROBE_API int __tvm_ffi_" << op->name
        << "(void*, const StrobeValue* args, std::int32_t count, StrobeValue* result) {\n"
           "  static std::atomic<const strobe::ffi::Function*> bound;\n"
           "  return strobe::ffi::tvm::call_operator(\""
        << op->name << "\", bound, args, count, result);\n}\n";
  }
  return out.flush() ? 0 : 1;
}
