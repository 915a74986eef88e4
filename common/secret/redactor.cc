#include "common/secret/redactor.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_replace.h"
#include "common/secret/dsn.h"

namespace tidemark {

void Redactor::Add(std::string_view secret) {
  absl::MutexLock lock(&mutex_);
  AddValue(std::string(secret));
  AddValue(PercentEncode(secret));
}

void Redactor::AddDsn(std::string_view dsn) {
  const std::vector<std::string> passwords = DsnPasswords(dsn);
  for (const std::string& password : passwords) Add(password);
  if (passwords.empty()) return;
  absl::MutexLock lock(&mutex_);
  AddValue(std::string(dsn));
}

void Redactor::AddValue(std::string value) {
  if (value.size() < kShortest) return;
  const auto at = std::find_if(values_.begin(), values_.end(),
                               [&](const std::string& other) { return other.size() <= value.size(); });
  if (std::find(values_.begin(), values_.end(), value) != values_.end()) return;
  values_.insert(at, std::move(value));
}

std::string Redactor::Redact(std::string_view text) const {
  absl::MutexLock lock(&mutex_);
  std::string redacted(text);
  for (const std::string& value : values_) absl::StrReplaceAll({{value, "***"}}, &redacted);
  return redacted;
}

}  // namespace tidemark
