#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace tidemark {

// The scheme of a DSN, "postgresql" of "postgresql://HOST/DATABASE"; empty if it does not start with one (a lower-case
// letter, then lower-case letters, digits, +, - and . up to a colon). A view into `dsn`.
std::string_view DsnScheme(std::string_view dsn);

// The path of a DSN that is a scheme and a local file or folder: "a.db" of sqlite:a.db and of sqlite://a.db, "/a.db" of
// sqlite:/a.db and of sqlite:///a.db. May be empty. None for any other scheme. A view into `dsn`.
std::optional<std::string_view> DsnLocalPath(std::string_view dsn);

// What a connection string of PostgreSQL is answered with that cannot be read. Shows no part of it.
absl::Status UnreadablePostgresUrl();

// Whether libpq and people see the same parts in a postgresql:// URL: an unencoded @ or / in a password makes libpq
// take a part of it for a host, a port or a database, and show it. UnreadablePostgresUrl if not, or if this is no such
// URL.
absl::Status CheckPostgresUrl(std::string_view dsn);

}  // namespace tidemark
