#include "cli/value.h"
#include "nlohmann/json.hpp"

namespace tidemark::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ToJsonTree {
  Json operator()(std::monostate) const { return nullptr; }
  Json operator()(const Value::List& list) const {
    Json json = Json::array();
    for (const Value& value : list) json.push_back(std::visit(*this, value.variant()));
    return json;
  }
  Json operator()(const Value::Record& record) const {
    Json json = Json::object();
    for (const auto& [name, value] : record) json[name] = std::visit(*this, value.variant());
    return json;
  }
  template <typename Scalar>
  Json operator()(const Scalar& scalar) const {
    return scalar;
  }
};

}  // namespace

std::string ToJson(const Value& value, bool indented) {
  return std::visit(ToJsonTree(), value.variant())
      .dump(indented ? 2 : -1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

}  // namespace tidemark::cli
