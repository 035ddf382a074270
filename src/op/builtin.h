// The built-in operators.
#pragma once

namespace strobe::op {

class Registry;

// Declares the operators of every file in CMake's list STROBE_OPERATOR_FAMILIES: src/ops/<family>.cc defines
// `void declare_<family>(Registry&)`, and CMake writes the calls. An explicit call per file, because a linker
// drops registration by static initialisers from a static library.
void declare_builtin(Registry& registry);

}  // namespace strobe::op
