#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/diagnostics.h"
#include "common/config/project_keys.h"
#include "common/config/reference.h"
#include "common/config/spec_value.h"
#include "common/config/yaml_document.h"
#include "google/protobuf/message.h"

namespace tidemark {

// Where every key and value of the file stands, by path.
using Places = std::map<std::string, Location, std::less<>>;

// Fills messages from YAML as the table of keys says: unknown, repeated and missing keys, wrong types and values that
// cannot be read are added to the diagnostics, all of them.
class SpecReader {
 public:
  // What becomes of references in secret values.
  enum class SecretReferences {
    kResolved,
    // They stay as they are written, for others to resolve.
    kKept,
  };

  // The pointers must outlive the reader.
  SpecReader(const ReferenceSources* sources, SecretReferences secret_references, const ValueChecks* checks,
             Diagnostics* diagnostics)
      : sources_(*sources), secret_references_(secret_references), checks_(*checks), diagnostics_(*diagnostics) {}

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
  // The names below a key that this version does not carry out.
  void CheckUnavailable(const YamlNode& node, const ProjectKey& key, const std::string& path);
  // With the path of a local file from the project's folder. `kept`: references in it are yet to be resolved.
  std::string AbsoluteDsn(const std::string& dsn, bool kept) const;

  const ReferenceSources& sources_;
  const SecretReferences secret_references_;
  const ValueChecks& checks_;
  Diagnostics& diagnostics_;
  Places places_;
};

}  // namespace tidemark
