#include "common/secret/sealing.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace tidemark {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kSecret[] = "postgresql://etl:canary-secret@db/shop";
constexpr char kPlace[] = "connection/shop/dsn";

std::string KeyLine(const std::string& id, char fill) {
  return absl::StrCat(id, ":", absl::Base64Escape(std::string(32, fill)), "\n");
}

Sealer WithKeys(const std::string& keys) {
  absl::StatusOr<Sealer> sealer = Sealer::FromKeys(keys);
  EXPECT_TRUE(sealer.ok()) << sealer.status();
  return *std::move(sealer);
}

// One line, without the secret or a piece of the sealed text.
void ExpectDiscreet(const absl::Status& status, const std::string& sealed) {
  const std::string message(status.message());
  EXPECT_THAT(message, Not(HasSubstr("canary")));
  EXPECT_THAT(message, Not(HasSubstr("\n")));
  EXPECT_THAT(message, StartsWith(absl::StrCat(kPlace, ": ")));
  const std::vector<std::string> parts = absl::StrSplit(sealed, ':');
  EXPECT_THAT(message, Not(HasSubstr(parts.back().substr(0, 8))));
}

TEST(SealingTest, OpensWhatItSealed) {
  const Sealer sealer = WithKeys(KeyLine("a", 'x'));
  for (const std::string& secret : {std::string(kSecret), std::string(), std::string("\0\xff\n", 3)}) {
    const std::string sealed = sealer.Seal(secret, kPlace);
    EXPECT_THAT(sealed, StartsWith("sealed:v1:a:"));
    EXPECT_THAT(sealed, Not(HasSubstr("canary")));
    EXPECT_TRUE(IsSealed(sealed));
    const absl::StatusOr<std::string> opened = sealer.Unseal(sealed, kPlace);
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_EQ(*opened, secret);
  }
}

TEST(SealingTest, TheSameSecretIsNeverSealedTheSameWay) {
  const Sealer sealer = WithKeys(KeyLine("a", 'x'));
  EXPECT_NE(sealer.Seal(kSecret, kPlace), sealer.Seal(kSecret, kPlace));
}

TEST(SealingTest, EveryChangedByteIsRefused) {
  const Sealer sealer = WithKeys(KeyLine("a", 'x') + KeyLine("c", 'x'));
  const std::string sealed = sealer.Seal(kSecret, kPlace);
  // Sealed text is random: of many, each character stands somewhere.
  std::vector<std::string> texts = {sealed};
  while (texts.size() < 20) texts.push_back(sealer.Seal(kSecret, kPlace));
  for (const std::string& text : texts) {
    for (size_t i = 0; i < text.size(); ++i) {
      for (int bit = 0; bit < 8; ++bit) {
        std::string changed = text;
        changed[i] = static_cast<char>(changed[i] ^ (1 << bit));
        const absl::Status status = sealer.Unseal(changed, kPlace).status();
        ASSERT_TRUE(absl::IsDataLoss(status) || absl::IsFailedPrecondition(status)) << i << status;
        ExpectDiscreet(status, text);
      }
    }
  }
  for (size_t size = 0; size < sealed.size(); ++size) EXPECT_FALSE(sealer.Unseal(sealed.substr(0, size), kPlace).ok());
  EXPECT_FALSE(sealer.Unseal(sealed + "A", kPlace).ok());
  EXPECT_FALSE(sealer.Unseal(sealed + "=", kPlace).ok());
  EXPECT_FALSE(sealer.Unseal(sealed + "\n", kPlace).ok());
}

TEST(SealingTest, DoesNotOpenInAnotherPlace) {
  const Sealer sealer = WithKeys(KeyLine("a", 'x'));
  const std::string sealed = sealer.Seal(kSecret, "connection/warehouse/dsn");
  const absl::Status status = sealer.Unseal(sealed, kPlace).status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  ExpectDiscreet(status, sealed);
}

TEST(SealingTest, AnotherKeyOfTheSameIdDoesNotOpen) {
  const std::string sealed = WithKeys(KeyLine("a", 'x')).Seal(kSecret, kPlace);
  const absl::Status status = WithKeys(KeyLine("a", 'y')).Unseal(sealed, kPlace).status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("another key of the id \"a\""));
  ExpectDiscreet(status, sealed);
}

TEST(SealingTest, AnUnknownKeyIsNamed) {
  const std::string sealed = WithKeys(KeyLine("old.1", 'x')).Seal(kSecret, kPlace);
  const absl::Status status = WithKeys(KeyLine("new", 'y')).Unseal(sealed, kPlace).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("\"old.1\""));
  ExpectDiscreet(status, sealed);
}

TEST(SealingTest, WhatIsNoSealedTextIsNotShown) {
  const Sealer sealer = WithKeys(KeyLine("a", 'x'));
  for (const std::string& text : {std::string(kSecret), std::string("sealed:v1:canary\n:AAAA"), std::string(),
                                  std::string("sealed:v1:a"), std::string("sealed:v9:a:canary")}) {
    const absl::Status status = sealer.Unseal(text, kPlace).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("canary")));
  }
  EXPECT_FALSE(IsSealed(kSecret));
}

TEST(SealingTest, RotationSealsWithTheFirstKeyAndOpensWithAll) {
  const Sealer before = WithKeys(KeyLine("old", 'x'));
  const std::string sealed = before.Seal(kSecret, kPlace);
  EXPECT_FALSE(before.NeedsReseal(sealed));
  const Sealer both = WithKeys(KeyLine("new", 'y') + KeyLine("old", 'x'));
  EXPECT_TRUE(both.NeedsReseal(sealed));
  EXPECT_EQ(*both.Unseal(sealed, kPlace), kSecret);
  const std::string again = both.Seal(kSecret, kPlace);
  EXPECT_FALSE(both.NeedsReseal(again));
  EXPECT_EQ(*WithKeys(KeyLine("new", 'y')).Unseal(again, kPlace), kSecret);
  EXPECT_TRUE(both.NeedsReseal("not sealed"));
}

TEST(SealingTest, KeysAreJudgedByLine) {
  const std::string good = KeyLine("a", 'x');
  EXPECT_TRUE(Sealer::FromKeys("\n# comment\r\n  " + good + "\r\n").ok());
  const auto error = [](const std::string& keys) {
    const absl::Status status = Sealer::FromKeys(keys).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("eHh4")));
    return std::string(status.message());
  };
  EXPECT_EQ(error(""), "holds no key");
  EXPECT_EQ(error("# only this\n"), "holds no key");
  EXPECT_THAT(error(good + "eHh4eHh4"), StartsWith("line 2: expected id:KEY or KEY"));
  EXPECT_THAT(error("b:eHh4eHh4"), StartsWith("line 1: expected id:KEY or KEY"));
  EXPECT_THAT(error("b:" + absl::Base64Escape(std::string(33, 'x'))), StartsWith("line 1: expected id:KEY"));
  EXPECT_THAT(error("b c:" + absl::Base64Escape(std::string(32, 'x'))), StartsWith("line 1: an id is"));
  EXPECT_THAT(error(good + KeyLine("a", 'x')), StartsWith("line 2: its id is"));
}

TEST(SealingTest, AKeyFileIsMadeOnceForItsOwnerAlone) {
  const test::TempDir directory;
  const std::string path = directory.File("keys");
  ASSERT_TRUE(CreateKeyFile(path).ok());
  struct stat info;
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
  const absl::StatusOr<Sealer> sealer = Sealer::FromKeyFile(path);
  ASSERT_TRUE(sealer.ok()) << sealer.status();
  const std::string sealed = sealer->Seal(kSecret, kPlace);
  EXPECT_TRUE(absl::IsAlreadyExists(CreateKeyFile(path)));
  EXPECT_EQ(*Sealer::FromKeyFile(path)->Unseal(sealed, kPlace), kSecret);
  EXPECT_FALSE(CreateKeyFile(directory.File("no/folder")).ok());
  // Nothing is left beside it.
  const auto begin = std::filesystem::directory_iterator(directory.path());
  EXPECT_EQ(std::distance(begin, std::filesystem::directory_iterator()), 1);
}

TEST(SealingTest, OfManyThatMakeAKeyFileOneDoes) {
  const test::TempDir directory;
  const std::string path = directory.File("keys");
  std::vector<absl::Status> results(8);
  std::vector<std::thread> threads;
  for (absl::Status& result : results) threads.emplace_back([&result, &path] { result = CreateKeyFile(path); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(std::count_if(results.begin(), results.end(), [](const absl::Status& status) { return status.ok(); }), 1);
  EXPECT_TRUE(Sealer::FromKeyFile(path).ok());
}

TEST(SealingTest, AKeyFileThatOthersCouldReadIsToldOf) {
  const test::TempDir directory;
  const std::string path = directory.Write("keys", KeyLine("a", 'x'));
  const bool root = geteuid() == 0;
  for (const auto& [mode, accepted] : std::vector<std::pair<mode_t, bool>>{{0600, true},
                                                                           {0400, true},
                                                                           {0640, root},
                                                                           {0440, root},
                                                                           {0644, false},
                                                                           {0604, false},
                                                                           {0620, false},
                                                                           {0666, false}}) {
    ASSERT_EQ(chmod(path.c_str(), mode), 0);
    EXPECT_TRUE(Sealer::FromKeyFile(path).ok());
    const absl::Status status = CheckKeyFileMode(path);
    EXPECT_EQ(status.ok(), accepted) << mode << status;
    if (accepted) continue;
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("make it 0600"));
  }
}

TEST(SealingTest, AKeyIsReadInAnyOfItsUsualSpellings) {
  const test::TempDir directory;
  const std::string raw(32, 'x');
  std::string hex;
  for (int i = 0; i < 32; ++i) hex += "78";
  const std::string base64 = "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg";
  const auto sealer = Sealer::FromKeyFile(directory.Write("keys", raw));
  ASSERT_TRUE(sealer.ok()) << sealer.status();
  const std::string sealed = sealer->Seal("secret", "here");
  for (const std::string& spelling : {hex, base64, base64 + "=", hex + "\n"}) {
    const auto same = Sealer::FromKeyFile(directory.Write("keys", spelling));
    ASSERT_TRUE(same.ok()) << spelling << same.status();
    EXPECT_EQ(same->Unseal(sealed, "here").value_or(""), "secret") << spelling;
    EXPECT_FALSE(same->NeedsReseal(sealed));
  }
  const auto other = Sealer::FromKeyFile(directory.Write("keys", std::string(32, 'y')));
  ASSERT_TRUE(other.ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(other->Unseal(sealed, "here").status()));
}

TEST(SealingTest, AKeyFileThatIsNone) {
  const test::TempDir directory;
  EXPECT_TRUE(absl::IsNotFound(Sealer::FromKeyFile(directory.File("keys")).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(Sealer::FromKeyFile(directory.path()).status()));
  const std::string pipe = directory.File("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(Sealer::FromKeyFile(pipe).status()));
  const std::string path = directory.Write("keys", std::string(1 << 20, '#'));
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  EXPECT_THAT(std::string(Sealer::FromKeyFile(path).status().message()), HasSubstr("too large"));
  directory.Write("keys", "canary\n");
  EXPECT_THAT(std::string(Sealer::FromKeyFile(path).status().message()), HasSubstr("keys: line 1: expected id:KEY"));
}

}  // namespace
}  // namespace tidemark
