#include "worker/connector/connector.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/model/dsn.h"

namespace tidemark {

void ConnectorRegistry::Add(std::string scheme, std::shared_ptr<Connector> connector) {
  connectors_[std::move(scheme)] = std::move(connector);
}

absl::StatusOr<Connector*> ConnectorRegistry::Find(std::string_view dsn) const {
  const auto found = connectors_.find(DsnScheme(dsn));
  if (found != connectors_.end()) return found->second.get();
  return absl::NotFoundError(absl::StrCat("the DSN's scheme is not one of ",
                                          absl::StrJoin(connectors_, ", ", [](std::string* out, const auto& entry) {
                                            absl::StrAppend(out, entry.first, ":");
                                          })));
}

}  // namespace tidemark
