#include "tests/integration/project.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "absl/time/time.h"

namespace tidemark::test {
namespace {

// Far beyond what any test here takes: a run that hangs fails with what it had said.
constexpr absl::Duration kPatience = absl::Minutes(60);

}  // namespace

const nlohmann::json& RunOutcome::job() const {
  if (jobs.size() != 1) {
    std::fprintf(stderr, "%zu jobs in the output, exit code %d: %s\n", jobs.size(), exit_code, err.c_str());
    std::abort();
  }
  return jobs.front();
}

Project::Project(const std::string& yaml) { Write(yaml); }

void Project::Write(const std::string& yaml) { directory_.Write("tidemark.yaml", yaml); }

std::vector<std::string> Project::Arguments(const std::vector<std::string>& args) const {
  std::vector<std::string> command = {TidemarkProgram(), "run", file(), "-o", "ndjson"};
  command.insert(command.end(), args.begin(), args.end());
  return command;
}

std::unique_ptr<Process> Project::Start(const std::vector<std::string>& args) {
  return Process::Start(Arguments(args)).value();
}

RunOutcome Project::Finish(Process& process) {
  RunOutcome outcome;
  outcome.exit_code = process.Wait(kPatience).value();
  outcome.err = process.err();
  const std::string out = process.out();
  for (size_t start = 0; start < out.size();) {
    size_t end = out.find('\n', start);
    if (end == out.npos) end = out.size();
    if (end > start) outcome.jobs.push_back(nlohmann::json::parse(out.substr(start, end - start)));
    start = end + 1;
  }
  return outcome;
}

RunOutcome Project::Run(const std::vector<std::string>& args) { return Finish(*Start(args)); }

std::string TidemarkProgram() {
  if (const char* program = std::getenv("TIDEMARK_BIN")) return program;
  return std::filesystem::read_symlink("/proc/self/exe").replace_filename("tidemark").string();
}

bool Balances(const nlohmann::json& job) {
  return job.at("rows_read").get<int64_t>() == job.at("rows_loaded").get<int64_t>() +
                                                   job.at("rows_filtered").get<int64_t>() +
                                                   job.at("rows_quarantined").get<int64_t>();
}

}  // namespace tidemark::test
