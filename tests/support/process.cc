#include "tests/support/process.h"

// This header of glibc 2.36 forgets to say that its functions are C.
extern "C" {
#include <sys/pidfd.h>
}

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <condition_variable>
#include <cstring>
#include <future>
#include <mutex>
#include <queue>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"

namespace tidemark::test {
namespace {

// PR_SET_PDEATHSIG tells of the death of the THREAD that forked. So every child is forked by this one, which lives as
// long as the process.
class Spawner {
 public:
  static Spawner& Get() {
    static std::mutex* mutex = new std::mutex;
    static Spawner* spawner = nullptr;
    static pid_t owner = 0;
    std::lock_guard<std::mutex> lock(*mutex);
    // A fork of this process (a death test) has the object but not its thread.
    if (owner != getpid()) {
      spawner = new Spawner;
      owner = getpid();
    }
    return *spawner;
  }

  pid_t Run(std::packaged_task<pid_t()> fork_child) {
    std::future<pid_t> pid = fork_child.get_future();
    {
      std::lock_guard<std::mutex> lock(mutex_);
      queue_.push(std::move(fork_child));
    }
    queued_.notify_one();
    return pid.get();
  }

 private:
  Spawner() : thread_([this] { Loop(); }) {}

  void Loop() {
    while (true) {
      std::unique_lock<std::mutex> lock(mutex_);
      queued_.wait(lock, [this] { return !queue_.empty(); });
      std::packaged_task<pid_t()> task = std::move(queue_.front());
      queue_.pop();
      lock.unlock();
      task();
    }
  }

  std::mutex mutex_;
  std::condition_variable queued_;
  std::queue<std::packaged_task<pid_t()>> queue_;
  std::thread thread_;
};

// Everything the child needs between fork and exec, prepared before the fork: only async-signal-safe calls are allowed
// there.
struct ChildPlan {
  std::vector<char*> argv;
  std::vector<char*> envp;
  const char* directory = nullptr;
  bool change_user = false;
  uid_t uid = 0;
  gid_t gid = 0;
  int death_signal = 0;
  int out_fd = -1;
  int err_fd = -1;
  int error_fd = -1;
  pid_t parent = 0;
};

[[noreturn]] void BecomeChild(const ChildPlan& plan) {
  auto give_up = [&plan] {
    int error = errno;
    if (write(plan.error_fd, &error, sizeof(error)) < 0) _exit(126);
    _exit(127);
  };
  int null_fd = open("/dev/null", O_RDONLY);
  if (null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(plan.out_fd, 1) < 0 || dup2(plan.err_fd, 2) < 0) give_up();
  close_range(3, UINT_MAX, CLOSE_RANGE_CLOEXEC);
  if (plan.directory != nullptr && chdir(plan.directory) != 0) give_up();
  if (plan.change_user && (setgroups(0, nullptr) != 0 || setgid(plan.gid) != 0 || setuid(plan.uid) != 0)) give_up();
  // After the change of user, which clears it.
  if (prctl(PR_SET_PDEATHSIG, plan.death_signal) != 0) give_up();
  if (getppid() != plan.parent) _exit(127);
  execvpe(plan.argv[0], plan.argv.data(), plan.envp.data());
  give_up();
  _exit(127);
}

std::string ReadAll(int fd) {
  struct stat info;
  if (fstat(fd, &info) != 0) return "";
  std::string text(info.st_size, '\0');
  ssize_t size = pread(fd, text.data(), text.size(), 0);
  text.resize(size < 0 ? 0 : size);
  return text;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& string : strings) pointers.push_back(string.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> Environment(const std::map<std::string, std::string>& added) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    std::string_view text = *entry;
    if (added.count(std::string(text.substr(0, text.find('=')))) == 0) environment.emplace_back(text);
  }
  for (const auto& [name, value] : added) environment.push_back(absl::StrCat(name, "=", value));
  return environment;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Process>> Process::Start(const std::vector<std::string>& command,
                                                        const ProcessOptions& options) {
  std::vector<std::string> arguments = command;
  std::vector<std::string> environment = Environment(options.environment);
  ChildPlan plan;
  plan.argv = Pointers(arguments);
  plan.envp = Pointers(environment);
  if (!options.working_directory.empty()) plan.directory = options.working_directory.c_str();
  plan.death_signal = options.death_signal;
  plan.parent = getpid();
  if (!options.user.empty()) {
    const struct passwd* entry = getpwnam(options.user.c_str());
    if (entry == nullptr) return absl::NotFoundError(absl::StrCat("no system user ", options.user));
    plan.change_user = true;
    plan.uid = entry->pw_uid;
    plan.gid = entry->pw_gid;
  }

  std::unique_ptr<Process> process(new Process);
  // Memory files: a child that writes much never blocks on a reader, and what it wrote can be read while it runs.
  process->out_fd_ = memfd_create("stdout", MFD_CLOEXEC);
  process->err_fd_ = memfd_create("stderr", MFD_CLOEXEC);
  plan.out_fd = process->out_fd_;
  plan.err_fd = process->err_fd_;
  int error_pipe[2];
  if (plan.out_fd < 0 || plan.err_fd < 0 || pipe2(error_pipe, O_CLOEXEC) != 0) {
    return absl::ErrnoToStatus(errno, "cannot capture the output of a child");
  }
  plan.error_fd = error_pipe[1];

  pid_t pid = Spawner::Get().Run(std::packaged_task<pid_t()>([&plan] {
    pid_t forked = fork();
    if (forked == 0) BecomeChild(plan);
    return forked;
  }));
  close(error_pipe[1]);
  int child_error = 0;
  ssize_t size = read(error_pipe[0], &child_error, sizeof(child_error));
  close(error_pipe[0]);
  if (pid < 0) return absl::ErrnoToStatus(errno, "fork");
  process->pid_ = pid;
  process->pid_fd_ = pidfd_open(pid, 0);
  if (size > 0) return absl::ErrnoToStatus(child_error, absl::StrCat("cannot run ", command[0]));
  return process;
}

Process::~Process() {
  if (pid_ > 0) KillHard();
  for (int fd : {pid_fd_, out_fd_, err_fd_}) {
    if (fd >= 0) close(fd);
  }
}

void Process::Signal(int signal) {
  // By the pid's descriptor, so that a number that was given to another process is never hit.
  if (pid_fd_ >= 0) pidfd_send_signal(pid_fd_, signal, nullptr, 0);
}

void Process::KillHard() {
  Signal(SIGKILL);
  Wait(absl::InfiniteDuration()).IgnoreError();
}

absl::StatusOr<int> Process::Wait(absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (exit_code_ < 0) {
    struct pollfd waiting = {pid_fd_, POLLIN, 0};
    const absl::Duration left = std::clamp(deadline - absl::Now(), absl::ZeroDuration(), absl::Seconds(1));
    const int ready = poll(&waiting, 1, absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1))));
    if (ready > 0) {
      int status = 0;
      if (waitpid(pid_, &status, 0) != pid_) return absl::ErrnoToStatus(errno, "waitpid");
      exit_code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    } else if (absl::Now() >= deadline) {
      return absl::DeadlineExceededError(
          absl::StrCat("process ", pid_, " still runs after ", absl::FormatDuration(timeout)));
    }
  }
  return exit_code_;
}

std::string Process::out() const { return ReadAll(out_fd_); }
std::string Process::err() const { return ReadAll(err_fd_); }

absl::Status Process::WaitForOutput(const std::string& text, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (true) {
    const bool ended = Wait(absl::Milliseconds(5)).ok();
    if (absl::StrContains(out(), text) || absl::StrContains(err(), text)) return absl::OkStatus();
    const std::string said = absl::StrCat("did not print '", text, "'; stdout: ", out(), " stderr: ", err());
    if (ended) return absl::FailedPreconditionError(absl::StrCat("ended with ", exit_code_, " and ", said));
    if (absl::Now() >= deadline) return absl::DeadlineExceededError(said);
  }
}

absl::StatusOr<ProcessResult> RunProcess(const std::vector<std::string>& command, absl::Duration timeout,
                                         const ProcessOptions& options) {
  absl::StatusOr<std::unique_ptr<Process>> process = Process::Start(command, options);
  if (!process.ok()) return process.status();
  absl::StatusOr<int> exit_code = (*process)->Wait(timeout);
  if (!exit_code.ok()) {
    return absl::DeadlineExceededError(absl::StrCat(absl::StrJoin(command, " "), ": ", exit_code.status().message(),
                                                    "; stdout: ", (*process)->out(), " stderr: ", (*process)->err()));
  }
  return ProcessResult{*exit_code, (*process)->out(), (*process)->err()};
}

}  // namespace tidemark::test
