#include <stdlib.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/command_line.h"
#include "common/config/suggestion.h"
#include "common/model/byte_size.h"
#include "common/model/host_port.h"

namespace tidemark::cli {
namespace {

constexpr std::string_view kComplete = "__complete";
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
    app_.add_option("-o,--output", line_.output, "How data is printed")
        ->transform(CLI::CheckedTransformer(std::map<std::string, OutputFormat>{{"table", OutputFormat::kTable},
                                                                                {"json", OutputFormat::kJson},
                                                                                {"ndjson", OutputFormat::kNdjson},
                                                                                {"yaml", OutputFormat::kYaml}})
                        .description(""))
        ->option_text("table|json|ndjson|yaml");
    app_.add_option("--server", line_.server.address,
                    "Where commands of a cluster go; else TIDEMARK_SERVER, else 127.0.0.1:8470")
        ->envname("TIDEMARK_SERVER")
        ->option_text("HOST:PORT");
    AddFile("--tls-ca", "TIDEMARK_TLS_CA", "Who must have signed the server's certificate", &line_.server.tls.ca);
    AddFile("--tls-cert", "TIDEMARK_TLS_CERT", "Certificate to show to the server", &line_.server.tls.cert);
    AddFile("--tls-key", "TIDEMARK_TLS_KEY", "Key of that certificate", &line_.server.tls.key);
    AddInit();
    AddRun();
    AddDev();
    AddValidate();
    AddPlan();
    AddApply();
    AddJobs();
    AddBackfill();
    AddRuns();
    AddConnections();
    AddMigrate();
    AddWorkers();
    Set(WithExample(app_.add_subcommand("status", "Who leads the cluster, who works, what waits"), ""),
        [] { return StatusCommand(); });
    AddCompletion();
    Set(WithExample(app_.add_subcommand("schema", "Print the JSON Schema of the project file"),
                    " > tidemark.schema.json"),
        [] { return SchemaCommand(); });
    Set(WithExample(app_.add_subcommand("version", "Print the version"), ""), [] { return VersionCommand(); });
    // Last, so that no command takes it for its own.
    app_.footer(absl::StrCat(Examples("  tidemark init shop && tidemark run shop/tidemark.yaml\n"
                                      "  tidemark runs get orders@latest --project shop/tidemark.yaml\n"
                                      "  tidemark apply tidemark.yaml && tidemark jobs run orders --wait\n\n"),
                             kExitCodes));
  }

  CommandLine Parse(int argc, const char* const* argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      line_.command.reset();
      const CLI::App* const deepest = Deepest(&app_);
      const std::string unknown = UnknownCommand(*deepest);
      if (unknown.empty() && dynamic_cast<const CLI::Success*>(&error) != nullptr) {
        line_.help = deepest->help(deepest->get_parent() == nullptr ? "" : Path(deepest->get_parent()),
                                   CLI::AppFormatMode::Normal);
      } else {
        line_.error =
            absl::StrCat("tidemark: ",
                         unknown.empty() ? std::string(error.what())
                                         : absl::StrCat("this version has no command `", Path(deepest), " ", unknown,
                                                        "`", Suggestion(unknown, CommandNames(*deepest))),
                         "\nTry `", Path(deepest), " --help`.");
        line_.exit_code = kUsage;
      }
    }
    return std::move(line_);
  }

  // What may stand in the place of the last of `words`, those of a command line that is being written.
  CommandLine Complete(std::vector<std::string> words) {
    const std::string current = words.empty() ? "" : words.back();
    if (!words.empty()) words.pop_back();
    for (const CLI::Option* option : app_.get_options([](const CLI::Option* o) { return !o->get_envname().empty(); })) {
      const char* value = getenv(option->get_envname().c_str());
      if (value != nullptr && *value != '\0') NoteServer(*option, value);
    }
    const CLI::App* app = &app_;
    const CLI::Option* awaits_value = nullptr;
    size_t arguments = 0;
    for (const std::string& word : words) {
      if (awaits_value != nullptr) {
        NoteServer(*awaits_value, word);
        awaits_value = nullptr;
      } else if (word.starts_with('-')) {
        const size_t equals = word.find('=');
        const CLI::Option* option = FindOption(app, word.substr(0, equals));
        if (option == nullptr || option->get_items_expected_max() == 0) continue;
        if (equals == word.npos) awaits_value = option;
        if (equals != word.npos) NoteServer(*option, word.substr(equals + 1));
      } else if (const CLI::App* command = FindCommand(*app, word)) {
        app = command;
        arguments = 0;
      } else {
        ++arguments;
      }
    }
    CompleteCommand complete;
    complete.prefix = current;
    if (awaits_value != nullptr) {
      OfferValue(*awaits_value, &complete);
    } else if (current.starts_with('-')) {
      OfferOptions(app, &complete);
    } else {
      OfferArgument(*app, arguments, &complete);
    }
    std::erase_if(complete.words, [&](const auto& offer) { return !offer.first.starts_with(current); });
    line_.command = std::move(complete);
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

  static std::vector<std::string> CommandNames(const CLI::App& app) {
    std::vector<std::string> names;
    for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
      names.push_back(command->get_name());
    }
    return names;
  }

  // Shows how it is called: its own name with `words` behind it.
  static CLI::App* WithExample(CLI::App* command, const char* words) {
    command->footer(Examples(absl::StrCat("  ", Path(command), words).c_str()));
    return command;
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
    AddProcessLimits(command, &run_.process);
    command->footer(absl::StrCat(
        Examples("  tidemark run tidemark.yaml\n"
                 "  tidemark run tidemark.yaml orders --full-refresh\n"
                 "  tidemark run tidemark.yaml orders --from 2026-01-01 --to 2026-02-01\n"
                 "  tidemark run tidemark.yaml -o json | jq .rows_loaded\n\n"),
        "Ctrl-C cancels the runs at the server. A run that a killed process left is finished first.\n", kExitCodes));
    Set(command, [this] {
      run_.process.memory_bytes = *ParseByteSize(memory_);
      return run_;
    });
  }

  void AddDev() {
    CLI::App* command = app_.add_subcommand(
        "dev", "A cluster in this process that stays up: schedules, the API, metrics; state in .tidemark/ beside FILE");
    command->add_option("FILE", dev_.file, "Project file")->required();
    AddListen(command, "--admin-listen", "Where the API is served", &dev_.admin_listen);
    AddListen(command, "--metrics-listen", "Where /metrics is served", &dev_.metrics_listen);
    AddProcessLimits(command, &dev_.process);
    command->footer(absl::StrCat(
        Examples("  tidemark dev tidemark.yaml\n"
                 "  tidemark jobs run orders --wait\n"
                 "  tidemark dev tidemark.yaml --admin-listen 127.0.0.1:0 --metrics-listen 127.0.0.1:0\n\n"),
        "Port 0 takes a free one; the real ports are printed. FILE is read once: start anew after a change. Jobs that\n"
        "it names no more are disabled. Ctrl-C ends it: what has begun is finished first; a second one ends it at "
        "once.\n"));
    Set(command, [this] {
      dev_.process.memory_bytes = *ParseByteSize(memory_);
      return dev_;
    });
  }

  void AddListen(CLI::App* command, const char* option, const char* help, std::string* address) {
    command->add_option(option, *address, help)
        ->check(CLI::Validator(
            [](std::string& text) { return ParseHostPort(text) ? "" : "expected HOST:PORT, such as 127.0.0.1:8470"; },
            ""))
        ->option_text("HOST:PORT")
        ->capture_default_str();
  }

  void AddProcessLimits(CLI::App* command, ProcessLimits* limits) {
    command->add_option("--workers", limits->workers, "Workers in this process")
        ->check(CLI::Range(1, 64))
        ->option_text("N")
        ->capture_default_str();
    command->add_option("--slots", limits->slots, "Tasks at once, per worker")
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

  void AddFile(const char* option, const char* variable, const char* help, std::string* file) {
    app_.add_option(option, *file, absl::StrCat(help, "; else ", variable))->envname(variable)->option_text("FILE");
  }

  CLI::App* AddGroup(const char* name, const char* help, const char* examples) {
    CLI::App* group = app_.add_subcommand(name, help);
    group->require_subcommand(1);
    group->footer(Examples(examples));
    return group;
  }

  void AddProjectOption(CLI::App* command, std::string* project, const char* help) {
    command->add_option("--project", *project, help)->option_text("FILE");
  }

  void AddNewRunOptions(CLI::App* command, NewRun* run) {
    command->add_flag("--wait", run->wait, "Watch the run to its end; the exit code is the run's");
    command
        ->add_option("--request-id", run->request_id,
                     "The same id again makes no second run, but returns the first; by default a new one")
        ->option_text("ID");
  }

  void AddApply() {
    CLI::App* command = app_.add_subcommand("apply", "Make a cluster's connections and jobs what a project file says");
    command->add_option("FILE", apply_.file, "Project file")->required();
    command->add_flag("--dry-run", apply_.dry_run, "Ask the server what it would do, and change nothing");
    command->footer(absl::StrCat(
        Examples("  tidemark apply tidemark.yaml --dry-run\n  tidemark apply tidemark.yaml --server etl:8470\n\n"),
        "References (${env:X}, ${file:...}) in DSNs are sent as they are, for workers to resolve; all others are\n"
        "resolved here. What the file does not name stays as it is."));
    Set(command, [this] { return apply_; });
  }

  // A command on one job.
  template <typename JobCommand>
  CLI::App* AddJobCommand(CLI::App* group, const char* name, const char* help, JobCommand* words) {
    CLI::App* command = group->add_subcommand(name, help);
    command->add_option("JOB", words->job, "Name of a job")->required();
    Set(command, [words] { return *words; });
    return WithExample(command, " orders");
  }

  void AddJobs() {
    CLI::App* jobs = AddGroup("jobs", "Jobs of a cluster", "  tidemark jobs list\n  tidemark jobs run orders --wait");
    CLI::App* list = jobs->add_subcommand("list", "List jobs: schedule, next run, last watermark");
    Set(WithExample(list, " -o json"), [] { return JobsListCommand(); });
    AddJobCommand(jobs, "get", "Show one job", &jobs_get_);
    AddJobCommand(jobs, "delete", "Forget a job; its runs and its target stay", &jobs_delete_)
        ->add_flag("--force", jobs_delete_.force, "Cancel a run of it that goes on");
    AddJobCommand(jobs, "pause", "Leave its schedule out until `resume`", &jobs_pause_);
    AddJobCommand(jobs, "resume", "Let its schedule count again", &jobs_resume_);
    AddJobCommand(jobs, "adopt", "Let its next run take over a target that another cluster has loaded", &jobs_adopt_);
    CLI::App* run = AddJobCommand(jobs, "run", "Run a job now", &jobs_run_);
    run->add_flag("--full-refresh", jobs_run_.full_refresh, "Replace the target by all the source holds");
    AddNewRunOptions(run, &jobs_run_.run);
    run->footer(absl::StrCat(
        Examples("  tidemark jobs run orders\n  tidemark jobs run orders --wait -o json | jq .rows_loaded\n\n"),
        kExitCodes));
  }

  void AddBackfill() {
    CLI::App* command =
        AddJobCommand(&app_, "backfill", "Move the rows of a range of watermarks of a job again", &backfill_);
    command->add_option("--from", backfill_.from, "Rows above this watermark")->required()->option_text("WATERMARK");
    command->add_option("--to", backfill_.to, "Rows up to this watermark")->required()->option_text("WATERMARK");
    AddNewRunOptions(command, &backfill_.run);
    command->footer(Examples("  tidemark backfill orders --from 2026-01-01 --to 2026-02-01 --wait"));
  }

  // A command on one run.
  template <typename RunWords>
  CLI::App* AddRunCommand(CLI::App* group, const char* name, const char* help, RunWords* words) {
    CLI::App* command = group->add_subcommand(name, help);
    command->add_option("RUN", words->run, "An id, or JOB@latest")->required();
    Set(command, [words] { return *words; });
    return WithExample(command, " orders@latest");
  }

  void AddRuns() {
    constexpr char kProject[] = "Runs of `tidemark run FILE`, from the state beside FILE, instead of a cluster's";
    CLI::App* runs =
        AddGroup("runs", "Runs of the past and of now",
                 "  tidemark runs list --status failed\n  tidemark runs get orders@latest --project tidemark.yaml");
    CLI::App* list = runs->add_subcommand("list", "List runs, the newest first");
    list->add_option("--job,JOB", runs_list_.job, "Of this job alone")->option_text("JOB");
    list->add_option("--status", runs_list_.status, "Of this status alone")
        ->check(CLI::IsMember({"running", "success", "failed", "skipped"}).description(""))
        ->option_text("running|success|failed|skipped");
    list->add_option("--limit", runs_list_.limit, "At most so many")
        ->check(CLI::Range(1, 10'000))
        ->option_text("N")
        ->capture_default_str();
    AddProjectOption(list, &runs_list_.project, kProject);
    list->footer(
        Examples("  tidemark runs list --status failed\n  tidemark runs list orders --limit 5 -o json\n"
                 "  tidemark runs list --project tidemark.yaml"));
    Set(list, [this] { return runs_list_; });
    CLI::App* get = AddRunCommand(runs, "get", "Show one run", &runs_get_);
    AddProjectOption(get, &runs_get_.project, kProject);
    get->footer(
        Examples("  tidemark runs get orders@latest\n"
                 "  tidemark runs get orders@latest --project tidemark.yaml -o yaml"));
    AddRunCommand(runs, "watch", "Watch a run to its end; the exit code is the run's", &runs_watch_)
        ->footer(absl::StrCat(Examples("  tidemark runs watch orders@latest\n\n"),
                              "Ctrl-C leaves the watch; the run goes on.\n", kExitCodes));
    AddRunCommand(runs, "cancel", "Cancel a run", &runs_cancel_);
    AddNewRunOptions(AddRunCommand(runs, "retry", "Make a new run over the window of one that failed", &runs_retry_),
                     &runs_retry_.made);
    AddNewRunOptions(AddRunCommand(runs, "replay-load",
                                   "Go on with the loads of a failed run, without touching the source", &runs_replay_),
                     &runs_replay_.made);
  }

  void AddConnections() {
    CLI::App* connections =
        AddGroup("connections", "Connections of a cluster, or of a project file",
                 "  tidemark connections list\n  tidemark connections test --project tidemark.yaml");
    Set(WithExample(connections->add_subcommand("list", "List connections: limits, and the sessions held on them"), ""),
        [] { return ConnectionsListCommand(); });
    CLI::App* test = connections->add_subcommand("test", "Connect, and ask the server who it is");
    test->add_option("CONNECTION", connections_test_.connections, "Connections to test; all if none is named");
    AddProjectOption(test, &connections_test_.project,
                     "Those of a project file, from this machine, instead of a cluster's");
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

  void AddWorkers() {
    CLI::App* workers =
        AddGroup("workers", "Workers of a cluster", "  tidemark workers list\n  tidemark workers drain w1");
    Set(WithExample(workers->add_subcommand("list", "List workers: state, slots, memory, spill"), ""),
        [] { return WorkersListCommand(); });
    CLI::App* drain = workers->add_subcommand("drain", "Give a worker no new task; it finishes those it has");
    drain->add_option("WORKER", workers_drain_.worker, "Name of a worker")->required();
    Set(WithExample(drain, " w1"), [this] { return workers_drain_; });
  }

  void AddCompletion() {
    CLI::App* command = app_.add_subcommand("completion", "Print the script by which a shell completes commands");
    command->add_option("SHELL", completion_.shell, "")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish"}).description(""))
        ->option_text("bash|zsh|fish");
    command->footer(
        Examples("  source <(tidemark completion bash)\n"
                 "  tidemark completion zsh > \"${fpath[1]}/_tidemark\"\n"
                 "  tidemark completion fish > ~/.config/fish/completions/tidemark.fish"));
    Set(command, [this] { return completion_; });
  }

  // Whether `app` or a command above it has the option; nullptr if none does.
  static const CLI::Option* FindOption(const CLI::App* app, const std::string& name) {
    for (; app != nullptr; app = app->get_parent()) {
      if (const CLI::Option* option = app->get_option_no_throw(name)) return option;
    }
    return nullptr;
  }

  static const CLI::App* FindCommand(const CLI::App& app, const std::string& name) {
    const auto found = app.get_subcommands([&](const CLI::App* command) { return command->get_name() == name; });
    return found.empty() ? nullptr : found.front();
  }

  // Names are asked for where the command line says.
  void NoteServer(const CLI::Option& option, const std::string& value) {
    if (option.check_lname("server")) line_.server.address = value;
    if (option.check_lname("tls-ca")) line_.server.tls.ca = value;
    if (option.check_lname("tls-cert")) line_.server.tls.cert = value;
    if (option.check_lname("tls-key")) line_.server.tls.key = value;
  }

  // What may stand where `option` wants its value.
  static void OfferValue(const CLI::Option& option, CompleteCommand* complete) {
    const std::string& text = option.get_option_text();
    if (!absl::StrContains(text, '|')) {
      complete->kind = text.empty() ? option.get_name() : text;
      return;
    }
    for (const absl::string_view choice : absl::StrSplit(text, '|')) complete->words.emplace_back(choice, "");
  }

  static void OfferOptions(const CLI::App* app, CompleteCommand* complete) {
    for (; app != nullptr; app = app->get_parent()) {
      for (const CLI::Option* option : app->get_options([](const CLI::Option*) { return true; })) {
        for (const std::string& name : option->get_lnames()) {
          complete->words.emplace_back(absl::StrCat("--", name), option->get_description());
        }
      }
    }
  }

  static void OfferArgument(const CLI::App& app, size_t given, CompleteCommand* complete) {
    for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
      complete->words.emplace_back(command->get_name(), command->get_description());
    }
    for (const CLI::Option* option : app.get_options([](const CLI::Option* o) { return o->get_positional(); })) {
      if (given == 0 || option->get_items_expected_max() > 1) return OfferValue(*option, complete);
      --given;
    }
  }

  CLI::App app_;
  CommandLine line_;
  InitCommand init_;
  RunCommand run_;
  DevCommand dev_;
  std::string memory_ = "1GiB";
  ValidateCommand validate_;
  PlanCommand plan_;
  RunsListCommand runs_list_;
  RunsGetCommand runs_get_;
  RunsWatchCommand runs_watch_;
  RunsCancelCommand runs_cancel_;
  RunsRetryCommand runs_retry_;
  RunsReplayLoadCommand runs_replay_;
  ApplyCommand apply_;
  JobsGetCommand jobs_get_;
  JobsDeleteCommand jobs_delete_;
  JobsPauseCommand jobs_pause_;
  JobsResumeCommand jobs_resume_;
  JobsAdoptCommand jobs_adopt_;
  JobsRunCommand jobs_run_;
  BackfillCommand backfill_;
  WorkersDrainCommand workers_drain_;
  CompletionCommand completion_;
  ConnectionsTestCommand connections_test_;
  MigrateCommand migrate_;
};

}  // namespace

CommandLine ParseCommandLine(int argc, const char* const* argv) {
  // Words of another command line follow, complete or not.
  if (argc > 1 && std::string_view(argv[1]) == kComplete) {
    return Grammar().Complete(std::vector<std::string>(argv + 2, argv + argc));
  }
  return Grammar().Parse(argc, argv);
}

}  // namespace tidemark::cli
