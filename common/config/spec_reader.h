#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/config/diagnostics.h"
#include "common/config/project_keys.h"
#include "common/config/reference.h"
#include "common/config/yaml_document.h"
#include "google/protobuf/message.h"

namespace tidemark {

// Where every key and value of the file stands, by path.
using Places = std::map<std::string, Location, std::less<>>;

// Fills messages from YAML as the table of keys says: unknown, repeated and missing keys, wrong types and values that
// cannot be read are added to the diagnostics, all of them.
class SpecReader {
 public:
  struct Checks {
    // Judge a cron expression and a DSN; absent: anything goes.
    std::function<absl::Status(std::string_view cron)> cron;
    std::function<absl::Status(std::string_view dsn)> dsn;
  };

  // The pointers must outlive the reader.
  SpecReader(const ReferenceSources* sources, const Checks* checks, Diagnostics* diagnostics)
      : sources_(*sources), checks_(*checks), diagnostics_(*diagnostics) {}

  // Calls `entry(name, node, path)` for every entry of the named mapping at the top-level key `key` whose name is fit.
  // Repeated names and a mapping that is missing or empty are errors.
  void ReadNamed(const YamlNode& root, const ProjectKey& key,
                 const std::function<void(const YamlNode::Entry& entry, const std::string& path)>& entry);

  // Fills `message` from a mapping; null is an empty one.
  void ReadMapping(const YamlNode& node, const std::vector<ProjectKey>& keys, const std::string& path,
                   google::protobuf::Message* message);

  // Unknown and repeated keys alone.
  void CheckNames(const YamlNode& node, const std::vector<ProjectKey>& keys, const std::string& path);

  const Places& places() const { return places_; }

 private:
  void ReadValue(const YamlNode& node, const ProjectKey& key, const std::string& path,
                 google::protobuf::Message* message);
  void ReadScalar(const YamlNode& node, const ProjectKey& key, const std::string& path,
                  const google::protobuf::FieldDescriptor& field, google::protobuf::Message* message);
  void ReadList(const YamlNode& node, const ProjectKey& key, const std::string& path,
                const google::protobuf::FieldDescriptor& field, google::protobuf::Message* message);
  void SetScalar(const std::string& text, std::string_view shown, Location at, const ProjectKey& key,
                 const std::string& path, const google::protobuf::FieldDescriptor& field,
                 google::protobuf::Message* message);
  // The names below a key that this version does not carry out.
  void CheckUnavailable(const YamlNode& node, const ProjectKey& key, const std::string& path);
  std::string ReadDsn(const std::string& dsn, Location at, const std::string& path);

  const ReferenceSources& sources_;
  const Checks& checks_;
  Diagnostics& diagnostics_;
  Places places_;
};

}  // namespace tidemark
