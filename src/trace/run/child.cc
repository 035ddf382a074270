#include "trace/run/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/message.h"
#include "trace/json_text.h"

extern char** environ;

namespace strobe::trace {
namespace {

using Clock = std::chrono::steady_clock;

struct Pipe {
  int read_end = -1, write_end = -1;
  Pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) fail(ErrorKind::kIo, "no pipe can be made: {}", std::strerror(errno));
    // Out of the way of the descriptors 0 to 5 that the child gets.
    read_end = fcntl(ends[0], F_DUPFD_CLOEXEC, 10);
    write_end = fcntl(ends[1], F_DUPFD_CLOEXEC, 10);
    close(ends[0]);
    close(ends[1]);
  }
};

// The members of a session, by /proc/PID/stat: "pid (name) state parent group session …", where the name may
// have brackets.
struct Process {
  pid_t pid;
  std::string name;
  char state;
};
std::vector<Process> session_of(pid_t session) {
  std::vector<Process> members;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string pid = entry.path().filename().string();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "stat");
    std::string stat;
    std::getline(file, stat);
    const std::size_t open = stat.find('('), close = stat.rfind(')');
    char state = 0;
    int parent = 0, group = 0, of_session = 0;
    if (close == std::string::npos ||
        std::sscanf(stat.c_str() + close + 1, " %c %d %d %d", &state, &parent, &group, &of_session) != 4)
      continue;
    if (of_session == session)
      members.push_back({std::stoi(pid), stat.substr(open + 1, close - open - 1), state});
  }
  return members;
}

void signal_session(pid_t session, int signal) {
  // A group is reached at once; what has left the group, one by one.
  kill(-session, signal);
  for (const Process& process : session_of(session)) kill(process.pid, signal);
}

void limit(pid_t pid, int resource, std::uint64_t value) {
  const rlimit limits{static_cast<rlim_t>(value), static_cast<rlim_t>(value)};
  prlimit(pid, static_cast<__rlimit_resource>(resource), &limits, nullptr);
}

}  // namespace

Child::Child(const std::vector<std::string>& argv, const std::string& folder, int memory,
             const ChildLimits& limits)
    : limits_(limits) {
  Pipe requests, answers, output;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  for (const auto& [from, to] :
       {std::pair(output.write_end, 1), std::pair(output.write_end, 2), std::pair(requests.read_end, 3),
        std::pair(answers.write_end, 4), std::pair(memory, 5)})
    posix_spawn_file_actions_adddup2(&actions, from, to);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  const int error = posix_spawnp(&pid_, words[0], &actions, &attributes, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  close(requests.read_end);
  close(answers.write_end);
  close(output.write_end);
  requests_ = requests.write_end;
  answers_ = answers.read_end;
  output_ = output.read_end;
  fcntl(output_, F_SETFL, O_NONBLOCK);
  fcntl(answers_, F_SETFL, O_NONBLOCK);
  if (error != 0) {
    pid_ = -1;
    fail(ErrorKind::kIo, "{} cannot be started: {}", argv[0], std::strerror(error));
  }
  limit(pid_, RLIMIT_DATA, limits.memory_bytes);
  limit(pid_, RLIMIT_CORE, 0);
}

Child::~Child() {
  if (pid_ > 0) {
    // What it has started may start more meanwhile: until nobody is left.
    for (int round = 0; round < 50; ++round) {
      signal_session(pid_, SIGKILL);
      waitpid(pid_, nullptr, WNOHANG);
      bool alive = false;
      for (const Process& process : session_of(pid_)) alive |= process.state != 'Z';
      if (!alive) break;
      usleep(2000);
    }
    waitpid(pid_, nullptr, 0);
  }
  close(requests_);
  close(answers_);
  close(output_);
}

Child::Answer Child::ask(const Json& request, std::chrono::milliseconds timeout) {
  const std::string line = one_line(request) + "\n";
  go_on();
  const Clock::time_point begin = Clock::now(), end = begin + timeout;
  // A line may be longer than the pipe, and the child may have ended: SIGPIPE is for the whole process, hence
  // the mask.
  sigset_t broken_pipe, before;
  sigemptyset(&broken_pipe);
  sigaddset(&broken_pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &broken_pipe, &before);
  bool broken = false;
  for (std::string_view rest = line; !rest.empty() && !broken;) {
    const ssize_t count = write(requests_, rest.data(), rest.size());
    if (count > 0) rest.remove_prefix(static_cast<std::size_t>(count));
    broken = count < 0 && errno != EINTR;
  }
  const timespec now{};
  if (broken) sigtimedwait(&broken_pipe, nullptr, &now);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);

  std::size_t line_end = answer_text_.find('\n');
  while (line_end == std::string::npos) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    if (left.count() <= 0) {
      stop();
      throw ChildFailure{ChildFailure::Kind::kTimeout,
                         fmt::format("no answer within {} ms", timeout.count())};
    }
    pollfd files[2] = {{answers_, POLLIN, 0}, {output_, POLLIN, 0}};
    poll(files, 2, static_cast<int>(left.count()));
    drain();
    if (output_bytes_ > limits_.output_bytes) {
      stop();
      throw ChildFailure{ChildFailure::Kind::kTooMuchOutput,
                         fmt::format("it printed more than {} MiB", limits_.output_bytes >> 20)};
    }
    char part[4096];
    const ssize_t count = read(answers_, part, sizeof part);
    if (count == 0) throw ChildFailure{ChildFailure::Kind::kEnded, ending()};
    if (count > 0) {
      answer_text_.append(part, static_cast<std::size_t>(count));
      line_end = answer_text_.find('\n', answer_text_.size() - static_cast<std::size_t>(count));
    }
  }
  const Clock::time_point answered = Clock::now();
  stop();
  const std::string answer = answer_text_.substr(0, line_end);
  answer_text_.erase(0, line_end + 1);
  try {
    return {parse_json(answer, "answer"), answered - begin};
  } catch (const Error& error) {
    throw ChildFailure{ChildFailure::Kind::kMalformedAnswer, error.what()};
  }
}

void Child::stop() { signal_session(pid_, SIGSTOP); }

void Child::go_on() { signal_session(pid_, SIGCONT); }

std::vector<std::string> Child::others() const {
  std::vector<std::string> result;
  for (const Process& process : session_of(pid_))
    if (process.pid != pid_ && process.state != 'Z')
      result.push_back(fmt::format("{} {}", process.pid, process.name));
  return result;
}

std::string Child::printed() {
  drain();
  return output_text_;
}

void Child::drain() {
  constexpr std::size_t kKept = 64 << 10;
  char part[1 << 14];
  for (ssize_t count = 0; (count = read(output_, part, sizeof part)) > 0;) {
    output_bytes_ += static_cast<std::uint64_t>(count);
    output_text_.append(part, static_cast<std::size_t>(count));
    if (output_text_.size() > 2 * kKept) output_text_.erase(0, output_text_.size() - kKept);
    if (output_bytes_ > limits_.output_bytes) break;
  }
  if (output_text_.size() > kKept) output_text_.erase(0, output_text_.size() - kKept);
}

std::string Child::ending() {
  siginfo_t status{};
  // Not reaped here: its number must stay ours until the session is gone.
  for (int round = 0; round < 100 && status.si_pid == 0; ++round) {
    if (waitid(P_PID, static_cast<id_t>(pid_), &status, WEXITED | WNOWAIT | WNOHANG) != 0) break;
    if (status.si_pid == 0) usleep(10000);
  }
  if (status.si_pid == 0) return "it closed its answers";
  if (status.si_code == CLD_EXITED) return fmt::format("it ended with exit status {}", status.si_status);
  return fmt::format("it was ended by signal {} ({})", status.si_status, strsignal(status.si_status));
}

}  // namespace strobe::trace
