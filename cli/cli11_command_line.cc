#include <map>
#include <string>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "cli/command_line.h"
#include "common/model/byte_size.h"

namespace tidemark::cli {
namespace {

constexpr char kExitCodes[] =
    "Exit codes: 0 done, 1 the run failed, 2 bad configuration or usage, 3 done but with quarantined rows,\n"
    "4 not found, 5 unreachable, 130 interrupted.";

std::string Examples(const char* examples) { return absl::StrCat("Examples:\n", examples); }

// Reads the words of one command line into a Command.
class Grammar {
 public:
  Grammar()
      : app_("Moves tables from operational databases into analytical stores, and shows that nothing was lost.",
             "tidemark") {
    app_.require_subcommand(1);
    app_.fallthrough();
    app_.add_option("-o,--output", line_.output, "How data is printed: table, json, ndjson or yaml")
        ->transform(CLI::CheckedTransformer(std::map<std::string, OutputFormat>{{"table", OutputFormat::kTable},
                                                                                {"json", OutputFormat::kJson},
                                                                                {"ndjson", OutputFormat::kNdjson},
                                                                                {"yaml", OutputFormat::kYaml}})
                        .description("{table,json,ndjson,yaml}"))
        ->option_text("FORMAT");
    app_.footer(absl::StrCat(Examples("  tidemark init shop && tidemark run shop/tidemark.yaml\n"
                                      "  tidemark runs get orders@latest --project shop/tidemark.yaml\n\n"),
                             kExitCodes));
    AddInit();
    AddRun();
    AddValidate();
    AddPlan();
    AddRuns();
    AddConnections();
    AddMigrate();
    Set(app_.add_subcommand("schema", "Print the JSON Schema of the project file"), [] { return SchemaCommand(); });
    Set(app_.add_subcommand("version", "Print the version"), [] { return VersionCommand(); });
  }

  CommandLine Parse(int argc, const char* const* argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      line_.command.reset();
      const CLI::App* const deepest = Deepest(&app_);
      const std::string unknown = UnknownCommand(*deepest);
      if (unknown.empty() && dynamic_cast<const CLI::Success*>(&error) != nullptr) {
        line_.help = deepest->help("", CLI::AppFormatMode::Normal);
      } else {
        line_.error = absl::StrCat(
            "tidemark: ",
            unknown.empty() ? std::string(error.what())
                            : absl::StrCat("this version has no command `", Path(deepest), " ", unknown, "`"),
            "\nTry `", Path(deepest), " --help`.");
        line_.exit_code = kUsage;
      }
    }
    return std::move(line_);
  }

 private:
  template <typename Make>
  void Set(CLI::App* command, Make make) {
    command->callback([this, make] { line_.command = make(); });
  }

  // The command whose words were read last.
  static CLI::App* Deepest(CLI::App* app) {
    while (!app->get_subcommands().empty()) app = app->get_subcommands().front();
    return app;
  }
  static std::string Path(const CLI::App* app) {
    return app->get_parent() == nullptr ? app->get_name() : absl::StrCat(Path(app->get_parent()), " ", app->get_name());
  }

  // The word where one of `app`'s commands was to stand; empty if none did.
  std::string UnknownCommand(const CLI::App& app) const {
    if (app.get_require_subcommand_min() == 0) return "";
    // What a command does not know falls through to those above it.
    for (const std::string& word : app_.remaining(/*recurse=*/true)) {
      if (!word.starts_with('-')) return word;
    }
    return "";
  }

  void AddInit() {
    CLI::App* command =
        app_.add_subcommand("init", "Make a runnable project: sample data and a project file, no server needed");
    command->add_option("DIR", init_.directory, "Folder of the project, made if missing")->capture_default_str();
    command->footer(Examples("  tidemark init shop && tidemark run shop/tidemark.yaml"));
    Set(command, [this] { return init_; });
  }

  void AddRun() {
    CLI::App* command =
        app_.add_subcommand("run", "Run jobs once, in this process; state is kept in .tidemark/ beside FILE");
    command->add_option("FILE", run_.file, "Project file")->required();
    command->add_option("JOB", run_.jobs, "Jobs to run; all enabled ones if none is named");
    CLI::Option* full =
        command->add_flag("--full-refresh", run_.full_refresh, "Replace the target by all the source holds");
    CLI::Option* from =
        command->add_option("--from", run_.from, "Backfill: rows above this watermark")->option_text("WATERMARK");
    CLI::Option* to =
        command->add_option("--to", run_.to, "Backfill: rows up to this watermark")->option_text("WATERMARK");
    from->needs(to)->excludes(full);
    to->needs(from)->excludes(full);
    command->add_option("--workers", run_.workers, "Workers in this process")
        ->check(CLI::Range(1, 64))
        ->option_text("N")
        ->capture_default_str();
    command->add_option("--slots", run_.slots, "Tasks at once, per worker")
        ->check(CLI::Range(1, 256))
        ->option_text("N")
        ->capture_default_str();
    command->add_option("--memory", memory_, "Memory this process may use")
        ->check(CLI::Validator(
            [](std::string& text) {
              const std::optional<int64_t> bytes = ParseByteSize(text);
              return bytes && *bytes >= (int64_t{64} << 20) ? "" : "expected a size from 64MiB, such as 1GiB";
            },
            ""))
        ->option_text("SIZE")
        ->capture_default_str();
    command->footer(absl::StrCat(
        Examples("  tidemark run tidemark.yaml\n"
                 "  tidemark run tidemark.yaml orders --full-refresh\n"
                 "  tidemark run tidemark.yaml orders --from 2026-01-01 --to 2026-02-01\n"
                 "  tidemark run tidemark.yaml -o json | jq .rows_loaded\n\n"),
        "Ctrl-C cancels the runs at the server. A run that a killed process left is finished first.\n", kExitCodes));
    Set(command, [this] {
      run_.memory_bytes = *ParseByteSize(memory_);
      return run_;
    });
  }

  void AddValidate() {
    CLI::App* command =
        app_.add_subcommand("validate", "Check a project file without connecting anywhere; names every error at once");
    command->add_option("FILE", validate_.file, "Project file")->required();
    command->footer(Examples("  tidemark validate tidemark.yaml"));
    Set(command, [this] { return validate_; });
  }

  void AddPlan() {
    CLI::App* command =
        app_.add_subcommand("plan", "Show what a run would do: window, completeness, partitions, fire times");
    command->add_option("FILE", plan_.file, "Project file")->required();
    command->add_option("JOB", plan_.jobs, "Jobs to plan; all if none is named");
    command->footer(Examples("  tidemark plan tidemark.yaml\n  tidemark plan tidemark.yaml orders -o json"));
    Set(command, [this] { return plan_; });
  }

  void AddProjectOption(CLI::App* command, std::string* project) {
    command->add_option("--project", *project, "Project file whose state is meant")
        ->option_text("FILE")
        ->capture_default_str();
  }

  void AddRuns() {
    CLI::App* runs = app_.add_subcommand("runs", "Runs of the past and of now");
    runs->require_subcommand(1);
    runs->fallthrough();
    CLI::App* list = runs->add_subcommand("list", "List runs, the newest first");
    list->add_option("JOB", runs_list_.job, "Of this job alone");
    list->add_option("--limit", runs_list_.limit, "At most so many")
        ->check(CLI::Range(1, 10'000))
        ->capture_default_str();
    AddProjectOption(list, &runs_list_.project);
    list->footer(Examples("  tidemark runs list\n  tidemark runs list orders --limit 5 -o json"));
    Set(list, [this] { return runs_list_; });
    CLI::App* get = runs->add_subcommand("get", "Show one run");
    get->add_option("RUN", runs_get_.run, "An id, or JOB@latest")->required();
    AddProjectOption(get, &runs_get_.project);
    get->footer(Examples("  tidemark runs get orders@latest\n  tidemark runs get orders@latest -o yaml"));
    Set(get, [this] { return runs_get_; });
  }

  void AddConnections() {
    CLI::App* connections = app_.add_subcommand("connections", "Connections of the project");
    connections->require_subcommand(1);
    connections->fallthrough();
    CLI::App* test = connections->add_subcommand("test", "Connect, and ask the server who it is");
    test->add_option("NAME", connections_test_.connections, "Connections to test; all if none is named");
    AddProjectOption(test, &connections_test_.project);
    test->footer(
        Examples("  tidemark connections test\n  tidemark connections test shop --project shop/tidemark.yaml"));
    Set(test, [this] { return connections_test_; });
  }

  void AddMigrate() {
    CLI::App* command = app_.add_subcommand("migrate", "Bring a metadata store to this version's schema");
    command->add_option("--store", migrate_.store, "The store: postgresql://HOST/DATABASE or sqlite:PATH")
        ->envname("TIDEMARK_STORE")
        ->option_text("DSN")
        ->required();
    command->footer(absl::StrCat(Examples("  TIDEMARK_STORE=postgresql://tidemark@db/tidemark tidemark migrate\n\n"),
                                 "Prints the steps it took. Nothing is taken back, and any number may run at once.\n"));
    Set(command, [this] { return migrate_; });
  }

  CLI::App app_;
  CommandLine line_;
  InitCommand init_;
  RunCommand run_;
  std::string memory_ = "1GiB";
  ValidateCommand validate_;
  PlanCommand plan_;
  RunsListCommand runs_list_;
  RunsGetCommand runs_get_;
  ConnectionsTestCommand connections_test_;
  MigrateCommand migrate_;
};

}  // namespace

CommandLine ParseCommandLine(int argc, const char* const* argv) { return Grammar().Parse(argc, argv); }

}  // namespace tidemark::cli
