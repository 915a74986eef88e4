#include "common/config/project_rules.h"

#include <algorithm>
#include <initializer_list>
#include <map>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/absl_view.h"
#include "common/config/suggestion.h"
#include "common/model/connection_identity.h"
#include "common/model/dsn.h"
#include "common/model/duration.h"
#include "common/model/enum_names.h"
#include "common/model/sql_text.h"

namespace tidemark {
namespace {

// Judges one job.
class JobRules {
 public:
  JobRules(const v1::JobSpec& job, const std::vector<v1::ConnectionSpec>& connections, WrittenJob* written)
      : job_(job), connections_(connections), written_(*written) {}

  void Check() {
    CheckConnection("source.connection", job_.source().connection());
    CheckConnection("target.connection", job_.target().connection());
    CheckReplicas();
    CheckRelation();
    CheckWatermark();
    CheckKey();
    Rule(!(Given("source.partition") && Given("source.partitions")), {"source.partition", "source.partitions"},
         "source.partitions", "give partition or partitions, not both");
  }

 private:
  // Reports `message` at `where` unless `holds`, or one of the keys it rests on is wrong already.
  void Rule(bool holds, std::initializer_list<const char*> rests_on, std::string_view where, std::string_view message) {
    if (holds) return;
    for (const char* key : rests_on) {
      if (written_.Wrong(key)) return;
    }
    written_.AddError(where, message);
  }

  bool Given(const char* key) const { return written_.Given(key); }

  void CheckConnection(const char* key, const std::string& name) {
    // That it is missing is said already.
    if (name.empty()) return;
    std::vector<std::string> names;
    for (const v1::ConnectionSpec& connection : connections_) names.push_back(connection.name());
    Rule(FindConnection(connections_, name) != nullptr, {key}, key,
         absl::StrCat("unknown connection \"", name, "\"", SuggestionOrAll(name, names)));
  }

  void CheckReplicas() {
    const v1::ConnectionSpec* from = FindConnection(connections_, job_.source().connection());
    if (from == nullptr || from->replicas().empty()) return;
    Rule(!DsnLocalPath(from->dsn()), {"source.connection"}, "source.connection",
         "the connection has replicas, and a local file has none: remove them");
    const std::vector<v1::ConnectionSpec> servers = ServersOf(*from);
    const bool itself = std::any_of(servers.begin() + 1, servers.end(), [&](const v1::ConnectionSpec& replica) {
      return ConnectionIdentity(replica) == ConnectionIdentity(servers[0]);
    });
    Rule(!itself, {"source.connection"}, "source.connection",
         "one of the connection's replicas is the server and database of its dsn: remove it, or name the standby's");
  }

  void CheckRelation() {
    const v1::SourceSpec& source = job_.source();
    const auto keys = {"source.table", "source.query", "source.api"};
    Rule(Given("source.table") || Given("source.query"), {"source", "source.api"}, "source.table",
         "missing: the source needs a table or a query");
    Rule(!(Given("source.table") && Given("source.query")), keys, "source.query", "give a table or a query, not both");
    const absl::Status select = Given("source.query") ? CheckSelect(source.query()) : absl::OkStatus();
    Rule(select.ok(), {"source.query"}, "source.query", Std(select.message()));
    const v1::ConnectionSpec* from = FindConnection(connections_, source.connection());
    const v1::ConnectionSpec* to = FindConnection(connections_, job_.target().connection());
    const bool same = from != nullptr && to != nullptr && ConnectionIdentity(*from) == ConnectionIdentity(*to) &&
                      !source.table().empty() && source.table() == job_.target().table();
    Rule(!same, {"source.table", "target.table"}, "target.table", "source and target are the same table");
  }

  void CheckWatermark() {
    const v1::SourceSpec& source = job_.source();
    const v1::LoadStrategy strategy = job_.target().strategy();
    const bool windowed = strategy != v1::LOAD_STRATEGY_FULL;
    const bool has_watermark = Given("source.watermark");
    Rule(!windowed || has_watermark, {"source.watermark", "target.strategy", "target", "source"}, "source.watermark",
         absl::StrCat("missing: the strategy ", EnumName(strategy),
                      " needs a watermark: name a column, or use strategy: full"));
    for (const char* key : {"source.watermark_timezone", "source.stamped_by", "source.null_watermark",
                            "source.horizon_wait", "source.max_hold", "source.lookback"}) {
      Rule(has_watermark || !Given(key) || windowed, {"source.watermark"}, key, "has no meaning without a watermark");
    }
    const bool by_application = windowed && source.stamped_by() == v1::STAMPED_BY_APPLICATION;
    Rule(!by_application || Given("source.lookback"), {"source.stamped_by", "source.lookback"}, "source.stamped_by",
         "the clock of an application bounds nothing: give a lookback");
    Rule(!by_application || !Given("source.lookback") || FromProto(source.lookback()) > absl::ZeroDuration(),
         {"source.stamped_by", "source.lookback"}, "source.lookback",
         "the clock of an application bounds nothing: give a lookback longer than 0s");
    Rule(!Given("source.query") || has_watermark ||
             (!absl::StrContains(source.query(), ":last_watermark") &&
              !absl::StrContains(source.query(), ":watermark_snapshot")),
         {"source.query", "source.watermark"}, "source.query",
         "uses :last_watermark or :watermark_snapshot without a watermark");
  }

  void CheckKey() {
    const v1::SourceSpec& source = job_.source();
    const v1::LoadStrategy strategy = job_.target().strategy();
    const bool key = Given("target.key");
    const auto rests_on = {"target.key", "target.strategy", "target"};
    Rule(strategy != v1::LOAD_STRATEGY_UPSERT || key, rests_on, "target.key",
         "missing: the strategy upsert needs a key");
    const bool append = strategy == v1::LOAD_STRATEGY_INCREMENTAL;
    Rule(!append || !Given("source.lookback") || key, rests_on, "source.lookback",
         "an append with lookback reads rows again and needs target.key to tell them from new ones");
    Rule(!append || source.stamped_by() != v1::STAMPED_BY_APPLICATION || Given("source.lookback") || key, rests_on,
         "source.stamped_by",
         "an append that is stamped by an application needs target.key to tell rows read again from new ones");
    Rule(!append || source.null_watermark() != v1::NULL_WATERMARK_REREAD || key, rests_on, "source.null_watermark",
         "reread needs target.key to tell rows read again from new ones");
  }

  const v1::JobSpec& job_;
  const std::vector<v1::ConnectionSpec>& connections_;
  WrittenJob& written_;
};

// A job of the project file.
class JobInFile final : public WrittenJob {
 public:
  JobInFile(std::string_view name, const Places& places, Diagnostics* diagnostics)
      : prefix_(absl::StrCat("jobs.", Abs(name), ".")), places_(places), diagnostics_(*diagnostics) {}

  bool Given(std::string_view key) const override { return places_.contains(PathOf(key)); }
  bool Wrong(std::string_view key) const override { return diagnostics_.Has(PathOf(key)); }
  void AddError(std::string_view key, std::string_view message) override {
    diagnostics_.Add(PlaceOf(PathOf(key)), PathOf(key), message);
  }

 private:
  std::string PathOf(std::string_view key) const { return absl::StrCat(prefix_, Abs(key)); }

  // Of the key, or of the nearest mapping around it.
  Location PlaceOf(std::string path) const {
    while (true) {
      if (const auto at = places_.find(path); at != places_.end()) return at->second;
      const size_t dot = path.rfind('.');
      if (dot == path.npos) return Location();
      path.resize(dot);
    }
  }

  const std::string prefix_;
  const Places& places_;
  Diagnostics& diagnostics_;
};

}  // namespace

void CheckJobRules(const v1::JobSpec& job, const std::vector<v1::ConnectionSpec>& connections, WrittenJob* written) {
  JobRules(job, connections, written).Check();
}

void CheckRules(const Project& project, const Places& places, Diagnostics* diagnostics) {
  // Of connections that could not be read, jobs may name any.
  if (diagnostics->Has("connections")) return;
  std::map<std::string, std::string> targets;
  for (const v1::JobSpec& job : project.jobs) {
    JobInFile written(job.name(), places, diagnostics);
    CheckJobRules(job, project.connections, &written);
    const std::string target = TargetIdentity(job, project.connections);
    if (target.empty()) continue;
    const auto [other, fresh] = targets.try_emplace(target, job.name());
    if (!fresh) written.AddError("target.table", AlreadyLoaded(other->second));
  }
}

void TrimQuery(v1::JobSpec* job) {
  if (job->source().query().empty()) return;
  absl::string_view text = absl::StripTrailingAsciiWhitespace(job->source().query());
  while (absl::ConsumeSuffix(&text, ";")) text = absl::StripTrailingAsciiWhitespace(text);
  job->mutable_source()->set_query(std::string(text));
}

const v1::ConnectionSpec* FindConnection(const std::vector<v1::ConnectionSpec>& connections, std::string_view name) {
  const auto at = std::find_if(connections.begin(), connections.end(), [&](const auto& c) { return c.name() == name; });
  return at == connections.end() ? nullptr : &*at;
}

std::string TargetIdentity(const v1::JobSpec& job, const std::vector<v1::ConnectionSpec>& connections) {
  const v1::ConnectionSpec* connection = FindConnection(connections, job.target().connection());
  if (connection == nullptr || job.target().table().empty()) return "";
  const std::string& table = job.target().table();
  // SQLite does not tell letters from capitals.
  const bool folds = DsnScheme(connection->dsn()) == "sqlite";
  return absl::StrCat(ConnectionIdentity(*connection), "\n", folds ? absl::AsciiStrToLower(table) : table);
}

std::string AlreadyLoaded(std::string_view other) {
  return absl::StrCat("the job ", Abs(other), " already loads this table");
}

}  // namespace tidemark
