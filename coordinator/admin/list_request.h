#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/message.h"

namespace tidemark::coordinator {

// The filter of a list: comparisons `field = "value"` joined by AND, over the fields of the resource, e.g.
// `status = "failed" AND counts.read = 0`. Quotes may be left out around a word. An enum is given by its name, with or
// without its prefix, in any case; a timestamp by RFC 3339. Pure.
class ListFilter {
 public:
  // InvalidArgument names the field "filter" and what cannot be read, the field that `resource` does not have, or the
  // value that its field cannot have.
  static absl::StatusOr<ListFilter> Parse(std::string_view text, const google::protobuf::Descriptor& resource);

  // A field that is absent has the default of its type; one of an absent message matches nothing.
  bool Matches(const google::protobuf::Message& resource) const;

  // The value that `field` must have; empty if it is not asked for. For what the store can look up.
  std::string ValueOf(std::string_view field) const;

 private:
  std::vector<std::pair<std::string, std::string>> conditions_;
};

// Which part of a list is asked for.
struct Page {
  int size = 0;
  // Where the page before ended; empty: from the beginning.
  std::string after;
};

// How many records are read at once where a filter has let through too few of the first.
inline constexpr int kFilteredChunk = 1000;

// 0 items stand for 100, more than 1000 for 1000. InvalidArgument: a negative size, or a token that no list has given.
absl::StatusOr<Page> ReadPage(int32_t page_size, std::string_view page_token);
// The token of the page that goes on behind `last`.
std::string PageToken(std::string_view last);

}  // namespace tidemark::coordinator
