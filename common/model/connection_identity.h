#pragma once

#include <string>
#include <vector>

#include "tidemark/v1/spec.pb.h"

namespace tidemark {

// Which store a connection means: server and database where the DSN tells them, so that two connections naming one
// database share one budget and cannot both load one table; else the connection's own name. A PostgreSQL DSN without a
// database means the one that has its user's name, as libpq has it. Holds no password or other parameter, and may be
// shown.
std::string ConnectionIdentity(const v1::ConnectionSpec& connection);

// The connection without its replicas, then each of those as a connection of its own, "NAME/replicas/0" and so on.
std::vector<v1::ConnectionSpec> ServersOf(const v1::ConnectionSpec& connection);

}  // namespace tidemark
