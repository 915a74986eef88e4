#include "cli/value.h"
#include "yaml-cpp/yaml.h"

namespace tidemark::cli {
namespace {

struct EmitYaml {
  YAML::Emitter& out;

  void operator()(std::monostate) const { out << YAML::Null; }
  void operator()(const Value::List& list) const {
    // An empty block list would print as nothing at all.
    if (list.empty()) out << YAML::Flow;
    out << YAML::BeginSeq;
    for (const Value& value : list) std::visit(*this, value.variant());
    out << YAML::EndSeq;
  }
  void operator()(const Value::Record& record) const {
    if (record.empty()) out << YAML::Flow;
    out << YAML::BeginMap;
    for (const auto& [name, value] : record) {
      out << YAML::Key << name << YAML::Value;
      std::visit(*this, value.variant());
    }
    out << YAML::EndMap;
  }
  // Quoted whatever it looks like: "0123", "null" and "2026-01-05" stay text.
  void operator()(const std::string& text) const { out << YAML::DoubleQuoted << text; }
  // The shortest digits that are this number.
  void operator()(double number) const { out << ToJson(number, false); }
  template <typename Scalar>
  void operator()(const Scalar& scalar) const {
    out << scalar;
  }
};

}  // namespace

std::string ToYaml(const Value& value) {
  YAML::Emitter out;
  std::visit(EmitYaml{out}, value.variant());
  return std::string(out.c_str(), out.size()) + "\n";
}

}  // namespace tidemark::cli
