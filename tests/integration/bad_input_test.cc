// The real program on every file of tests/bad_input/: each is refused as its header says, and nothing is changed.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/project.h"
#include "tests/integration/sqlite_file.h"
#include "tests/support/postgres_server.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace tidemark::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kProjectFile[] = "tidemark.yaml";
// Every password of the corpus.
constexpr char kSecret[] = "canary";

std::string Content(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// What stands in a file's header; README.md of the corpus describes it.
struct Case {
  struct Command {
    std::vector<std::string> words;
    int exit_code = 2;
  };
  std::vector<Command> commands;
  // LINE:COLUMN, one for each line of stderr; empty: the fault has no place in the file.
  std::vector<std::string> places;
  std::vector<std::string> says;
  std::string text;
};

// The bytes that \xHH in a file stand for.
std::string Unescaped(const std::string& text) {
  std::string bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.compare(i, 2, "\\x") == 0) {
      bytes += static_cast<char>(std::stoi(text.substr(i + 2, 2), nullptr, 16));
      i += 3;
    } else {
      bytes += text[i];
    }
  }
  return bytes;
}

Case ReadCase(const fs::path& path) {
  Case read;
  read.text = Content(path);
  bool escapes = false;
  for (absl::string_view line : absl::StrSplit(absl::StripPrefix(read.text, "\xef\xbb\xbf"), '\n')) {
    if (!absl::ConsumePrefix(&line, "# ")) break;
    if (absl::ConsumePrefix(&line, "tidemark ")) {
      const std::vector<std::string> halves = absl::StrSplit(line, ": exit ");
      Case::Command command;
      for (const absl::string_view word : absl::StrSplit(halves.at(0), ' '))
        command.words.push_back(word == "FILE" ? kProjectFile : word == "''" ? "" : std::string(word));
      EXPECT_TRUE(absl::SimpleAtoi(halves.at(1), &command.exit_code)) << path;
      read.commands.push_back(command);
    } else if (absl::ConsumePrefix(&line, "at ")) {
      read.places.emplace_back(line);
    } else if (absl::ConsumePrefix(&line, "says ")) {
      read.says.emplace_back(line);
    } else if (line == "escapes") {
      escapes = true;
    } else {
      ADD_FAILURE() << path << ": unknown header: " << line;
    }
  }
  if (read.commands.empty()) {
    for (const char* name : {"validate", "run"}) read.commands.push_back({{name, kProjectFile}});
  }
  if (escapes) read.text = Unescaped(read.text);
  return read;
}

// A shop and a warehouse, each as a SQLite file and as a PostgreSQL database, that every case is tried on.
class Stores {
 public:
  static Stores& Shared() {
    static Stores* const stores = new Stores();
    return *stores;
  }

  // Puts the SQLite files where a project may use them.
  void CopyTo(const TempDir& directory) const {
    for (const char* name : {"shop.db", "warehouse.db"}) fs::copy(sqlite_.File(name), directory.File(name));
  }
  const std::map<std::string, std::string>& environment() const { return environment_; }

  // Every table of both databases, and every row in it, but for the fence: a run that got as far as to load has said
  // whose table it is.
  std::string Postgres() const {
    std::string all;
    for (const char* database : {"SHOP", "WAREHOUSE"}) {
      all += Scalar(environment_.at(database),
                    "SELECT string_agg(format('%s.%s %s', n.nspname, c.relname, "
                    "CASE WHEN c.relkind IN ('r', 'p') THEN query_to_xml(format('SELECT * FROM %I.%I', n.nspname, "
                    "c.relname), true, false, '')::text END), E'\\n' ORDER BY n.nspname, c.relname) FROM pg_class c "
                    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT IN ('pg_catalog', "
                    "'information_schema', 'pg_toast') AND c.relname <> 'fence'");
    }
    return all;
  }

 private:
  Stores();

  TempDir sqlite_;
  std::map<std::string, std::string> environment_;
};

Stores::Stores() {
  SqliteExec(sqlite_.File("shop.db"), Content(fs::path(TIDEMARK_BAD_INPUT_DIR) / "sqlite_shop.sql"));
  SqliteExec(sqlite_.File("warehouse.db"), Content(fs::path(TIDEMARK_BAD_INPUT_DIR) / "sqlite_warehouse.sql"));
  const PostgresServer& server = PostgresServer::Shared();
  environment_["SHOP"] = PostgresServer::Shared().NewDatabase();
  environment_["WAREHOUSE"] = PostgresServer::Shared().NewDatabase();
  environment_["PORT"] = absl::StrCat(server.port());
  for (const char* name : {"SHOP", "WAREHOUSE"}) {
    const std::string& dsn = environment_[name];
    environment_[absl::StrCat(name, "_DATABASE")] = dsn.substr(dsn.rfind('/') + 1);
  }
  // One role must give a password; all others are trusted.
  Exec(server.Dsn(),
       absl::StrCat("COPY (VALUES ('host all locked 127.0.0.1/32 scram-sha-256'), ('host all all 127.0.0.1/32 "
                    "trust')) TO '",
                    Scalar(server.Dsn(), "SHOW hba_file"), "'"));
  Exec(server.Dsn(), "SELECT pg_reload_conf()");
  Exec(environment_["SHOP"], Content(fs::path(TIDEMARK_BAD_INPUT_DIR) / "postgres_shop.sql"));
  // The control tables, as the first load of any job leaves them.
  Project first(absl::StrReplaceAll(R"(connections:
  shop: { dsn: "$SHOP" }
  warehouse: { dsn: "$WAREHOUSE" }
jobs:
  first:
    source: { connection: shop, table: public.orders }
    target: { connection: warehouse, table: public.first, strategy: full }
)",
                                    {{"$SHOP", environment_["SHOP"]}, {"$WAREHOUSE", environment_["WAREHOUSE"]}}));
  const RunOutcome outcome = first.Run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  Exec(environment_["WAREHOUSE"], Content(fs::path(TIDEMARK_BAD_INPUT_DIR) / "postgres_warehouse.sql"));
}

// By name: what each file of the folder holds, but for the state's.
std::map<std::string, std::string> Files(const TempDir& directory) {
  std::map<std::string, std::string> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory.path())) {
    if (entry.is_regular_file()) files[entry.path().filename()] = Content(entry.path());
  }
  return files;
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
  // It says how to go on, not what is wrong.
  std::erase_if(lines, [](const std::string& line) { return line.starts_with("Try "); });
  return lines;
}

class BadInputTest : public ::testing::TestWithParam<fs::path> {};

TEST_P(BadInputTest, IsRefused) {
  const Case bad = ReadCase(GetParam());
  ASSERT_THAT(bad.says, Not(IsEmpty()));
  const bool on_postgres = bad.text.find("${env:") != std::string::npos;
  struct Attempt {
    TempDir directory;
    std::map<std::string, std::string> files;
    std::unique_ptr<Process> process;
  };
  const std::string postgres = on_postgres ? Stores::Shared().Postgres() : "";
  std::vector<Attempt> attempts(bad.commands.size());
  for (size_t i = 0; i < attempts.size(); ++i) {
    Attempt& attempt = attempts[i];
    Stores::Shared().CopyTo(attempt.directory);
    attempt.directory.Write(kProjectFile, bad.text);
    attempt.files = Files(attempt.directory);
    std::vector<std::string> words = bad.commands[i].words;
    words.insert(words.begin(), TidemarkProgram());
    ProcessOptions options;
    options.working_directory = attempt.directory.path();
    options.environment = Stores::Shared().environment();
    attempt.process = *Process::Start(words, options);
  }
  for (size_t i = 0; i < attempts.size(); ++i) {
    SCOPED_TRACE(absl::StrJoin(bad.commands[i].words, " "));
    const TempDir& directory = attempts[i].directory;
    const int exit_code = *attempts[i].process->Wait(absl::Minutes(2));
    const std::string out = attempts[i].process->out();
    const std::string err = attempts[i].process->err();
    SCOPED_TRACE(err);
    EXPECT_EQ(exit_code, bad.commands[i].exit_code);
    // A run that has failed is on record, and reported.
    if (exit_code != 1) {
      EXPECT_EQ(out, "");
      EXPECT_FALSE(fs::exists(directory.File(".tidemark")));
    }
    const std::vector<std::string> lines = Lines(err);
    EXPECT_EQ(lines.size(), std::max<size_t>(1, bad.places.size()));
    for (size_t line = 0; line < std::min(lines.size(), bad.places.size()); ++line) {
      const std::string place = absl::StrCat(kProjectFile, ":", bad.places[line], ": ");
      EXPECT_THAT(std::string(absl::StripPrefix(lines[line], "tidemark: ")), StartsWith(place));
    }
    for (const std::string& part : bad.says) EXPECT_THAT(err, HasSubstr(part));
    for (const char* never : {kSecret, "terminate called", "what():", "Assertion", "Sanitizer", "\x1b"})
      EXPECT_THAT(err + out, Not(HasSubstr(never)));
    EXPECT_EQ(Files(directory), attempts[i].files);
  }
  EXPECT_EQ(on_postgres ? Stores::Shared().Postgres() : "", postgres);
}

std::vector<fs::path> Corpus() {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(TIDEMARK_BAD_INPUT_DIR)) {
    if (entry.path().extension() == ".yaml") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

INSTANTIATE_TEST_SUITE_P(Corpus, BadInputTest, ::testing::ValuesIn(Corpus()),
                         [](const auto& info) { return info.param.stem().string(); });

}  // namespace
}  // namespace tidemark::test
