#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/secret/dsn.h"
#include "common/secret/redactor.h"

namespace tidemark {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

TEST(RedactDsnTest, Urls) {
  EXPECT_EQ(RedactDsn("postgresql://me:hunter22@db:5432/shop"), "postgresql://***@db:5432/shop");
  EXPECT_EQ(RedactDsn("postgresql://db/shop?user=me&password=hunter22&sslmode=require"),
            "postgresql://db/shop?user=me&password=***&sslmode=require");
  EXPECT_EQ(RedactDsn("postgresql://me@db/shop"), "postgresql://***@db/shop");
  EXPECT_EQ(RedactDsn("s3://bucket/prefix?secret_access_key=abc#x"), "s3://bucket/prefix?secret_access_key=***#x");
  EXPECT_EQ(RedactDsn("postgresql://db/shop"), "postgresql://db/shop");
  // A misspelled name, and a setting that may hold anything.
  EXPECT_EQ(RedactDsn("postgresql://db/shop?passwor=hunter22&port=6&options=-c%20my.key=hunter22"),
            "postgresql://db/shop?passwor=***&port=6&options=***");
  EXPECT_THAT(DsnPasswords("postgresql://db/shop?replication=true"), IsEmpty());
}

TEST(RedactDsnTest, UnencodedDelimitersInThePassword) {
  for (const char* dsn : {"postgresql://me:p@ss:w0rd@db/shop", "postgresql://me:p/ssw0rd@db/shop",
                          "postgresql://me:p?ssw0rd@db/shop", "postgresql://me:p#ssw0rd@db/shop"}) {
    EXPECT_EQ(RedactDsn(dsn), "postgresql://***@db/shop") << dsn;
  }
}

TEST(RedactDsnTest, MalformedUrlsShowNoPartOfAPassword) {
  EXPECT_EQ(RedactDsn("postgresql://u:CAN@ARY1/word@h/db"), "postgresql://***@h/db");
  EXPECT_EQ(RedactDsn("postgresql:/u:CANARY29@h/db"), "postgresql:/***@h/db");
  EXPECT_EQ(RedactDsn("postgresql:u:CANARY29@h/db"), "postgresql:***@h/db");
  EXPECT_EQ(RedactDsn("postgresql:/h/db?password=CANARY29"), "postgresql:/h/db?password=***");
  for (const char* dsn :
       {"postgresql://u:12@CANARY/34@h/db", "postgresql://u:1/@CANARY?34@h/db", "postgresql://u%3ACANARY/1@h/db",
        "postgresql://u%3A1?CANARY@h/db", "postgresql://h:5432/db?password=1@CANARY&sslmode=require",
        "postgresql://u:1?2@h/db?key=CANARY", "u:CANARY@h/db", "postgresql:///u:CANARY@h/db"}) {
    EXPECT_THAT(RedactDsn(dsn), Not(HasSubstr("CANARY"))) << dsn;
  }
  EXPECT_THAT(DsnPasswords("postgresql:/u:CANARY29@h/db"), ElementsAre("CANARY29"));
  EXPECT_THAT(DsnPasswords("postgresql://u:CAN@ARY1/word@h/db"), ElementsAre("CAN@ARY1/word"));
}

TEST(RedactDsnTest, KeywordLists) {
  EXPECT_EQ(RedactDsn("host=db password = 'hun ter\\'22' dbname=shop"), "host=db password = '***' dbname=shop");
  EXPECT_EQ(RedactDsn("password=hunter22"), "password=***");
  EXPECT_EQ(RedactDsn("sqlite:/data/shop.db"), "sqlite:/data/shop.db");
  EXPECT_EQ(RedactDsn("generator:orders?rows=1000"), "generator:orders?rows=1000");
  EXPECT_EQ(RedactDsn(""), "");
}

TEST(RedactDsnTest, OptionsOfAnUnknownDriver) {
  const std::string dsn = "adbc:snowflake?entrypoint=Init&uri=postgresql%3A%2F%2Fu%3As3cret%40h&x.token=t%26ken&y=1@2";
  EXPECT_EQ(RedactDsn(dsn), "adbc:snowflake?entrypoint=Init&uri=***&x.token=***&y=***");
  EXPECT_THAT(DsnPasswords(dsn), ElementsAre("t%26ken", "t&ken", "s3cret"));
  EXPECT_EQ(RedactDsn("adbc:/opt/a.so"), "adbc:/opt/a.so");
}

TEST(DsnPasswordsTest, AsWrittenAndDecoded) {
  EXPECT_THAT(DsnPasswords("postgresql://me:a%40b%2Fc@db/shop"), ElementsAre("a%40b%2Fc", "a@b/c"));
  EXPECT_THAT(DsnPasswords("host=db password='x y'"), ElementsAre("x y"));
  EXPECT_THAT(DsnPasswords("sqlite:shop.db"), IsEmpty());
  EXPECT_THAT(DsnPasswords("postgresql://me@db/shop"), IsEmpty());
}

TEST(RedactorTest, TakesOutEveryForm) {
  Redactor redactor;
  redactor.AddDsn("postgresql://me:p%40ssw0rd@db/shop");
  EXPECT_EQ(redactor.Redact("auth failed: p@ssw0rd, p%40ssw0rd"), "auth failed: ***, ***");
  EXPECT_THAT(redactor.Redact("cannot connect to postgresql://me:p%40ssw0rd@db/shop"), Not(HasSubstr("ssw0rd")));
}

TEST(RedactorTest, LongestFirst) {
  Redactor redactor;
  redactor.Add("canary");
  redactor.Add("canary-and-more");
  EXPECT_EQ(redactor.Redact("a canary-and-more b canary c"), "a *** b *** c");
}

TEST(RedactorTest, LeavesHarmlessTextAlone) {
  Redactor redactor;
  redactor.Add("");
  redactor.Add("a");
  redactor.AddDsn("sqlite:shop.db");
  EXPECT_EQ(redactor.Redact("a table of sqlite:shop.db"), "a table of sqlite:shop.db");
}

}  // namespace
}  // namespace tidemark
