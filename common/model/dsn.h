#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tidemark {

// The scheme of a DSN, "postgresql" of "postgresql://HOST/DATABASE"; empty if it does not start with one (a lower-case
// letter, then lower-case letters, digits, +, - and . up to a colon). A view into `dsn`.
std::string_view DsnScheme(std::string_view dsn);

// The path of a DSN that is a scheme and a local file or folder: "a.db" of sqlite:a.db and of sqlite://a.db, "/a.db" of
// sqlite:/a.db and of sqlite:///a.db. May be empty. None for any other scheme. A view into `dsn`.
std::optional<std::string_view> DsnLocalPath(std::string_view dsn);

}  // namespace tidemark
