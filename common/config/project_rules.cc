#include "common/config/project_rules.h"

#include <algorithm>
#include <initializer_list>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/config/suggestion.h"
#include "common/model/connection_identity.h"
#include "common/model/duration.h"
#include "common/model/enum_names.h"

namespace tidemark {
namespace {

// Judges one job.
class JobRules {
 public:
  JobRules(const Project& project, const v1::JobSpec& job, const Places& places, Diagnostics* diagnostics)
      : project_(project), job_(job), prefix_("jobs." + job.name()), places_(places), diagnostics_(*diagnostics) {}

  void Check() {
    CheckConnection("source.connection", job_.source().connection());
    CheckConnection("target.connection", job_.target().connection());
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
      if (diagnostics_.Has(absl::StrCat(prefix_, ".", key))) return;
    }
    const std::string path = absl::StrCat(prefix_, ".", Abs(where));
    diagnostics_.Add(PlaceOf(path), path, message);
  }

  // Of the key, or of the nearest mapping around it.
  Location PlaceOf(std::string path) const {
    while (true) {
      if (const auto at = places_.find(path); at != places_.end()) return at->second;
      const size_t dot = path.rfind('.');
      if (dot == path.npos) return Location();
      path.resize(dot);
    }
  }

  bool Given(const char* key) const { return places_.contains(absl::StrCat(prefix_, ".", key)); }

  void CheckConnection(const char* key, const std::string& name) {
    // That it is missing is said already.
    if (name.empty()) return;
    std::vector<std::string> names;
    for (const v1::ConnectionSpec& connection : project_.connections) names.push_back(connection.name());
    Rule(project_.FindConnection(name) != nullptr, {key}, key,
         absl::StrCat("unknown connection \"", name, "\"", Suggestion(name, names)));
  }

  void CheckRelation() {
    const v1::SourceSpec& source = job_.source();
    const auto keys = {"source.table", "source.query", "source.api"};
    Rule(Given("source.table") || Given("source.query"), {"source", "source.api"}, "source.table",
         "missing: the source needs a table or a query");
    Rule(!(Given("source.table") && Given("source.query")), keys, "source.query", "give a table or a query, not both");
    const v1::ConnectionSpec* from = project_.FindConnection(source.connection());
    const v1::ConnectionSpec* to = project_.FindConnection(job_.target().connection());
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

  const Project& project_;
  const v1::JobSpec& job_;
  const std::string prefix_;
  const Places& places_;
  Diagnostics& diagnostics_;
};

}  // namespace

void CheckRules(const Project& project, const Places& places, Diagnostics* diagnostics) {
  // By database and table: two connections may name one database.
  std::map<std::pair<std::string, std::string>, std::string> targets;
  for (const v1::JobSpec& job : project.jobs) {
    JobRules(project, job, places, diagnostics).Check();
    const v1::ConnectionSpec* connection = project.FindConnection(job.target().connection());
    if (connection == nullptr || job.target().table().empty()) continue;
    const auto [other, fresh] =
        targets.try_emplace({ConnectionIdentity(*connection), job.target().table()}, job.name());
    if (fresh) continue;
    const std::string path = absl::StrCat("jobs.", job.name(), ".target.table");
    const auto at = places.find(path);
    diagnostics->Add(at == places.end() ? Location() : at->second, path,
                     absl::StrCat("the job ", other->second, " already loads this table"));
  }
}

}  // namespace tidemark
