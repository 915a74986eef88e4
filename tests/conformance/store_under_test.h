#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tidemark/v1/spec.pb.h"
#include "tidemark/v1/values.pb.h"
#include "worker/connector/connector.h"

namespace tidemark::conformance {

// A connection of the store's own, as an application would hold it. An error ends the test program with the store's
// message.
class SqlSession {
 public:
  virtual ~SqlSession() = default;
  virtual void Exec(const std::string& sql) = 0;
  // Rows of text cells, "NULL" for NULL.
  virtual std::vector<std::vector<std::string>> Query(const std::string& sql) = 0;
};

// A relation `events` (id, note, updated_at) with known contents, in order of id and of updated_at.
struct Events {
  v1::ConnectionSpec connection;
  // Reads it, with updated_at as the watermark.
  v1::JobSpec job;
  std::vector<int64_t> ids;
  // The watermark of each row, spelled as the source would.
  std::vector<v1::Watermark> stamps;
};

// One store behind its connector, with what the suite has to say to it in its own tongue. A new connector joins the
// suite by an implementation of this and a line in AllStores().
class StoreUnderTest {
 public:
  virtual ~StoreUnderTest() = default;
  virtual Connector& connector() = 0;
  // `rows` rows of fixed stamps, a second apart.
  virtual Events MakeEvents(int rows) = 0;

  // What follows is for stores that can be written to by SQL.
  virtual bool has_sql() const { return true; }
  virtual bool is_target() const { return true; }
  // An upsert finds a row by its key whether the table has an index of it or not.
  virtual bool merges_without_index() const { return false; }
  // A fresh, empty database.
  virtual v1::ConnectionSpec NewDatabase() = 0;
  virtual std::unique_ptr<SqlSession> Open(const v1::ConnectionSpec& connection) = 0;
  // CREATE TABLE of (id integer primary key, note text, updated_at), the last stamped by the store where it is not
  // given.
  virtual std::string StampedTable(const std::string& name) const = 0;
  // Begins a transaction that holds a row no one else can see yet.
  virtual std::string BeginWriting() const { return "BEGIN"; }
  // A table `zoo` of every type the store has a word for, with edge values, and an `id`.
  virtual std::vector<std::string> Zoo() const = 0;
  // Names of all tables and views that are not Tidemark's control tables.
  virtual std::string UserTables() const = 0;
  // The control table `name` (ledger, fence, moves, quarantine) in SQL.
  virtual std::string ControlTable(const std::string& name) const = 0;
};

struct StoreFactory {
  std::string name;
  std::function<std::unique_ptr<StoreUnderTest>()> make;
};

std::unique_ptr<StoreUnderTest> MakeSqliteStore();
std::unique_ptr<StoreUnderTest> MakePostgresStore();
std::unique_ptr<StoreUnderTest> MakeDuckdbStore();
std::unique_ptr<StoreUnderTest> MakeGeneratorStore();

// Every connector of the build; those that SQL can write to; those that can be loaded.
const std::vector<StoreFactory>& AllStores();
const std::vector<StoreFactory>& SqlStores();

// A job that reads `table`.
v1::JobSpec ReadJob(const std::string& table, const std::string& watermark = "");

// The cell of a query's first row and column.
std::string Scalar(SqlSession& session, const std::string& sql);

}  // namespace tidemark::conformance
