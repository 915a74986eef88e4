#pragma once

#include <string>

namespace tidemark::test {

// An IPv4 address of this machine that is not loopback: who calls it is, to a server, someone from elsewhere. Empty if
// there is none.
std::string OuterAddress();

}  // namespace tidemark::test
