#include "coordinator/store/postgres_database.h"

#include <libpq-fe.h>

#include <pqxx/pqxx>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "common/base/utf8.h"
#include "common/secret/dsn.h"

namespace tidemark::coordinator {
namespace {

// How long a caller waits for a connection that others use.
constexpr absl::Duration kPatience = absl::Seconds(10);

constexpr char kReplacement[] = "\xEF\xBF\xBD";

struct KeywordDefault {
  const char* keyword;
  const char* value;
};
constexpr KeywordDefault kDefaults[] = {
    {"connect_timeout", "5"},         {"tcp_user_timeout", "10000"}, {"keepalives_idle", "5"},
    {"keepalives_interval", "2"},     {"keepalives_count", "3"},     {"target_session_attrs", "read-write"},
    {"application_name", "tidemark"},
};

// False if a part of a password may stand where libpq, and then its messages, sees something else: user:p@ss@host has
// the host ss@host for it.
bool Plausible(const PQconninfoOption* option) {
  for (; option->keyword != nullptr; ++option) {
    if (option->val == nullptr) continue;
    const absl::string_view keyword = option->keyword;
    const absl::string_view value = option->val;
    if ((keyword == "host" || keyword == "dbname") && absl::StrContains(value, "@")) return false;
    if (keyword == "port" && value.find_first_not_of("0123456789,") != value.npos) return false;
  }
  return true;
}

std::string Keyword(const std::string& keyword, const std::string& value) {
  return absl::StrCat(keyword, "='", absl::StrReplaceAll(value, {{"\\", "\\\\"}, {"'", "\\'"}}), "' ");
}

// The server's message on one line, without the severity.
std::string OneLine(std::string_view message) {
  std::vector<std::string> lines;
  for (absl::string_view line : absl::StrSplit(Abs(message), '\n', absl::SkipWhitespace())) {
    line = absl::StripAsciiWhitespace(line);
    // Says nothing that the message does not.
    if (absl::StartsWith(line, "CONTEXT:") || absl::StartsWith(line, "LINE ") || line == "^") continue;
    for (const char* severity : {"ERROR:  ", "FATAL:  ", "PANIC:  "}) line = absl::StripPrefix(line, severity);
    lines.emplace_back(line);
  }
  return absl::StrJoin(lines, "; ");
}

// libpqxx leaves the state out where the class says it. Empty: the connection broke while the statement ran.
std::string SqlState(const pqxx::sql_error& error) {
  if (!error.sqlstate().empty()) return error.sqlstate();
  const auto is = [&error](auto* type) { return dynamic_cast<decltype(type)>(&error) != nullptr; };
  if (is(static_cast<const pqxx::insufficient_privilege*>(nullptr))) return "42501";
  if (is(static_cast<const pqxx::unique_violation*>(nullptr))) return "23505";
  if (is(static_cast<const pqxx::integrity_constraint_violation*>(nullptr))) return "23000";
  if (is(static_cast<const pqxx::syntax_error*>(nullptr))) return "42601";
  if (is(static_cast<const pqxx::disk_full*>(nullptr))) return "53100";
  if (is(static_cast<const pqxx::out_of_memory*>(nullptr))) return "53200";
  if (is(static_cast<const pqxx::data_exception*>(nullptr))) return "22000";
  if (is(static_cast<const pqxx::feature_not_supported*>(nullptr))) return "0A000";
  return "";
}

absl::StatusCode CodeOf(const std::string& sqlstate) {
  const absl::string_view state_class = absl::string_view(sqlstate).substr(0, 2);
  if (sqlstate.empty()) return absl::StatusCode::kUnavailable;
  if (sqlstate == "23505") return absl::StatusCode::kAlreadyExists;
  if (sqlstate == "53100" || sqlstate == "53200" || sqlstate == "53400" || state_class == "54") {
    return absl::StatusCode::kResourceExhausted;
  }
  if (sqlstate == "42501" || state_class == "28") return absl::StatusCode::kPermissionDenied;
  if (sqlstate == "XX001" || sqlstate == "XX002") return absl::StatusCode::kDataLoss;
  if (state_class == "42" || state_class == "3F") return absl::StatusCode::kFailedPrecondition;
  if (sqlstate == "3D000") return absl::StatusCode::kNotFound;
  // Connections, shutdowns and cancellations, locks, deadlocks, time-outs, a primary that has become a standby.
  for (const char* transient : {"08", "40", "53", "55", "57", "58", "25"}) {
    if (state_class == transient) return absl::StatusCode::kUnavailable;
  }
  return absl::StatusCode::kInternal;
}

// libpq gives no code for a connection that was refused.
absl::StatusCode CodeOfRefusal(const std::string& message) {
  for (const char* text : {"authentication failed", "no pg_hba.conf entry", "is not permitted to log in",
                           "no password supplied", "permission denied for database"}) {
    if (absl::StrContains(message, text)) return absl::StatusCode::kPermissionDenied;
  }
  if (absl::StrContains(message, "does not exist")) {
    return absl::StrContains(message, "FATAL:  role") ? absl::StatusCode::kPermissionDenied
                                                      : absl::StatusCode::kNotFound;
  }
  return absl::StatusCode::kUnavailable;
}

std::string Settings(const PostgresPool::Options& options) {
  const auto set = [](const char* name, absl::Duration timeout) {
    return absl::StrCat("set_config('", name, "', '", absl::ToInt64Milliseconds(timeout), "', true)");
  };
  return absl::StrCat("SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SELECT ",
                      set("statement_timeout", options.statement_timeout), ", ",
                      set("lock_timeout", options.lock_timeout), ", ",
                      set("idle_in_transaction_session_timeout", options.idle_timeout),
                      // A batch outlives a power cut.
                      ", CASE current_setting('synchronous_commit') WHEN 'off' "
                      "THEN set_config('synchronous_commit', 'on', true) END");
}

// As PostgreSQL can hold it.
std::string Storable(std::string text) {
  if (FindInvalidUtf8(text) != std::string::npos) text = ValidUtf8(text);
  if (text.find('\0') == std::string::npos) return text;
  return absl::StrReplaceAll(text, {{absl::string_view("\0", 1), kReplacement}});
}

void AppendQuoted(std::string* array, const std::string& text) {
  array->push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') array->push_back('\\');
    array->push_back(c);
  }
  array->push_back('"');
}

class Row final : public RowReader {
 public:
  explicit Row(const pqxx::row& row) : row_(row) {}
  int64_t Integer() override {
    int64_t value = 0;
    const pqxx::field field = row_[next_++];
    return absl::SimpleAtoi(absl::string_view(field.c_str(), field.size()), &value) ? value : 0;
  }
  bool Boolean() override { return *row_[next_++].c_str() == 't'; }
  std::optional<std::string> OptionalText() override {
    const pqxx::field field = row_[next_++];
    if (field.is_null()) return std::nullopt;
    return std::string(field.c_str(), field.size());
  }
  void Skip(int columns) override { next_ += columns; }

 private:
  const pqxx::row& row_;
  int next_ = 0;
};

}  // namespace

absl::StatusOr<PostgresAddress> PostgresAddress::Of(const std::string& dsn) {
  PostgresAddress address;
  address.redacted = RedactDsn(dsn);
  auto redactor = std::make_shared<Redactor>();
  redactor->AddDsn(dsn);
  address.redactor = std::move(redactor);
  // libpq's own words may quote a part of a password.
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(PQconninfoParse(dsn.c_str(), nullptr),
                                                                             &PQconninfoFree);
  if (options == nullptr || !Plausible(options.get())) {
    return absl::InvalidArgumentError(absl::StrCat(address.redacted,
                                                   " is no connection string that libpq reads: is a character of the "
                                                   "user or password not percent-encoded?"));
  }
  std::string* const text = &address.connection_string;
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    const std::string keyword = option->keyword;
    if (keyword == "client_encoding") continue;
    if (option->val != nullptr) {
      absl::StrAppend(text, Keyword(keyword, option->val));
      continue;
    }
    for (const KeywordDefault& fallback : kDefaults) {
      if (keyword == fallback.keyword) absl::StrAppend(text, Keyword(keyword, fallback.value));
    }
  }
  absl::StrAppend(text, Keyword("client_encoding", "UTF8"));
  return address;
}

absl::Status PostgresAddress::StatusOf(const std::exception& exception) const {
  std::string message = exception.what();
  absl::StatusCode code = absl::StatusCode::kInternal;
  if (const auto* sql = dynamic_cast<const pqxx::sql_error*>(&exception)) {
    code = CodeOf(SqlState(*sql));
  } else if (dynamic_cast<const pqxx::broken_connection*>(&exception) != nullptr) {
    code = CodeOfRefusal(message);
  } else if (dynamic_cast<const pqxx::in_doubt_error*>(&exception) != nullptr ||
             dynamic_cast<const pqxx::transaction_rollback*>(&exception) != nullptr) {
    code = absl::StatusCode::kUnavailable;
  }
  message = redactor->Redact(OneLine(message));
  if (code == absl::StatusCode::kFailedPrecondition) absl::StrAppend(&message, ": does it need `tidemark migrate`?");
  return absl::Status(code, absl::StrCat(redacted, ": ", message));
}

class PostgresPool::Connection {
 public:
  explicit Connection(const std::string& connection_string) : connection(connection_string), quiet(connection) {}

  pqxx::connection connection;
  // libpqxx writes notices to stderr else.
  pqxx::quiet_errorhandler quiet;
};

class PostgresPool::Transaction final : public PostgresTransaction {
 public:
  Transaction(const PostgresAddress* address, Connection* connection) : address_(*address), connection_(*connection) {}

  // Before anything else.
  absl::Status Begin(const std::string& settings) {
    return Catch([&] {
      work_ = std::make_unique<pqxx::work>(connection_.connection);
      work_->exec(settings);
    });
  }

  absl::StatusOr<int64_t> Execute(const std::string& sql, const std::vector<std::string>& parameters) override {
    TM_ASSIGN_OR_RETURN(const pqxx::result result, Run(sql, parameters));
    return static_cast<int64_t>(result.affected_rows());
  }

  absl::Status Query(const std::string& sql, const std::vector<std::string>& parameters,
                     absl::FunctionRef<absl::Status(RowReader&)> on_row) override {
    TM_ASSIGN_OR_RETURN(const pqxx::result result, Run(sql, parameters));
    for (const pqxx::row& row : result) {
      Row reader(row);
      TM_RETURN_IF_ERROR(on_row(reader));
    }
    return absl::OkStatus();
  }

  absl::Status RunScript(std::string_view sql) override {
    return Catch([&] { work_->exec(std::string(sql)); });
  }

  absl::Status Commit() {
    return Catch([&] { work_->commit(); });
  }

  // Ends it; true if its connection can be used again.
  bool End() {
    const absl::Status ended = Catch([&] { work_.reset(); });
    return ended.ok() && connection_.connection.is_open() && !broken_;
  }

 private:
  absl::StatusOr<pqxx::result> Run(const std::string& sql, const std::vector<std::string>& parameters) {
    pqxx::result result;
    TM_RETURN_IF_ERROR(Catch([&] {
      std::vector<std::string> storable;
      storable.reserve(parameters.size());
      for (const std::string& parameter : parameters) storable.push_back(Storable(parameter));
      result = work_->exec_params(sql, pqxx::prepare::make_dynamic_params(storable));
    }));
    return result;
  }

  template <typename Body>
  absl::Status Catch(Body body) {
    try {
      body();
      return absl::OkStatus();
    } catch (const std::exception& exception) {
      absl::Status status = address_.StatusOf(exception);
      if (absl::IsInternal(status) && !connection_.connection.is_open()) {
        status = absl::UnavailableError(absl::StrCat(address_.redacted, ": the connection broke"));
      }
      // A new connection may find the server that has taken over.
      broken_ = broken_ || absl::IsUnavailable(status);
      return status;
    }
  }

  const PostgresAddress& address_;
  Connection& connection_;
  std::unique_ptr<pqxx::work> work_;
  bool broken_ = false;
};

PostgresPool::PostgresPool(PostgresAddress address, const Options& options)
    : address_(std::move(address)), options_(options), settings_(Settings(options)) {}

PostgresPool::~PostgresPool() = default;

absl::StatusOr<std::unique_ptr<PostgresPool::Connection>> PostgresPool::Take() {
  absl::MutexLock lock(&mutex_);
  if (!mutex_.AwaitWithTimeout(absl::Condition(this, &PostgresPool::HasPlace), kPatience)) {
    return absl::UnavailableError(
        absl::StrCat(address_.redacted, ": all of its ", options_.connections, " connections are busy"));
  }
  ++taken_;
  if (idle_.empty()) return nullptr;
  std::unique_ptr<Connection> connection = std::move(idle_.back());
  idle_.pop_back();
  return connection;
}

void PostgresPool::GiveBack(std::unique_ptr<Connection> connection) {
  absl::MutexLock lock(&mutex_);
  --taken_;
  if (connection != nullptr) idle_.push_back(std::move(connection));
}

void PostgresPool::DropIdle() {
  std::vector<std::unique_ptr<Connection>> dropped;
  absl::MutexLock lock(&mutex_);
  dropped.swap(idle_);
}

absl::Status PostgresPool::Transact(absl::FunctionRef<absl::Status(PostgresTransaction&)> body) {
  TM_ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection, Take());
  absl::Status status;
  try {
    std::unique_ptr<Transaction> transaction;
    if (connection != nullptr) {
      transaction = std::make_unique<Transaction>(&address_, connection.get());
      if (!transaction->Begin(settings_).ok()) {
        // It broke while it was idle, and nothing has been asked yet.
        transaction.reset();
        connection.reset();
        DropIdle();
      }
    }
    if (transaction == nullptr) {
      connection = std::make_unique<Connection>(address_.connection_string);
      transaction = std::make_unique<Transaction>(&address_, connection.get());
      status = transaction->Begin(settings_);
    }
    if (status.ok()) status = body(*transaction);
    if (status.ok()) status = transaction->Commit();
    if (!transaction->End()) {
      transaction.reset();
      connection.reset();
    }
  } catch (const std::exception& exception) {
    status = address_.StatusOf(exception);
    connection.reset();
  }
  GiveBack(std::move(connection));
  return status;
}

std::string PostgresArray(const std::vector<StoredValue>& elements) {
  std::string array = "{";
  for (const StoredValue& element : elements) {
    if (array.size() > 1) array.push_back(',');
    if (const auto* text = std::get_if<std::string>(&element)) {
      AppendQuoted(&array, *text);
    } else if (const auto* number = std::get_if<int64_t>(&element)) {
      absl::StrAppend(&array, *number);
    } else if (const auto* boolean = std::get_if<bool>(&element)) {
      array.push_back(*boolean ? 't' : 'f');
    } else {
      array.append("NULL");
    }
  }
  array.push_back('}');
  return array;
}

std::string PostgresArray(const std::vector<std::string>& elements) {
  return PostgresArray(std::vector<StoredValue>(elements.begin(), elements.end()));
}

std::string PostgresTimeText(std::string_view expression) {
  return absl::StrCat("to_char(", Abs(expression), " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')");
}

}  // namespace tidemark::coordinator
