#include "common/config/yaml_document.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/utf8.h"
#include "yaml-cpp/yaml.h"

namespace tidemark {
namespace {

// Bounds of what a person writes; aliases may grow without end, or contain themselves.
constexpr int kMaxDepth = 64;
constexpr int kMaxNodes = 200'000;

Location PlaceOf(const YAML::Mark& mark, Location otherwise) {
  return mark.is_null() || mark.line < 0 ? otherwise : Location{mark.line + 1, mark.column + 1};
}

// Where the byte at `offset` of `text` stands.
Location PlaceOf(std::string_view text, size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const size_t line = before.rfind('\n') == before.npos ? 0 : before.rfind('\n') + 1;
  return {static_cast<int>(std::count(before.begin(), before.end(), '\n')) + 1, static_cast<int>(offset - line) + 1};
}

// Plain and quoted values have these, and so do those that say what they look like anyway.
bool IsPlainTag(const std::string& tag) {
  constexpr std::string_view kPlain[] = {"",
                                         "?",
                                         "!",
                                         "tag:yaml.org,2002:str",
                                         "tag:yaml.org,2002:int",
                                         "tag:yaml.org,2002:bool",
                                         "tag:yaml.org,2002:null",
                                         "tag:yaml.org,2002:seq",
                                         "tag:yaml.org,2002:map"};
  return std::find(std::begin(kPlain), std::end(kPlain), tag) != std::end(kPlain);
}

class Converter {
 public:
  explicit Converter(Diagnostics* diagnostics) : diagnostics_(diagnostics) {}

  YamlNode Convert(const YAML::Node& from, Location parent, int depth) {
    YamlNode node;
    // The mark of nothing is that of whatever follows.
    node.at = from.IsNull() ? parent : PlaceOf(from.Mark(), parent);
    if (depth > kMaxDepth || ++nodes_ > kMaxNodes) {
      if (!refused_) diagnostics_->Add(node.at, "", "the document is nested too deep or too large");
      refused_ = true;
      return node;
    }
    if (!IsPlainTag(from.Tag())) {
      diagnostics_->Add(node.at, "",
                        absl::StrCat("the tag ", absl::StrReplaceAll(from.Tag(), {{"tag:yaml.org,2002:", "!!"}}),
                                     " has no meaning here: write the value itself"));
    }
    switch (from.Type()) {
      case YAML::NodeType::Scalar:
        node.kind = YamlNode::Kind::kScalar;
        node.text = from.Scalar();
        // yaml-cpp's tag of a plain scalar is "?", of a quoted one "!".
        node.quoted = from.Tag() != "?" && !from.Tag().empty();
        break;
      case YAML::NodeType::Sequence:
        node.kind = YamlNode::Kind::kList;
        for (const YAML::Node& item : from) node.items.push_back(Convert(item, node.at, depth + 1));
        break;
      case YAML::NodeType::Map:
        node.kind = YamlNode::Kind::kMap;
        for (const auto& pair : from) {
          const Location at = PlaceOf(pair.first.Mark(), node.at);
          if (!pair.first.IsScalar()) {
            diagnostics_->Add(at, "", "a key must be a word");
            continue;
          }
          node.entries.push_back({pair.first.Scalar(), at, Convert(pair.second, at, depth + 1)});
        }
        break;
      default:
        break;
    }
    return node;
  }

 private:
  Diagnostics* const diagnostics_;
  int nodes_ = 0;
  bool refused_ = false;
};

}  // namespace

YamlNode ReadYaml(std::string_view text, Diagnostics* diagnostics) {
  const size_t bad = FindInvalidUtf8(text);
  const size_t zero = text.find('\0');
  if (bad != text.npos || zero != text.npos) {
    diagnostics->Add(
        PlaceOf(text, std::min(bad, zero)), "",
        bad < zero ? "a byte here is no UTF-8: save the file as UTF-8" : "a zero byte: this is no text file");
    return YamlNode();
  }
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(std::string(text));
    if (documents.empty()) return YamlNode();
    if (documents.size() > 1) {
      diagnostics->Add(PlaceOf(documents[1].Mark(), Location()), "", "a project file is one YAML document");
    }
    return Converter(diagnostics).Convert(documents[0], Location(), 0);
  } catch (const YAML::Exception& error) {
    // Of a document nested some hundreds deep the library says only this.
    const bool too_deep = error.msg == YAML::ErrorMsg::BAD_FILE;
    diagnostics->Add(PlaceOf(error.mark, Location()), "",
                     too_deep ? "the document is nested too deep or too large" : absl::StrCat("not YAML: ", error.msg));
    return YamlNode();
  }
}

}  // namespace tidemark
