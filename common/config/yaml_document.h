#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/config/diagnostics.h"

namespace tidemark {

// A YAML document with the place of everything in it. Aliases are followed; tags are not.
struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap };
  struct Entry;

  Kind kind = Kind::kNull;
  // kScalar.
  std::string text;
  // Quoted scalars are text, whatever they look like.
  bool quoted = false;
  Location at;
  // kList.
  std::vector<YamlNode> items;
  // kMap, in the file's order, repeated keys included.
  std::vector<Entry> entries;
};

struct YamlNode::Entry {
  std::string key;
  Location at;
  YamlNode value;
};

// Reads one document; an empty text is a kNull node. Syntax errors, keys that are no scalars, a second document and
// absurd sizes are added to `diagnostics`, and what could be read is returned.
YamlNode ReadYaml(std::string_view text, Diagnostics* diagnostics);

}  // namespace tidemark
