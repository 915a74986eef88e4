#pragma once

#include "worker/connector/connector.h"
#include "worker/connectors/adbc/adbc_driver_library.h"

namespace tidemark {

// Every connector of this build: the one list a new connector is added to. `drivers`: what adbc: may load; nothing,
// unless whoever starts the process says so.
ConnectorRegistry BuiltinConnectors(const adbc::DriverPolicy& drivers = {});

}  // namespace tidemark
