#include "common/config/project.h"
#include "common/config/project_keys.h"
#include "common/model/enum_names.h"
#include "nlohmann/json.hpp"

namespace tidemark {
namespace {

using Json = nlohmann::ordered_json;
using Kind = ProjectKey::Kind;

constexpr char kReference[] = R"(\$\{(env|file):[^}]+\})";

Json MappingSchema(const std::vector<ProjectKey>& keys, const google::protobuf::Descriptor& message);

// Values that are no text may also be a reference.
Json OrReference(Json schema) {
  return {{"anyOf", {std::move(schema), {{"type", "string"}, {"pattern", kReference}}}}};
}

Json ValueSchema(const ProjectKey& key, const google::protobuf::Descriptor& message) {
  const google::protobuf::FieldDescriptor* field = FieldOf(key, message).leaf;
  switch (key.kind) {
    case Kind::kBool:
      return OrReference({{"type", "boolean"}});
    case Kind::kWhole: {
      Json whole = {{"type", "integer"}, {"minimum", key.min}};
      if (key.max != std::numeric_limits<int64_t>::max()) whole["maximum"] = key.max;
      return OrReference(std::move(whole));
    }
    case Kind::kDuration:
      return OrReference({{"type", "string"}, {"pattern", R"(^([0-9.]+(d|h|m|s|ms|us))+$)"}});
    case Kind::kChoice:
      return OrReference({{"enum", EnumNames(*field->enum_type())}});
    case Kind::kTexts:
    case Kind::kDsns:
      return {{"type", "array"}, {"items", {{"type", "string"}}}, {"minItems", 1}, {"uniqueItems", true}};
    case Kind::kMapping: {
      Json mapping = MappingSchema(key.keys, *field->message_type());
      if (key.shorthand.empty()) return mapping;
      return {{"anyOf", {std::move(mapping), {{"type", "string"}}}}};
    }
    default:
      return {{"type", "string"}, {"minLength", 1}};
  }
}

Json MappingSchema(const std::vector<ProjectKey>& keys, const google::protobuf::Descriptor& message) {
  Json properties = Json::object();
  Json required = Json::array();
  for (const ProjectKey& key : keys) {
    if (!key.available) continue;
    Json value = ValueSchema(key, message);
    value["description"] = key.doc;
    if (!key.fallback.empty()) {
      value["default"] =
          key.kind == Kind::kBool || key.kind == Kind::kWhole ? Json::parse(key.fallback) : Json(key.fallback);
    }
    properties[key.name] = std::move(value);
    if (key.required) required.push_back(key.name);
  }
  Json schema = {{"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
  if (!required.empty()) schema["required"] = std::move(required);
  return schema;
}

}  // namespace

std::string ProjectJsonSchema() {
  Json properties = Json::object();
  Json required = Json::array();
  for (const ProjectKey& key : ProjectKeys()) {
    const google::protobuf::Descriptor& message =
        key.name == "jobs" ? *v1::JobSpec::descriptor() : *v1::ConnectionSpec::descriptor();
    properties[key.name] = {{"description", key.doc},
                            {"type", "object"},
                            {"minProperties", 1},
                            {"patternProperties", {{key.name_pattern, MappingSchema(key.keys, message)}}},
                            {"additionalProperties", false}};
    if (key.required) required.push_back(key.name);
  }
  const Json schema = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                       {"title", "Tidemark project file"},
                       {"type", "object"},
                       {"properties", std::move(properties)},
                       {"required", std::move(required)},
                       {"additionalProperties", false}};
  return schema.dump(2) + "\n";
}

}  // namespace tidemark
