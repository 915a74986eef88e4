#pragma once

#include <string>

#include "tidemark/v1/spec.pb.h"

namespace tidemark::coordinator {

// What a connection's budgets belong to: server and database where the DSN tells them, so that two connections naming
// one database share one budget; else the connection's own name. Holds no user, password or parameter, and may be
// shown.
std::string ConnectionIdentity(const v1::ConnectionSpec& connection);

}  // namespace tidemark::coordinator
