#include "tests/support/postgres_server.h"

#include <libpq-fe.h>
#include <pwd.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "tests/support/free_port.h"

namespace tidemark::test {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void Die(const std::string& message) {
  std::cerr << message << std::endl;
  abort();
}

// PostgreSQL refuses to run as root.
std::string ServerUser() { return geteuid() == 0 ? "postgres" : ""; }

absl::StatusOr<std::string> BinDirectory() {
  std::string newest;
  std::error_code missing;
  for (const fs::directory_entry& version : fs::directory_iterator("/usr/lib/postgresql", missing)) {
    if (fs::exists(version.path() / "bin" / "initdb")) newest = std::max(newest, (version.path() / "bin").string());
  }
  if (newest.empty()) return absl::NotFoundError("no PostgreSQL server under /usr/lib/postgresql: run ./dev setup");
  return newest;
}

absl::Status GiveToServerUser(const fs::path& directory) {
  if (ServerUser().empty()) return absl::OkStatus();
  const struct passwd* user = getpwnam(ServerUser().c_str());
  if (user == nullptr) return absl::NotFoundError("no system user postgres: run ./dev setup");
  if (lchown(directory.c_str(), user->pw_uid, user->pw_gid) != 0) return absl::ErrnoToStatus(errno, directory.string());
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory)) {
    if (lchown(entry.path().c_str(), user->pw_uid, user->pw_gid) != 0)
      return absl::ErrnoToStatus(errno, entry.path().string());
  }
  return absl::OkStatus();
}

fs::path CacheDirectory() {
  if (const char* cache = getenv("TIDEMARK_CACHE"); cache != nullptr && *cache != '\0') return cache;
  const char* home = getenv("HOME");
  return home != nullptr ? fs::path(home) / ".cache" / "tidemark"
                         : fs::path("/tmp") / absl::StrCat("tidemark-cache-", geteuid());
}

absl::Status InitDb(const std::string& bin, const fs::path& data) {
  ProcessOptions options;
  options.user = ServerUser();
  options.working_directory = data.parent_path();
  TM_ASSIGN_OR_RETURN(ProcessResult initdb,
                      RunProcess({bin + "/initdb", "--pgdata", data, "--username=postgres", "--auth=trust",
                                  "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"},
                                 absl::Minutes(2), options));
  if (initdb.exit_code != 0) return absl::InternalError(absl::StrCat("initdb: ", initdb.err));
  return absl::OkStatus();
}

// A data folder as initdb leaves it, made once per version of the server and kept: copying it takes a tenth of the
// time.
absl::StatusOr<fs::path> DataTemplate(const std::string& bin) {
  TM_ASSIGN_OR_RETURN(ProcessResult version, RunProcess({bin + "/postgres", "--version"}, absl::Seconds(30)));
  const fs::path cached = CacheDirectory() / absl::StrReplaceAll(std::string(absl::StripAsciiWhitespace(version.out)),
                                                                 {{" ", "-"}, {"(", ""}, {")", ""}, {"/", "-"}});
  if (fs::exists(cached)) return cached;
  TempDir fresh("/tmp");
  TM_RETURN_IF_ERROR(GiveToServerUser(fresh.path()));
  TM_RETURN_IF_ERROR(InitDb(bin, fresh.File("data")));
  std::error_code error;
  fs::create_directories(CacheDirectory(), error);
  // Copied beside its place and renamed, so that nothing half-made is ever seen there.
  TempDir beside(CacheDirectory().string());
  fs::copy(fresh.File("data"), beside.File("data"), fs::copy_options::recursive, error);
  if (error) return absl::InternalError(absl::StrCat("cannot keep the data folder of initdb: ", error.message()));
  fs::rename(beside.File("data"), cached, error);
  if (error && !fs::exists(cached)) return absl::InternalError(absl::StrCat(cached.string(), ": ", error.message()));
  return cached;
}

// The last line of postmaster.pid. Unlike an answer on the port it cannot come from another server.
bool IsReady(const std::string& data) {
  std::ifstream in(data + "/postmaster.pid");
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    if (number == 8) return absl::StartsWith(line, "ready");
  }
  return false;
}

// Every process of a server works in its data folder.
bool HasSessions(const fs::path& data) {
  std::error_code ignored;
  for (const fs::directory_entry& process : fs::directory_iterator("/proc", ignored)) {
    if (fs::read_symlink(process.path() / "cwd", ignored) == data) return true;
  }
  return false;
}

using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;
using Result = std::unique_ptr<PGresult, decltype(&PQclear)>;

Result RunSql(PGconn* connection, const std::string& sql) {
  if (PQstatus(connection) != CONNECTION_OK) Die(absl::StrCat("cannot connect: ", PQerrorMessage(connection)));
  PQsetNoticeProcessor(
      connection, [](void*, const char*) {}, nullptr);
  Result result(PQexec(connection, sql.c_str()), &PQclear);
  const ExecStatusType status = PQresultStatus(result.get());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY) {
    Die(absl::StrCat(PQerrorMessage(connection), "in: ", sql.substr(0, 2000)));
  }
  return result;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PostgresServer>> PostgresServer::Start(const Options& options) {
  TM_ASSIGN_OR_RETURN(const std::string bin, BinDirectory());
  TM_ASSIGN_OR_RETURN(const fs::path data_template, DataTemplate(bin));
  std::unique_ptr<PostgresServer> server(new PostgresServer(options));
  std::error_code error;
  fs::copy(data_template, server->directory_.File("data"), fs::copy_options::recursive, error);
  if (error) return absl::InternalError(absl::StrCat("cannot copy ", data_template.string(), ": ", error.message()));
  TM_RETURN_IF_ERROR(GiveToServerUser(server->directory_.path()));
  TM_RETURN_IF_ERROR(server->LaunchSomewhere());
  return server;
}

absl::StatusOr<std::unique_ptr<PostgresServer>> PostgresServer::StartStandby(const PostgresServer& primary,
                                                                             const Options& options) {
  TM_ASSIGN_OR_RETURN(const std::string bin, BinDirectory());
  Options all = primary.options_;
  all.settings.push_back(absl::StrCat("primary_conninfo = 'host=127.0.0.1 port=", primary.port_, " user=postgres'"));
  all.settings.insert(all.settings.end(), options.settings.begin(), options.settings.end());
  std::unique_ptr<PostgresServer> server(new PostgresServer(all));
  TM_RETURN_IF_ERROR(GiveToServerUser(server->directory_.path()));
  ProcessOptions backup;
  backup.user = ServerUser();
  backup.working_directory = server->directory_.path();
  TM_ASSIGN_OR_RETURN(const ProcessResult copied,
                      RunProcess({bin + "/pg_basebackup", "--pgdata", server->directory_.File("data"),
                                  "--host=127.0.0.1", absl::StrCat("--port=", primary.port_), "--username=postgres",
                                  "--wal-method=stream", "--checkpoint=fast", "--no-sync", "--write-recovery-conf"},
                                 absl::Minutes(2), backup));
  if (copied.exit_code != 0) return absl::InternalError(absl::StrCat("pg_basebackup: ", copied.err));
  TM_RETURN_IF_ERROR(server->LaunchSomewhere());
  return server;
}

absl::Status PostgresServer::LaunchSomewhere() {
  absl::Status launched;
  for (int attempt = 0; attempt < 5; ++attempt) {
    TM_ASSIGN_OR_RETURN(port_, FreePort());
    launched = Launch();
    if (!absl::IsUnavailable(launched)) break;
  }
  return launched;
}

absl::Status PostgresServer::Launch() {
  const std::string data = directory_.File("data");
  std::ofstream conf(data + "/postgresql.auto.conf", std::ios::trunc);
  conf << "listen_addresses = '127.0.0.1'\nport = " << port_ << "\nunix_socket_directories = '" << directory_.path()
       << "'\n"
       << "fsync = off\nfull_page_writes = off\nmax_wal_size = '4GB'\ntimezone = 'UTC'\nlog_timezone = 'UTC'\n";
  for (const std::string& setting : options_.settings) conf << setting << "\n";
  conf.close();
  TM_ASSIGN_OR_RETURN(const std::string bin, BinDirectory());
  ProcessOptions options;
  options.user = ServerUser();
  options.working_directory = directory_.path();
  // Immediate shutdown, for the server's backends too.
  options.death_signal = SIGQUIT;
  TM_ASSIGN_OR_RETURN(process_, Process::Start({bin + "/postgres", "-D", data}, options));
  const absl::Time deadline = absl::Now() + absl::Seconds(60);
  while (!IsReady(data)) {
    absl::StatusOr<int> ended = process_->Wait(absl::Milliseconds(5));
    const std::string said = process_->err();
    if (ended.ok() && absl::StrContains(said, "Address already in use")) return absl::UnavailableError(said);
    if (ended.ok()) return absl::InternalError(absl::StrCat("PostgreSQL ended with ", *ended, ": ", said));
    if (absl::Now() > deadline) return absl::DeadlineExceededError(absl::StrCat("PostgreSQL does not start: ", said));
  }
  return absl::OkStatus();
}

void PostgresServer::KillHard() {
  process_->KillHard();
  while (HasSessions(directory_.File("data"))) absl::SleepFor(absl::Milliseconds(1));
}

absl::Status PostgresServer::StartAgain() {
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  absl::Status launched;
  do {
    // It says "ready" as the killed server left it.
    std::error_code ignored;
    fs::remove(fs::path(directory_.File("data")) / "postmaster.pid", ignored);
    launched = Launch();
    // A session of the killed server lives a little longer.
  } while (absl::StrContains(launched.message(), "is still in use") && absl::Now() < deadline);
  return launched;
}

PostgresServer& PostgresServer::Shared() {
  static const std::unique_ptr<PostgresServer> server = [] {
    absl::StatusOr<std::unique_ptr<PostgresServer>> started = Start();
    if (!started.ok()) Die(started.status().ToString());
    return *std::move(started);
  }();
  return *server;
}

PostgresServer::~PostgresServer() {
  if (process_ == nullptr) return;
  process_->Signal(SIGQUIT);
  process_->Wait(absl::Seconds(10)).IgnoreError();
}

std::string PostgresServer::Dsn(std::string_view database) const {
  return absl::StrCat("postgresql://postgres@127.0.0.1:", port_, "/", std::string(database));
}

std::string PostgresServer::NewDatabase() {
  static std::atomic<int> last{0};
  const std::string name = absl::StrCat("test_", ++last);
  Exec(Dsn(), absl::StrCat("CREATE DATABASE ", name));
  return Dsn(name);
}

void Exec(const std::string& dsn, const std::string& sql) {
  Connection connection(PQconnectdb(dsn.c_str()), &PQfinish);
  RunSql(connection.get(), sql);
}

std::vector<std::vector<std::string>> Query(const std::string& dsn, const std::string& sql) {
  Connection connection(PQconnectdb(dsn.c_str()), &PQfinish);
  Result result = RunSql(connection.get(), sql);
  std::vector<std::vector<std::string>> rows(PQntuples(result.get()));
  for (int row = 0; row < PQntuples(result.get()); ++row) {
    for (int column = 0; column < PQnfields(result.get()); ++column) {
      const bool null = PQgetisnull(result.get(), row, column) != 0;
      rows[row].push_back(
          null ? "NULL" : std::string(PQgetvalue(result.get(), row, column), PQgetlength(result.get(), row, column)));
    }
  }
  return rows;
}

std::string Scalar(const std::string& dsn, const std::string& sql) {
  std::vector<std::vector<std::string>> rows = Query(dsn, sql);
  if (rows.empty() || rows[0].empty()) Die(absl::StrCat("no row from: ", sql));
  return rows[0][0];
}

}  // namespace tidemark::test
