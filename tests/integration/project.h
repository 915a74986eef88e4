#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace tidemark::test {

// What one call of `tidemark run -o json` said.
struct RunOutcome {
  int exit_code = -1;
  // The objects of `run -o json`, one per job.
  std::vector<nlohmann::json> jobs;
  std::string err;

  // Of the only job; aborts the test with stderr if there is not exactly one.
  const nlohmann::json& job() const;
};

// A project file in a folder of its own, run by the real `tidemark` program.
class Project {
 public:
  explicit Project(const std::string& yaml);

  // Replaces the project file; the state beside it stays.
  void Write(const std::string& yaml);
  // tidemark run FILE -o json ARGS...
  RunOutcome Run(const std::vector<std::string>& args = {});
  // The same, in the background.
  std::unique_ptr<Process> Start(const std::vector<std::string>& args = {});
  // Waits for what Start began.
  static RunOutcome Finish(Process& process);

  const std::string& directory() const { return directory_.path(); }
  std::string file() const { return directory_.File("tidemark.yaml"); }

 private:
  std::vector<std::string> Arguments(const std::vector<std::string>& args) const;
  TempDir directory_;
};

// The program under test: TIDEMARK_BIN, else the one built beside this test program.
std::string TidemarkProgram();

// read = loaded + filtered + quarantined.
bool Balances(const nlohmann::json& job);

}  // namespace tidemark::test
