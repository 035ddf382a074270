#include "op/operator.h"
#include "op/routine.h"
#include "strobe/operators.h"

namespace strobe::inline v1 {

std::vector<std::string> operator_names() {
  std::vector<std::string> names;
  for (const op::Operator* op : op::registry().all()) names.push_back(op->name);
  return names;
}

std::vector<std::string> routine_names() {
  std::vector<std::string> names;
  for (const op::Operator* op : op::registry().all())
    for (const op::Routine& routine : op::routines_of(*op)) names.push_back(routine.name);
  return names;
}

}  // namespace strobe::inline v1
