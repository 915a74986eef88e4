#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/progress_bar.h"
#include "cli/table.h"
#include "cli/value.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tidemark::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

Value Sample() {
  return Value::Record{{"job", "orders"},
                       {"rows", int64_t{10'000'000'000}},
                       {"seconds", 1.5},
                       {"high", "2026-01-05"},
                       {"error", Value()},
                       {"ok", true},
                       {"notes", Value::List{"a", "b\"c"}},
                       {"none", Value::List{}}};
}

TEST(ValueTest, Json) {
  EXPECT_EQ(ToJson(Sample(), false),
            R"({"job":"orders","rows":10000000000,"seconds":1.5,"high":"2026-01-05","error":null,"ok":true,)"
            R"("notes":["a","b\"c"],"none":[]})");
  EXPECT_THAT(ToJson(Sample(), true), HasSubstr("\n  \"rows\": 10000000000,\n"));
  EXPECT_EQ(ToJson(Value("bad \xff byte"), false), "\"bad \xEF\xBF\xBD byte\"");
}

TEST(ValueTest, Yaml) {
  EXPECT_EQ(ToYaml(Sample()),
            "job: \"orders\"\nrows: 10000000000\nseconds: 1.5\nhigh: \"2026-01-05\"\nerror: ~\nok: true\nnotes:\n"
            "  - \"a\"\n  - \"b\\\"c\"\nnone: []\n");
}

TEST(TableTest, AlignsAndTrims) {
  const std::vector<Value::Record> rows = {{{"name", "é"}, {"rows", 10}, {"hidden", "x"}},
                                           {{"name", "orders"}, {"rows", int64_t{12345}}, {"error", "two\nlines"}}};
  EXPECT_EQ(ToTable(rows, {{"name", "NAME"}, {"rows", "ROWS", true}, {"error", "ERROR"}}),
            "NAME     ROWS  ERROR\n"
            "é          10\n"
            "orders  12345  two lines\n");
}

TEST(ProgressBarTest, ShowsRowsRatePartitionsAndTimeLeft) {
  ProgressBar bar;
  ProgressView view = {
      .label = "orders", .rows = 0, .estimated_rows = 1'000'000, .partitions = 8, .partitions_done = 0};
  EXPECT_EQ(bar.Render(view, absl::ZeroDuration(), 200),
            "orders  [....................]  0 rows  0 rows/s  0/8 partitions");
  view.rows = 250'000;
  view.partitions_done = 2;
  EXPECT_EQ(bar.Render(view, absl::Seconds(2), 200),
            "orders  [#####...............]  250,000 rows  125,000 rows/s  2/8 partitions  6.0s left");
  EXPECT_THAT(bar.Render(view, absl::Seconds(3), 40), SizeIs(39));
}

TEST(TableTest, FitsTheTerminal) {
  const std::vector<Value::Record> rows = {{{"run", "0123456789"}, {"phase", "done"}, {"error", "ünreachable"}},
                                           {{"run", "1"}, {"phase", "committing"}, {"error", "no"}}};
  const std::vector<TableColumn> columns = {{"run", "RUN"}, {"phase", "PHASE"}, {"error", "ERROR"}};
  EXPECT_EQ(ToTable(rows, columns, 28),
            "RUN         PHASE    ERROR\n"
            "0123456789  done     ünreac\u2026\n"
            "1           commit\u2026  no\n");
  // The first column and the headings stay.
  EXPECT_EQ(ToTable(rows, columns, 5),
            "RUN         PHASE  ERROR\n"
            "0123456789  done   ünre\u2026\n"
            "1           comm\u2026  no\n");
  EXPECT_EQ(ToTable(rows, columns, 200), ToTable(rows, columns));
}

TEST(ProgressBarTest, ShowsWhatTheServerHasMeasured) {
  ProgressBar bar;
  ProgressView view = {.label = "orders", .rows = 500, .estimated_rows = 1'000, .rows_per_second = 77};
  bar.Render(view, absl::ZeroDuration(), 200);
  EXPECT_EQ(bar.Render(view, absl::Seconds(9), 200), "orders  [##########..........]  500 rows  77 rows/s");
  view.time_left = absl::Seconds(6);
  EXPECT_THAT(bar.Render(view, absl::Seconds(9), 200), HasSubstr("77 rows/s  6.0s left"));
}

TEST(ProgressBarTest, RateIsOfTheLastSeconds) {
  ProgressBar bar;
  ProgressView view = {.label = "orders"};
  for (int second = 0; second <= 20; ++second) {
    view.rows = second < 10 ? second * 1'000 : 10'000;
    bar.Render(view, absl::Seconds(second), 200);
  }
  EXPECT_THAT(bar.Render(view, absl::Seconds(21), 200), HasSubstr(" 0 rows/s"));
}

std::string Contents(FILE* file) {
  rewind(file);
  std::string text(1 << 16, '\0');
  text.resize(fread(text.data(), 1, text.size(), file));
  return text;
}

TEST(ConsoleTest, NoSecretLeaves) {
  FILE* out = tmpfile();
  FILE* err = tmpfile();
  Console console(out, err, Console::Options());
  console.redactor().AddDsn("postgresql://me:canary77@db/shop");
  console.Data("data canary77\n");
  console.Say("talk canary77");
  console.ShowBar("bar");
  EXPECT_EQ(Contents(out), "data ***\n");
  EXPECT_EQ(Contents(err), "talk ***\n");
  EXPECT_EQ(console.Paint("x", Console::Color::kRed), "x");
  fclose(out);
  fclose(err);
}

TEST(ConsoleTest, TalkDoesNotTearTheBar) {
  FILE* out = tmpfile();
  FILE* err = tmpfile();
  Console console(out, err, {.err_is_terminal = true});
  console.ShowBar("bar 1");
  console.Say("talk");
  console.ShowBar("bar 2");
  console.ShowBar("");
  EXPECT_EQ(Contents(err), "\r\x1b[Kbar 1\r\x1b[Ktalk\n\r\x1b[Kbar 2\r\x1b[K");
  fclose(out);
  fclose(err);
}

CommandLine Parse(std::vector<const char*> words) {
  words.insert(words.begin(), "tidemark");
  return ParseCommandLine(static_cast<int>(words.size()), words.data());
}

// That the help of the command shows how it is called, and that of those below it too.
void ExpectHelp(const std::vector<const char*>& command) {
  std::vector<const char*> words = command;
  words.push_back("--help");
  const std::string help = ParseCommandLine(static_cast<int>(words.size()), words.data()).help;
  const std::string name = absl::StrJoin(command, " ");
  EXPECT_THAT(help, HasSubstr(absl::StrCat("Usage: ", name, " ["))) << help;
  const size_t examples = help.find("Examples:\n");
  ASSERT_NE(examples, help.npos) << help;
  EXPECT_THAT(help.substr(examples), HasSubstr(name));
  const size_t below = help.find("Subcommands:\n");
  if (below == help.npos) return;
  const std::string list = help.substr(below, help.find("\n\n", below) - below);
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(list, '\n'))) {
    const std::vector<std::string> parts = absl::StrSplit(line, ' ', absl::SkipEmpty());
    if (!line.starts_with("  ") || line[2] == ' ') continue;
    std::vector<const char*> inner = command;
    inner.push_back(parts.at(0).c_str());
    ExpectHelp(inner);
  }
}

TEST(HelpTest, EveryCommandShowsHowItIsCalled) { ExpectHelp({"tidemark"}); }

TEST(CommandLineTest, Run) {
  const CommandLine line =
      Parse({"run", "f.yaml", "orders", "customers", "--workers", "3", "--memory", "512MiB", "-o", "json"});
  ASSERT_TRUE(line.command.has_value()) << line.error;
  const auto& run = std::get<RunCommand>(*line.command);
  EXPECT_EQ(run.file, "f.yaml");
  EXPECT_THAT(run.jobs, ElementsAre("orders", "customers"));
  EXPECT_EQ(run.process.workers, 3);
  EXPECT_EQ(run.process.slots, 4);
  EXPECT_EQ(run.process.memory_bytes, 512 << 20);
  EXPECT_FALSE(run.full_refresh);
  EXPECT_EQ(run.from, std::nullopt);
  EXPECT_EQ(line.output, OutputFormat::kJson);
}

TEST(CommandLineTest, Backfill) {
  const CommandLine line = Parse({"run", "f.yaml", "orders", "--from", "2026-01-01", "--to", "2026-02-01"});
  ASSERT_TRUE(line.command.has_value()) << line.error;
  EXPECT_EQ(std::get<RunCommand>(*line.command).from, "2026-01-01");
  EXPECT_EQ(std::get<RunCommand>(*line.command).to, "2026-02-01");
}

TEST(CommandLineTest, OtherCommands) {
  EXPECT_EQ(std::get<RunsGetCommand>(*Parse({"runs", "get", "orders@latest", "--project", "p.yaml"}).command).project,
            "p.yaml");
  EXPECT_THAT(std::get<RunsListCommand>(*Parse({"runs", "list"}).command).project, IsEmpty());
  EXPECT_EQ(std::get<RunsListCommand>(*Parse({"runs", "list", "orders"}).command).job, "orders");
  EXPECT_EQ(std::get<RunsListCommand>(*Parse({"runs", "list", "--job", "orders"}).command).job, "orders");
  EXPECT_THAT(std::get<ConnectionsTestCommand>(*Parse({"connections", "test", "a", "b"}).command).connections,
              ElementsAre("a", "b"));
  EXPECT_EQ(std::get<InitCommand>(*Parse({"init"}).command).directory, ".");
  EXPECT_TRUE(std::holds_alternative<VersionCommand>(*Parse({"version"}).command));
  EXPECT_TRUE(std::holds_alternative<SchemaCommand>(*Parse({"schema", "-o", "yaml"}).command));
}

TEST(CommandLineTest, OptionsOfTheServerMayStandAnywhere) {
  const CommandLine line = Parse({"jobs", "run", "orders", "--server", "etl:1", "--tls-ca", "ca.pem", "--wait"});
  ASSERT_TRUE(line.command.has_value()) << line.error;
  EXPECT_EQ(line.server.address, "etl:1");
  EXPECT_EQ(line.server.tls.ca, "ca.pem");
  EXPECT_TRUE(std::get<JobsRunCommand>(*line.command).run.wait);
  EXPECT_EQ(std::get<RunsRetryCommand>(*Parse({"runs", "retry", "x", "--request-id", "r"}).command).made.request_id,
            "r");
}

TEST(CommandLineTest, UsageErrors) {
  for (std::vector<const char*> words : {std::vector<const char*>{},
                                         {"run"},
                                         {"fly"},
                                         {"run", "f", "--workers", "0"},
                                         {"run", "f", "--memory", "1kB"},
                                         {"run", "f", "--from", "1"},
                                         {"run", "f", "--full-refresh", "--from", "1", "--to", "2"},
                                         {"version", "-o", "xml"},
                                         {"runs"},
                                         {"runs", "get"},
                                         {"runs", "list", "--status", "done"},
                                         {"backfill", "orders", "--from", "1"},
                                         {"jobs", "run"},
                                         {"completion", "tcsh"},
                                         {"run", "f", "--nope"}}) {
    const CommandLine line = Parse(words);
    EXPECT_FALSE(line.command.has_value());
    EXPECT_EQ(line.exit_code, kUsage);
    EXPECT_THAT(line.error, HasSubstr("Try `tidemark"));
    EXPECT_THAT(line.help, IsEmpty());
  }
}

TEST(CommandLineTest, HelpHasExamplesAndOnlyWhatThereIs) {
  const CommandLine top = Parse({"--help"});
  EXPECT_EQ(top.exit_code, kDone);
  EXPECT_THAT(top.help, HasSubstr("Exit codes: 0 done, 1 the run failed"));
  EXPECT_THAT(top.help, Not(HasSubstr("verify")));
  EXPECT_THAT(top.help, Not(HasSubstr("__complete")));
  const CommandLine run = Parse({"run", "--help"});
  EXPECT_THAT(run.help, HasSubstr("tidemark run tidemark.yaml orders --full-refresh"));
  EXPECT_THAT(run.help, HasSubstr("--slots"));
  EXPECT_THAT(Parse({"runs", "get", "--help"}).help, HasSubstr("JOB@latest"));
}

}  // namespace
}  // namespace tidemark::cli
