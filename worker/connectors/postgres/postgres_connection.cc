#include "worker/connectors/postgres/postgres_connection.h"

#include <libpq-fe.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "common/model/dsn.h"
#include "worker/connectors/postgres/postgres_error.h"
#include "worker/connectors/postgres/postgres_name.h"

namespace tidemark::postgres {
namespace {

// A server that is busy ending a statement may miss a cancel request that came too early: it is sent again.
constexpr absl::Duration kCancelInterval = absl::Milliseconds(100);

struct ConninfoDeleter {
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
};

bool IsPortList(std::string_view text) {
  const std::vector<absl::string_view> ports = absl::StrSplit(Abs(text), ',');
  return std::all_of(ports.begin(), ports.end(), [](absl::string_view port) {
    int number = 0;
    return port.empty() || (absl::SimpleAtoi(port, &number) && number > 0 && number < 65536);
  });
}

// The password in the string, empty if there is none.
absl::StatusOr<std::string> PasswordOf(const std::string& dsn) {
  TM_RETURN_IF_ERROR(CheckPostgresUrl(dsn));
  // libpq's own message may quote a part of it, and that may be the password.
  const absl::Status bad = UnreadablePostgresUrl();

  char* error = nullptr;
  const std::unique_ptr<PQconninfoOption, ConninfoDeleter> options(PQconninfoParse(dsn.c_str(), &error));
  const std::string message = error != nullptr ? error : "";
  if (error != nullptr) PQfreemem(error);
  if (options == nullptr) {
    constexpr std::string_view kUnknownParameter = "invalid URI query parameter: ";
    if (!message.starts_with(kUnknownParameter)) return bad;
    const std::string_view name = Std(absl::StripTrailingAsciiWhitespace(message)).substr(kUnknownParameter.size());
    return absl::InvalidArgumentError(absl::StrCat("a connection string of PostgreSQL has no parameter ", Abs(name)));
  }
  std::string password;
  std::string user;
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    if (option->val == nullptr) continue;
    const std::string_view keyword = option->keyword;
    if (keyword == "port" && !IsPortList(option->val)) return bad;
    if (keyword == "password") password = option->val;
    if (keyword == "user") user = option->val;
  }
  // An encoded colon between the two: the password would be shown as a part of the user's name.
  if (password.empty() && absl::StrContains(user, ':')) return bad;
  return password;
}

// What libpq says of parameters that it takes apart only when it connects; empty if nothing. Connects to no one.
std::string BadParameter(const std::string& dsn) {
  // No socket is there: whatever else is wrong with the string comes first.
  const char* const keywords[] = {"dbname", "host", "hostaddr", "port", nullptr};
  const char* const values[] = {dsn.c_str(), "/", "", "1", nullptr};
  const std::unique_ptr<PGconn, decltype(&PQfinish)> probe(PQconnectStartParams(keywords, values, 1), &PQfinish);
  const std::string_view message = probe == nullptr ? "" : PQerrorMessage(probe.get());
  return message.starts_with("invalid ") ? std::string(absl::StripTrailingAsciiWhitespace(Abs(message))) : "";
}

// Hosts with several addresses, and sessions tried with encryption and without, repeat themselves.
std::string WithoutRepeatedLines(const std::string& message) {
  std::vector<absl::string_view> lines;
  for (const absl::string_view line : absl::StrSplit(message, '\n', absl::SkipEmpty())) {
    if (std::find(lines.begin(), lines.end(), line) == lines.end()) lines.push_back(line);
  }
  return absl::StrJoin(lines, "\n");
}

// libpq 15 keeps no SQLSTATE of a refused connection; the server's words are the only sign of what will not mend by
// itself.
absl::Status RefusedConnection(const std::string& message) {
  struct Sign {
    std::string_view words;
    absl::StatusCode code;
  };
  static constexpr Sign kSigns[] = {
      {"authentication failed", absl::StatusCode::kUnauthenticated},
      {"no password supplied", absl::StatusCode::kUnauthenticated},
      {"pg_hba.conf", absl::StatusCode::kUnauthenticated},
      {"is not permitted to log in", absl::StatusCode::kUnauthenticated},
      {"permission denied for database", absl::StatusCode::kPermissionDenied},
      {"unrecognized configuration parameter", absl::StatusCode::kInvalidArgument},
      {"invalid value for parameter", absl::StatusCode::kInvalidArgument},
  };
  const absl::Status status = ServerError("", WithoutRepeatedLines(message), false);
  for (const Sign& sign : kSigns) {
    if (absl::StrContains(message, Abs(sign.words))) return WithCode(status, sign.code);
  }
  if (!absl::StrContains(message, "does not exist")) return status;
  if (absl::StrContains(message, "role \"")) return WithCode(status, absl::StatusCode::kUnauthenticated);
  return absl::StrContains(message, "database \"") ? WithCode(status, absl::StatusCode::kNotFound) : status;
}

// What would let a session that only reads have what `refusal` ("permission denied for table orders") denies it; empty
// if that is not known.
std::string GrantFor(std::string_view refusal, std::string_view user) {
  struct Privilege {
    std::string_view object;
    std::string_view grant;
  };
  static constexpr Privilege kPrivileges[] = {
      {"table ", "SELECT ON "},         {"view ", "SELECT ON "},         {"materialized view ", "SELECT ON "},
      {"foreign table ", "SELECT ON "}, {"schema ", "USAGE ON SCHEMA "}, {"function ", "EXECUTE ON FUNCTION "}};
  absl::string_view object = Abs(refusal);
  if (!absl::ConsumePrefix(&object, "permission denied for ")) return "";
  for (const Privilege& privilege : kPrivileges) {
    if (!absl::ConsumePrefix(&object, Abs(privilege.object))) continue;
    return absl::StrCat(": GRANT ", Abs(privilege.grant), object, " TO ", QuoteIdentifier(user));
  }
  return "";
}

std::string Milliseconds(absl::Duration duration) { return absl::StrCat(absl::ToInt64Milliseconds(duration)); }

// Cell texts of a result.
Row RowOf(const PGresult* result, int row) {
  const int width = PQnfields(result);
  Row cells;
  cells.reserve(width);
  for (int column = 0; column < width; ++column) {
    if (PQgetisnull(result, row, column)) {
      cells.emplace_back(std::nullopt);
    } else {
      cells.emplace_back(std::string(PQgetvalue(result, row, column), PQgetlength(result, row, column)));
    }
  }
  return cells;
}

int64_t AffectedRows(PGresult* result) {
  const std::string_view text = PQcmdTuples(result);
  int64_t rows = 0;
  std::from_chars(text.data(), text.data() + text.size(), rows);
  return rows;
}

}  // namespace

void Connection::ResultDeleter::operator()(pg_result* result) const { PQclear(result); }

// While one exists, Cancel has something to cancel.
class Connection::Busy {
 public:
  explicit Busy(Connection* connection) : connection_(connection) { Set(true); }
  ~Busy() {
    if (connection_ != nullptr) Set(false);
  }
  // A copy goes on after the call that began it.
  void Keep() { connection_ = nullptr; }

 private:
  void Set(bool busy) {
    absl::MutexLock lock(&connection_->cancel_mutex_);
    connection_->busy_ = busy;
  }
  Connection* connection_;
};

absl::Status Connection::CheckDsn(const std::string& dsn) {
  TM_RETURN_IF_ERROR(PasswordOf(dsn).status());
  const std::string bad = BadParameter(dsn);
  return bad.empty() ? absl::OkStatus() : absl::InvalidArgumentError(bad);
}

absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(const std::string& dsn, const SessionOptions& options,
                                                             const ConnectionSettings& settings) {
  TM_ASSIGN_OR_RETURN(const std::string password, PasswordOf(dsn));
  const std::string connect_timeout = absl::StrCat(std::max<int64_t>(1, absl::ToInt64Seconds(options.connect_timeout)));
  const std::string user_timeout = Milliseconds(settings.timeouts.tcp_user_timeout);
  // The names after dbname win over what the string says.
  const char* const keywords[] = {"dbname",
                                  "application_name",
                                  "connect_timeout",
                                  "client_encoding",
                                  "tcp_user_timeout",
                                  "keepalives_idle",
                                  "keepalives_interval",
                                  "keepalives_count",
                                  nullptr};
  const char* const values[] = {dsn.c_str(),
                                options.application_name.c_str(),
                                connect_timeout.c_str(),
                                "UTF8",
                                user_timeout.c_str(),
                                "5",
                                "5",
                                "3",
                                nullptr};
  std::unique_ptr<Connection> connection(new Connection(settings));
  // The blocking call: it alone goes on to the next host, or address of one, when a timeout is over.
  connection->connection_ = PQconnectdbParams(keywords, values, /*expand_dbname=*/1);
  if (connection->connection_ == nullptr)
    return absl::ResourceExhaustedError("out of memory while connecting to PostgreSQL");
  if (PQstatus(connection->connection_) != CONNECTION_OK) {
    std::string message = PQerrorMessage(connection->connection_);
    if (!password.empty()) message = absl::StrReplaceAll(message, {{password, "***"}});
    return RefusedConnection(message);
  }
  PQsetNoticeProcessor(
      connection->connection_, [](void*, const char*) {}, nullptr);
  connection->cancel_ = PQgetCancel(connection->connection_);
  TM_RETURN_IF_ERROR(connection->Configure());
  return connection;
}

absl::Status Connection::Configure() {
  std::vector<std::pair<std::string, std::string>> wanted = {
      {"TimeZone", "UTC"},
      {"DateStyle", "ISO, YMD"},
      {"IntervalStyle", "postgres"},
      {"bytea_output", "hex"},
      {"extra_float_digits", "3"},
      {"standard_conforming_strings", "on"},
      {"xmlbinary", "base64"},
      {"lock_timeout", Milliseconds(settings_.lock_timeout)},
      {"tcp_user_timeout", Milliseconds(settings_.timeouts.tcp_user_timeout)},
      {"tcp_keepalives_idle", "5"},
      {"tcp_keepalives_interval", "5"},
      {"tcp_keepalives_count", "3"},
      {"idle_in_transaction_session_timeout", Milliseconds(settings_.timeouts.idle_in_transaction)},
  };
  if (settings_.read_only) {
    wanted.emplace_back("default_transaction_read_only", "on");
    wanted.emplace_back("max_parallel_workers_per_gather", "0");
    wanted.emplace_back("jit", "off");
  }
  std::string sql = "SELECT set_config(v.name, v.value, false) FROM (VALUES ";
  for (size_t i = 0; i < wanted.size(); ++i) {
    absl::StrAppend(&sql, i == 0 ? "" : ", ", "(", QuoteLiteral(wanted[i].first), ", ", QuoteLiteral(wanted[i].second),
                    ")");
  }
  // Older servers lack some of the names.
  absl::StrAppend(&sql,
                  ") v(name, value) WHERE EXISTS (SELECT FROM pg_settings s WHERE lower(s.name) = lower(v.name))");
  TM_RETURN_IF_ERROR(Annotate(Execute(sql).status(), "while setting up the session"));
  // Known since 14, and only on platforms that can poll for it: an error here is the platform's, not the user's.
  const absl::Status ignored =
      Execute(absl::StrCat("SELECT set_config('client_connection_check_interval', '",
                           Milliseconds(settings_.timeouts.client_check_interval), "', false)"))
          .status();
  if (!ignored.ok() && !alive()) return ignored;
  return absl::OkStatus();
}

Connection::~Connection() {
  std::optional<std::thread> canceller;
  {
    absl::MutexLock lock(&cancel_mutex_);
    closing_ = true;
    canceller = std::move(cancel_thread_);
    cancel_thread_.reset();
  }
  if (canceller.has_value()) canceller->join();
  if (copy_buffer_ != nullptr) PQfreemem(copy_buffer_);
  if (cancel_ != nullptr) PQfreeCancel(cancel_);
  if (connection_ != nullptr) PQfinish(connection_);
}

absl::Status Connection::ErrorOf(const pg_result* result) const {
  const char* sqlstate = result == nullptr ? nullptr : PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const char* primary = result == nullptr ? nullptr : PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  const char* hint = result == nullptr ? nullptr : PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
  std::string message = primary != nullptr ? primary : PQerrorMessage(connection_);
  if (hint != nullptr) absl::StrAppend(&message, "; ", hint);
  if (settings_.read_only) absl::StrAppend(&message, GrantFor(message, PQuser(connection_)));
  if (sqlstate == nullptr && cancelled()) return absl::CancelledError("cancelled");
  return ServerError(sqlstate == nullptr ? "" : sqlstate, message, cancelled());
}

absl::StatusOr<Connection::Result> Connection::Drain() {
  Result last;
  absl::Status error;
  while (pg_result* next = PQgetResult(connection_)) {
    Result result(next);
    const ExecStatusType status = PQresultStatus(next);
    if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE) {
      if (error.ok()) error = ErrorOf(next);
      if (!alive()) break;
    } else if (status == PGRES_COPY_IN) {
      PQputCopyEnd(connection_, "this statement does not copy");
    } else if (status == PGRES_COPY_OUT) {
      char* buffer = nullptr;
      while (PQgetCopyData(connection_, &buffer, 0) > 0) PQfreemem(buffer);
    }
    last = std::move(result);
  }
  if (!error.ok()) return error;
  if (last == nullptr) return ErrorOf(nullptr);
  return last;
}

absl::StatusOr<Connection::Result> Connection::Run(std::string_view sql, const std::vector<Text>& params) {
  Busy busy(this);
  if (cancelled()) return absl::CancelledError("cancelled");
  std::vector<const char*> values;
  values.reserve(params.size());
  for (const Text& param : params) values.push_back(param.has_value() ? param->c_str() : nullptr);
  // Always the extended protocol: it refuses a second statement, so what a user wrote cannot bring one along.
  if (!PQsendQueryParams(connection_, std::string(sql).c_str(), static_cast<int>(values.size()), nullptr, values.data(),
                         nullptr, nullptr, 0)) {
    return ErrorOf(nullptr);
  }
  return Drain();
}

absl::StatusOr<std::vector<Row>> Connection::Execute(std::string_view sql, const std::vector<Text>& params) {
  TM_ASSIGN_OR_RETURN(const Result result, Run(sql, params));
  std::vector<Row> rows;
  const int count = PQntuples(result.get());
  rows.reserve(count);
  for (int row = 0; row < count; ++row) rows.push_back(RowOf(result.get(), row));
  return rows;
}

absl::StatusOr<Row> Connection::ExecuteRow(std::string_view sql, const std::vector<Text>& params) {
  TM_ASSIGN_OR_RETURN(const Result result, Run(sql, params));
  if (PQntuples(result.get()) != 1) {
    return absl::InternalError(absl::StrCat("a statement of one row returned ", PQntuples(result.get())));
  }
  return RowOf(result.get(), 0);
}

absl::StatusOr<int64_t> Connection::ExecuteCommand(std::string_view sql, const std::vector<Text>& params) {
  TM_ASSIGN_OR_RETURN(const Result result, Run(sql, params));
  return AffectedRows(result.get());
}

absl::StatusOr<std::vector<ResultColumn>> Connection::DescribeStatement(std::string_view sql) {
  Busy busy(this);
  if (cancelled()) return absl::CancelledError("cancelled");
  if (!PQsendPrepare(connection_, "", std::string(sql).c_str(), 0, nullptr)) return ErrorOf(nullptr);
  TM_RETURN_IF_ERROR(Drain().status());
  if (!PQsendDescribePrepared(connection_, "")) return ErrorOf(nullptr);
  TM_ASSIGN_OR_RETURN(const Result result, Drain());
  std::vector<ResultColumn> columns(PQnfields(result.get()));
  for (size_t i = 0; i < columns.size(); ++i) {
    const int field = static_cast<int>(i);
    columns[i] = {PQfname(result.get(), field), PQftype(result.get(), field), PQfmod(result.get(), field)};
  }
  return columns;
}

absl::Status Connection::BeginCopyOut(std::string_view sql) {
  Busy busy(this);
  if (cancelled()) return absl::CancelledError("cancelled");
  if (!PQsendQueryParams(connection_, std::string(sql).c_str(), 0, nullptr, nullptr, nullptr, nullptr, 0))
    return ErrorOf(nullptr);
  const Result result(PQgetResult(connection_));
  if (PQresultStatus(result.get()) == PGRES_COPY_OUT) {
    busy.Keep();
    return absl::OkStatus();
  }
  const absl::Status error = ErrorOf(result.get());
  (void)Drain();
  return error;
}

absl::StatusOr<std::optional<std::string_view>> Connection::ReadCopy() {
  if (copy_buffer_ != nullptr) {
    PQfreemem(copy_buffer_);
    copy_buffer_ = nullptr;
  }
  const int length = PQgetCopyData(connection_, &copy_buffer_, /*async=*/0);
  if (length > 0) return std::string_view(copy_buffer_, length);
  Busy over(this);
  if (length == -2) return ErrorOf(nullptr);
  TM_RETURN_IF_ERROR(Drain().status());
  return std::nullopt;
}

void Connection::AbandonCopyOut() {
  Busy over(this);
  if (!alive()) return;
  char message[256];
  PQcancel(cancel_, message, sizeof(message));
  char* buffer = nullptr;
  while (PQgetCopyData(connection_, &buffer, 0) > 0) PQfreemem(buffer);
  (void)Drain();
}

absl::Status Connection::BeginCopyIn(std::string_view sql) {
  Busy busy(this);
  if (cancelled()) return absl::CancelledError("cancelled");
  if (!PQsendQueryParams(connection_, std::string(sql).c_str(), 0, nullptr, nullptr, nullptr, nullptr, 0))
    return ErrorOf(nullptr);
  const Result result(PQgetResult(connection_));
  if (PQresultStatus(result.get()) == PGRES_COPY_IN) {
    busy.Keep();
    return absl::OkStatus();
  }
  const absl::Status error = ErrorOf(result.get());
  (void)Drain();
  return error;
}

absl::Status Connection::WriteCopy(std::string_view data) {
  // libpq takes an int, and buffers what it takes: large values go in pieces.
  constexpr size_t kPiece = 1 << 20;
  while (!data.empty()) {
    if (cancelled()) {
      // The server may have ended the COPY on the cancel request, and libpq would not say so before the last row.
      AbandonCopyIn();
      return absl::CancelledError("cancelled");
    }
    const std::string_view piece = data.substr(0, kPiece);
    if (PQputCopyData(connection_, piece.data(), static_cast<int>(piece.size())) != 1) {
      Busy over(this);
      const absl::Status lost = ErrorOf(nullptr);
      const absl::Status told = Drain().status();
      return told.ok() ? lost : told;
    }
    data.remove_prefix(piece.size());
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Connection::EndCopyIn() {
  Busy over(this);
  if (PQputCopyEnd(connection_, nullptr) != 1) return ErrorOf(nullptr);
  TM_ASSIGN_OR_RETURN(const Result result, Drain());
  return AffectedRows(result.get());
}

void Connection::AbandonCopyIn() {
  Busy over(this);
  if (!alive()) return;
  PQputCopyEnd(connection_, "abandoned");
  (void)Drain();
}

void Connection::Cancel() {
  cancelled_.store(true, std::memory_order_relaxed);
  absl::MutexLock lock(&cancel_mutex_);
  if (closing_ || cancel_thread_.has_value()) return;
  // A cancel request is a connection of its own and may hang on a dead network: never on the caller's thread.
  cancel_thread_.emplace([this] { CancelLoop(); });
}

void Connection::CancelLoop() {
  absl::MutexLock lock(&cancel_mutex_);
  const auto needed = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(cancel_mutex_) { return busy_ || closing_; };
  while (true) {
    cancel_mutex_.Await(absl::Condition(&needed));
    if (closing_) return;
    cancel_mutex_.Unlock();
    char message[256];
    PQcancel(cancel_, message, sizeof(message));
    cancel_mutex_.Lock();
    cancel_mutex_.AwaitWithTimeout(absl::Condition(&closing_), kCancelInterval);
  }
}

bool Connection::alive() const { return connection_ != nullptr && PQstatus(connection_) == CONNECTION_OK; }

int Connection::server_version() const { return PQserverVersion(connection_); }

int Connection::backend_pid() const { return PQbackendPID(connection_); }

}  // namespace tidemark::postgres
