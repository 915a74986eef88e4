#include "common/model/connection_identity.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/absl_view.h"
#include "common/model/dsn.h"

namespace tidemark {
namespace {

struct ServerScheme {
  std::string_view scheme;
  // Schemes that speak to one kind of server have one name.
  std::string_view name;
  std::string_view default_port;
  // Where a DSN names no database, it is the one that has the user's name.
  bool database_of_user;
};

constexpr ServerScheme kServerSchemes[] = {
    {"postgresql", "postgresql", "5432", true},
    {"postgres", "postgresql", "5432", true},
    {"mysql", "mysql", "3306", false},
    {"mariadb", "mysql", "3306", false},
};

// "host:port" or "[v6]:port" -> lower-case host with its port.
std::string HostAndPort(std::string_view authority, std::string_view default_port) {
  const size_t bracket = authority.rfind(']');
  const size_t colon = authority.rfind(':');
  const bool has_port = colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket);
  const std::string_view host = has_port ? authority.substr(0, colon) : authority;
  const std::string_view port = has_port ? authority.substr(colon + 1) : std::string_view();
  return absl::StrCat(absl::AsciiStrToLower(Abs(host)), ":", Abs(port.empty() ? default_port : port));
}

// Empty if this is no URL of a server.
std::string ServerIdentity(const ServerScheme& scheme, std::string_view rest) {
  if (!rest.starts_with("//")) return "";
  rest.remove_prefix(2);
  const size_t question = rest.find('?');
  const std::string_view query = question == std::string_view::npos ? std::string_view() : rest.substr(question + 1);
  rest = rest.substr(0, question);
  const size_t slash = rest.find('/');
  std::string_view authority = rest.substr(0, slash);
  std::string database(slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1));
  std::string user;
  // A password may hold an @ of its own.
  if (const size_t at = authority.rfind('@'); at != std::string_view::npos) {
    user = std::string(authority.substr(0, std::min(at, authority.find(':'))));
    authority.remove_prefix(at + 1);
  }

  std::string host = HostAndPort(authority, scheme.default_port);
  std::string host_parameter;
  std::string port_parameter;
  for (absl::string_view parameter : absl::StrSplit(Abs(query), '&', absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> pair = absl::StrSplit(parameter, absl::MaxSplits('=', 1));
    if (pair.first == "host") host_parameter = std::string(pair.second);
    if (pair.first == "port") port_parameter = std::string(pair.second);
    if (pair.first == "dbname") database = std::string(pair.second);
    if (pair.first == "user") user = std::string(pair.second);
  }
  if (!host_parameter.empty() || !port_parameter.empty()) {
    const std::string plain = host_parameter.empty() ? host.substr(0, host.rfind(':')) : host_parameter;
    const std::string port = port_parameter.empty() ? host.substr(host.rfind(':') + 1) : port_parameter;
    host = absl::StrCat(absl::AsciiStrToLower(plain), ":", port);
  }
  // Without either, the database is that of the worker's account: one for all such DSNs.
  if (database.empty() && scheme.database_of_user) database = user;
  return absl::StrCat(Abs(scheme.name), "://", host, "/", database);
}

}  // namespace

std::string ConnectionIdentity(const v1::ConnectionSpec& connection) {
  const std::string_view dsn = connection.dsn();
  const std::string_view scheme = DsnScheme(dsn);
  if (const auto path = DsnLocalPath(dsn)) return absl::StrCat(Abs(scheme), ":", Abs(*path));
  for (const ServerScheme& known : kServerSchemes) {
    if (scheme != known.scheme) continue;
    if (std::string identity = ServerIdentity(known, dsn.substr(scheme.size() + 1)); !identity.empty()) return identity;
  }
  return absl::StrCat("connection:", connection.name());
}

std::vector<v1::ConnectionSpec> ServersOf(const v1::ConnectionSpec& connection) {
  std::vector<v1::ConnectionSpec> servers = {connection};
  servers[0].clear_replicas();
  for (int i = 0; i < connection.replicas_size(); ++i) {
    v1::ConnectionSpec& replica = servers.emplace_back(servers[0]);
    replica.set_name(absl::StrCat(connection.name(), "/replicas/", i));
    replica.set_dsn(connection.replicas(i));
  }
  return servers;
}

}  // namespace tidemark
