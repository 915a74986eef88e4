#pragma once

#include <string>
#include <vector>

#include "common/config/spec_value.h"
#include "tidemark/v1/spec.pb.h"

namespace tidemark {

// What is wrong with a specification that did not come from a project file.
struct SpecProblem {
  // Path in the specification, e.g. "source.watermark", "target.key[1]".
  std::string field;
  // One line, printable; never holds a DSN.
  std::string description;
  // Else it is worth knowing, but the job would run.
  bool error = true;
};

// What else there is for a job to get along with.
struct JobNeighbours {
  std::vector<v1::ConnectionSpec> connections;
  // A job of the judged one's name is that job as it was.
  std::vector<v1::JobSpec> jobs;
};

// Judges a specification by the table of keys and the rules of the project file, in its words, and completes it: an
// absent value becomes the default that the file's key has. A number 0, an empty text and an unspecified choice are
// absent; `enabled` is as it stands. No problems at all: nothing is wrong.
std::vector<SpecProblem> CheckJobSpec(const JobNeighbours& neighbours, const ValueChecks& checks, v1::JobSpec* job);

// The same. A DSN that holds a reference is for the worker that resolves it to judge; the path of a local file must be
// absolute.
std::vector<SpecProblem> CheckConnectionSpec(const ValueChecks& checks, v1::ConnectionSpec* connection);

// Whether any of them is an error.
bool HasError(const std::vector<SpecProblem>& problems);

}  // namespace tidemark
