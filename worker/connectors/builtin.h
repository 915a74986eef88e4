#pragma once

#include "worker/connector/connector.h"

namespace tidemark {

// Every connector of this build: the one list a new connector is added to.
ConnectorRegistry BuiltinConnectors();

}  // namespace tidemark
