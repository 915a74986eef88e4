#include "common/model/connection_identity.h"

#include "gtest/gtest.h"

namespace tidemark {
namespace {

std::string Identity(const std::string& dsn) {
  v1::ConnectionSpec connection;
  connection.set_name("shop");
  connection.set_dsn(dsn);
  return ConnectionIdentity(connection);
}

TEST(ConnectionIdentityTest, IsServerAndDatabaseWithoutSecrets) {
  EXPECT_EQ(Identity("postgresql://u:s3cret@DB.example/shop?sslmode=require"), "postgresql://db.example:5432/shop");
  EXPECT_EQ(Identity("postgres://other@db.example:5432/shop"), "postgresql://db.example:5432/shop");
  EXPECT_EQ(Identity("postgresql://u:p@ss@[::1]:6000/shop"), "postgresql://[::1]:6000/shop");
  EXPECT_EQ(Identity("postgresql:///shop?host=/run/pg&port=6001"), "postgresql:///run/pg:6001/shop");
  EXPECT_EQ(Identity("sqlite:data/shop.db"), "sqlite:data/shop.db");
  EXPECT_EQ(Identity("sqlite:///data/shop.db"), Identity("sqlite:/data/shop.db"));
  EXPECT_EQ(Identity("generator:rows=5"), "connection:shop");
}

TEST(ConnectionIdentityTest, APostgresqlDatabaseIsTheUsersOwnUnlessNamed) {
  EXPECT_EQ(Identity("postgresql://u:s3cret@db"), "postgresql://db:5432/u");
  EXPECT_EQ(Identity("postgresql://u@db/"), Identity("postgresql://other@db/u"));
  EXPECT_EQ(Identity("postgresql://db?user=u"), "postgresql://db:5432/u");
  EXPECT_EQ(Identity("postgresql://u@db?dbname=shop"), "postgresql://db:5432/shop");
  EXPECT_EQ(Identity("postgresql://db"), "postgresql://db:5432/") << "the worker's account, the same for all";
  EXPECT_EQ(Identity("mysql://u@db"), "mysql://db:3306/") << "MySQL opens no database then";
}

}  // namespace
}  // namespace tidemark
