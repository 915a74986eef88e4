#pragma once

#include <string_view>
#include <vector>

#include "common/config/diagnostics.h"
#include "common/config/project.h"
#include "common/config/spec_reader.h"
#include "tidemark/v1/spec.pb.h"

namespace tidemark {

// A job as its author wrote it, in whatever form it came. A key is named by its way in the project file from the job
// on: "source.partitions".
class WrittenJob {
 public:
  virtual ~WrittenJob() = default;
  // Whether the author gave it; a default is not given.
  virtual bool Given(std::string_view key) const = 0;
  // Whether it, or an element of the list there, has an error.
  virtual bool Wrong(std::string_view key) const = 0;
  virtual void AddError(std::string_view key, std::string_view message) = 0;
};

// The rules between the keys of one job: what a strategy needs, what excludes what, which connections must exist. `job`
// is the same, complete. A rule whose keys already have an error is not judged.
void CheckJobRules(const v1::JobSpec& job, const std::vector<v1::ConnectionSpec>& connections, WrittenJob* written);

// These rules for every job of a project, and that no two of them load one table.
void CheckRules(const Project& project, const Places& places, Diagnostics* diagnostics);

// Connectors wrap the query: a closing semicolon would end it too early.
void TrimQuery(v1::JobSpec* job);

// Of the connection of this name; nullptr if there is none.
const v1::ConnectionSpec* FindConnection(const std::vector<v1::ConnectionSpec>& connections, std::string_view name);

// Which table a job loads: the same for two connections that name one database. Empty while it names no table or an
// unknown connection.
std::string TargetIdentity(const v1::JobSpec& job, const std::vector<v1::ConnectionSpec>& connections);
// Said of the target's table of a job when `other` has that table too.
std::string AlreadyLoaded(std::string_view other);

}  // namespace tidemark
