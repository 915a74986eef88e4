#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/resource_name.h"
#include "cli/signal_watcher.h"
#include "common/base/printable.h"

namespace tidemark::cli {
namespace {

// A person waits for it with a key still pressed.
constexpr absl::Duration kPatience = absl::Milliseconds(700);
constexpr int kMostNames = 200;
// Said instead of words where the shell knows better.
constexpr char kFiles[] = ":files";

// Each script asks this program for every word, so that it knows the commands of whatever version is called.

// The word that readline completes ($2) may begin in the middle of ours, after an @ or a colon.
constexpr char kBash[] = R"sh(_tidemark() {
  local line="${COMP_LINE:0:COMP_POINT}" before candidate
  local -a words
  read -ra words <<< "$line"
  [[ "$line" == *[[:space:]] ]] && words+=("")
  before="${words[-1]%"$2"}"
  COMPREPLY=()
  while IFS=$'\t' read -r candidate _; do
    if [[ "$candidate" == ":files" ]]; then
      compopt -o default
    else
      COMPREPLY+=("${candidate#"$before"}")
    fi
  done < <("$1" __complete "${words[@]:1}" 2> /dev/null)
}
complete -F _tidemark tidemark
)sh";

constexpr char kZsh[] = R"sh(#compdef tidemark
_tidemark() {
  local line
  local -a offers
  while IFS= read -r line; do
    if [[ "$line" == ":files" ]]; then
      _files
      return
    fi
    offers+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
  done < <("$words[1]" __complete "${(@)words[2,CURRENT]}" 2> /dev/null)
  _describe tidemark offers
}
if [[ "$funcstack[1]" == "_tidemark" ]]; then
  _tidemark "$@"
else
  compdef _tidemark tidemark
fi
)sh";

constexpr char kFish[] = R"sh(function __tidemark_complete
  set -l words (commandline -opc) (commandline -ct)
  for line in ($words[1] __complete $words[2..-1] 2> /dev/null)
    if test "$line" = ":files"
      __fish_complete_path (commandline -ct)
    else
      echo $line
    end
  end
end
complete -c tidemark -f -a '(__tidemark_complete)'
)sh";

template <typename Item>
std::vector<std::string> Ids(const absl::StatusOr<std::vector<Item>>& items) {
  std::vector<std::string> ids;
  if (!items.ok()) return ids;
  for (const Item& item : *items) ids.push_back(IdOf(item.name()));
  return ids;
}

// What the server has of the kind; nothing if it does not say so at once.
std::vector<std::string> Names(AdminClient& client, std::string_view kind) {
  if (kind == "JOB") return Ids(ListAll(client, v1::ListJobsRequest(), &v1::ListJobsResponse::jobs, kMostNames));
  if (kind == "WORKER") {
    return Ids(ListAll(client, v1::ListWorkersRequest(), &v1::ListWorkersResponse::workers, kMostNames));
  }
  if (kind == "CONNECTION") {
    return Ids(ListAll(client, v1::ListConnectionsRequest(), &v1::ListConnectionsResponse::connections, kMostNames));
  }
  if (kind != "RUN") return {};
  std::vector<std::string> names = Names(client, "JOB");
  for (std::string& name : names) name += "@latest";
  for (std::string& id : Ids(ListAll(client, v1::ListRunsRequest(), &v1::ListRunsResponse::runs, kMostNames))) {
    names.push_back(std::move(id));
  }
  return names;
}

}  // namespace

ExitCode Execute(const CompletionCommand& command, const CommandContext& context) {
  context.console->Data(command.shell == "bash" ? kBash : command.shell == "zsh" ? kZsh : kFish);
  return kDone;
}

ExitCode Execute(const CompleteCommand& command, const CommandContext& context) {
  ExitOnSignals();
  std::string text;
  for (const auto& [word, meaning] : command.words) absl::StrAppend(&text, word, "\t", meaning, "\n");
  if (command.kind == "FILE" || command.kind == "DIR") {
    absl::StrAppend(&text, kFiles, "\n");
  } else if (!command.kind.empty()) {
    absl::StatusOr<std::unique_ptr<AdminClient>> client = AdminClient::Connect(context.server, kPatience);
    if (client.ok()) {
      for (const std::string& name : Names(**client, command.kind)) {
        if (name.starts_with(command.prefix)) absl::StrAppend(&text, Printable(name), "\t\n");
      }
    }
  }
  context.console->Data(text);
  return kDone;
}

}  // namespace tidemark::cli
