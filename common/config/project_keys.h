#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "google/protobuf/descriptor.h"

namespace tidemark {

// One key of the project file, or of a daemon's settings. The table of them drives the reader, the JSON Schema and the
// list of settings alike.
struct ProjectKey {
  enum class Kind {
    kText,
    // A DSN, and a list of such: its value is never shown; the path of a local file is relative to the project file.
    kDsn,
    kDsns,
    kBool,
    kWhole,
    kDuration,
    kTimeZone,
    kCron,
    // One of the names of the field's enum.
    kChoice,
    kTexts,
    // A number of bytes, as in 1GiB.
    kBytes,
    // A file or a folder: relative to the file the key stands in.
    kPath,
    // HOST:PORT, and a list of such.
    kAddress,
    kAddresses,
    kMapping,
    // A mapping from names of the user's choice to mappings of `keys`.
    kNamed,
    // The next two only below keys that this version does not carry out.
    kMappingList,
    kAnything,
  };

  std::string name = "";
  Kind kind = Kind::kText;
  std::string doc = "";
  // Field of the enclosing message, with dots; empty: the key's name.
  std::string field = "";
  bool required = false;
  // Known, but refused: this version does not carry it out.
  bool available = true;
  // Read as if it were written where the key is absent.
  std::string fallback = "";
  // kWhole and kBytes.
  int64_t min = 0;
  int64_t max = std::numeric_limits<int64_t>::max();
  // kMapping may be written as this one of its keys' value.
  std::string shorthand = "";
  // kNamed: what a name must match.
  std::string name_pattern = "";
  std::vector<ProjectKey> keys = {};
};

// The top level: connections and jobs.
const std::vector<ProjectKey>& ProjectKeys();
// The one of them of this name; there must be one.
const ProjectKey& ProjectKeyNamed(std::string_view name);

// The field a key fills, and the messages on the way to it; `leaf` is nullptr if there is none, as for some keys that
// are not available.
struct KeyField {
  std::vector<const google::protobuf::FieldDescriptor*> parents;
  const google::protobuf::FieldDescriptor* leaf = nullptr;
};
KeyField FieldOf(const ProjectKey& key, const google::protobuf::Descriptor& message);

}  // namespace tidemark
