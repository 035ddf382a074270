#include "cli/interrupt.h"

namespace strobe::cli {
namespace {

volatile std::sig_atomic_t seen = 0;

void remember(int) { seen = 1; }

}  // namespace

InterruptWatch::InterruptWatch() {
  seen = 0;
  struct sigaction action = {};
  action.sa_handler = remember;
  action.sa_flags = SA_RESTART | SA_RESETHAND;
  sigaction(SIGINT, &action, &int_before_);
  sigaction(SIGTERM, &action, &term_before_);
}

InterruptWatch::~InterruptWatch() {
  sigaction(SIGINT, &int_before_, nullptr);
  sigaction(SIGTERM, &term_before_, nullptr);
}

bool InterruptWatch::interrupted() { return seen != 0; }

}  // namespace strobe::cli
