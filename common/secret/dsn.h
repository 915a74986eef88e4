#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tidemark {

// A DSN for display: user information and secrets become "***". Understands URLs
// (postgresql://user:password@host/db?password=x), of whose parameters only the well-known harmless ones keep their
// values, and keyword=value lists, quoted values included, where the names of secrets tell (password, passfile, token,
// secret, key, ...). Of adbc:DRIVER?OPTION=VALUE&... no option is shown.
std::string RedactDsn(std::string_view dsn);

// The secrets inside a DSN as they are written, and, where that differs, with %XX decoded.
std::vector<std::string> DsnPasswords(std::string_view dsn);

// RFC 3986: everything but unreserved characters as %XX.
std::string PercentEncode(std::string_view text);
// The way back; a % that is not followed by two hexadecimal digits stays.
std::string PercentDecode(std::string_view text);

}  // namespace tidemark
