#include "coordinator/run/chain_check.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/model/watermark.h"

namespace tidemark::coordinator {
namespace {

bool Appends(const v1::JobSpec& spec) {
  return spec.target().strategy() == v1::LOAD_STRATEGY_INCREMENTAL ||
         spec.target().strategy() == v1::LOAD_STRATEGY_UNSPECIFIED;
}

absl::Status Refuse(const JobRecord& job, const std::string& what) {
  const std::string& name = job.spec.name();
  return absl::FailedPreconditionError(absl::StrCat("job ", name, ": target table ", job.spec.target().table(), " ",
                                                    what, ": `tidemark jobs adopt ", name,
                                                    "` takes it over as it is, `--full-refresh` loads it anew"));
}

absl::Status RefuseDoubles(const v1::JobSpec& spec, const std::string& why) {
  return absl::FailedPreconditionError(
      absl::StrCat("job ", spec.name(), ": ", why,
                   ", and appending would load rows twice: name target.key, or run once with --full-refresh"));
}

}  // namespace

bool IsUnboundedFull(const RunRecord& run) {
  return run.window.kind() == v1::WINDOW_KIND_FULL && run.spec.target().strategy() == v1::LOAD_STRATEGY_FULL;
}

bool StandsAt(const std::optional<v1::Watermark>& watermark, const v1::LedgerHead& head) {
  if (!watermark.has_value() || !head.has_high()) return watermark.has_value() == head.has_high();
  return Same(*watermark, head.high());
}

absl::StatusOr<ChainVerdict> CheckChain(const RunRecord& run, const JobRecord& job,
                                        const v1::DescribeResult& description, std::string_view cluster_id,
                                        const ChainHistory& history) {
  const v1::LedgerHead& head = description.ledger();
  ChainVerdict verdict{.sequence = run.sequence};
  if (head.exists() && !run.window.full_refresh() && !run.window.adopt()) {
    if (head.cluster_id() != cluster_id)
      return Refuse(job, absl::StrCat("was loaded by another cluster (", head.cluster_id(), ")"));
    if (head.job_uid() != job.uid)
      return Refuse(job, absl::StrCat("was loaded by another job (uid ", head.job_uid(), ")"));
  }
  if (head.exists()) verdict.sequence = std::max(run.sequence, head.sequence() + 1);
  if (run.window.kind() == v1::WINDOW_KIND_FULL) return verdict;
  if ((head.exists() || head.has_ranges()) && !description.has_target_schema()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "job ", job.spec.name(), ": target table ", run.spec.target().table(),
        " is gone, though its ledger has loads of", " this job up to ",
        head.has_high() ? Text(head.high()) : "no watermark", ": restore it, or run once with --full-refresh"));
  }
  // An append may be read by somebody who deletes what he has read.
  if (head.emptied() && !Appends(run.spec)) {
    return absl::FailedPreconditionError(
        absl::StrCat("job ", job.spec.name(), ": target table ", run.spec.target().table(),
                     " is empty, though its ledger has rows that this job loaded: restore them, or run once with "
                     "--full-refresh"));
  }
  if (run.window.kind() == v1::WINDOW_KIND_RANGE) {
    // Its rows may have been loaded by the chain.
    verdict.overlap = true;
    if (Appends(run.spec) && run.spec.target().key().empty())
      return RefuseDoubles(run.spec, "a backfill reads rows again");
    return verdict;
  }

  // Said at the first window, which reads nothing twice: the next ones will reach back.
  const v1::Completeness& completeness = description.completeness();
  if (completeness.level() == v1::Completeness::LEVEL_LOOKBACK && completeness.lookback_seconds() > 0 &&
      Appends(run.spec) && run.spec.target().key().empty()) {
    return RefuseDoubles(run.spec, absl::StrCat("its completeness is ", Text(completeness), " (",
                                                absl::StrJoin(completeness.premises(), "; "),
                                                "), whose windows reach back behind the watermark"));
  }
  // A backfill may have brought rows that stand above the watermark.
  verdict.overlap = head.has_ranges();
  if (verdict.overlap && Appends(run.spec) && run.spec.target().key().empty()) {
    return RefuseDoubles(run.spec, "a backfill has loaded rows that its window may read again");
  }
  if (!head.exists()) {
    if (!job.last_watermark.has_value()) return verdict;
    if (run.window.adopt()) {
      return absl::FailedPreconditionError(
          absl::StrCat("job ", job.spec.name(), ": target table ", job.spec.target().table(),
                       " holds no ledger to go on from, and this job stands at ", Text(*job.last_watermark),
                       ": restore it, or run once with --full-refresh"));
    }
    return Refuse(job, absl::StrCat("holds no ledger of this job, which stands at ", Text(*job.last_watermark)));
  }
  if (!StandsAt(job.last_watermark, head)) {
    if (run.window.adopt()) {
      verdict.kind = ChainVerdict::Kind::kAdopt;
      return verdict;
    }
    const int64_t stored_sequence = history.last_success.has_value() ? history.last_success->sequence : 0;
    if (head.sequence() > stored_sequence && head.has_high()) {
      verdict.kind = ChainVerdict::Kind::kAdopt;
      return verdict;
    }
    return Refuse(job, absl::StrCat("stands at ", head.has_high() ? Text(head.high()) : "no watermark",
                                    " in its ledger (run ", head.run_id(), "), behind this job's ",
                                    job.last_watermark.has_value() ? Text(*job.last_watermark) : "state"));
  }
  // A full load has rows above its high; one whose run the store does not know may have.
  const bool after_full =
      head.kind() == v1::WINDOW_KIND_FULL && (!history.head_run.has_value() || IsUnboundedFull(*history.head_run));
  const bool lookback =
      description.has_effective_low() && run.window.has_low() && !Same(description.effective_low(), run.window.low());
  verdict.overlap |= after_full || lookback;
  if (verdict.overlap && Appends(run.spec) && run.spec.target().key().empty()) {
    return RefuseDoubles(run.spec, after_full ? "its last run was a full load, which reads beyond its watermark"
                                              : "its window reaches back behind the watermark");
  }
  return verdict;
}

absl::Status CheckChange(const JobRecord& job, const std::optional<RunRecord>& last_success) {
  const v1::JobSpec& now = job.spec;
  if (!last_success.has_value() || now.target().strategy() == v1::LOAD_STRATEGY_FULL) return absl::OkStatus();
  const v1::JobSpec& then = last_success->spec;
  if (IsUnboundedFull(*last_success) && Appends(now) && now.target().key().empty()) {
    return RefuseDoubles(now, "its last run was a full load, which reads beyond its watermark");
  }
  const auto changed = [&](const char* what, const std::string& before, const std::string& after) {
    return absl::FailedPreconditionError(
        absl::StrCat("job ", now.name(), ": ", what, " was ", before, " and is ", after,
                     ", so its watermark means nothing any more: run once with --full-refresh"));
  };
  if (!job.last_watermark.has_value()) return absl::OkStatus();
  if (then.source().watermark() != now.source().watermark()) {
    return changed("source.watermark", then.source().watermark(), now.source().watermark());
  }
  if (!then.source().table().empty() && !now.source().table().empty() &&
      then.source().table() != now.source().table()) {
    return changed("source.table", then.source().table(), now.source().table());
  }
  return absl::OkStatus();
}

}  // namespace tidemark::coordinator
