// Reads the compiled .proto files: that every service and method users were promised is there, and that they keep one
// manner.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace {

namespace pb = google::protobuf;

class ContractTest : public testing::Test {
 protected:
  void SetUp() override {
    std::ifstream in(TIDEMARK_DESCRIPTORS, std::ios::binary);
    pb::FileDescriptorSet set;
    ASSERT_TRUE(set.ParseFromIstream(&in)) << TIDEMARK_DESCRIPTORS;
    for (const pb::FileDescriptorProto& proto : set.file()) {
      const pb::FileDescriptor* file = pool_.BuildFile(proto);
      ASSERT_NE(file, nullptr) << proto.name();
      for (int i = 0; i < file->service_count(); ++i) services_[file->service(i)->name()] = file->service(i);
    }
  }

  template <typename Visit>
  void ForEachMethod(const std::string& prefix, Visit visit) {
    for (const auto& [name, service] : services_) {
      for (int i = 0; i < service->method_count(); ++i) {
        if (service->method(i)->name().rfind(prefix, 0) == 0) visit(*service->method(i));
      }
    }
  }

  pb::DescriptorPool pool_;
  std::map<std::string, const pb::ServiceDescriptor*> services_;
};

TEST_F(ContractTest, HasEveryPromisedMethod) {
  const std::map<std::string, std::vector<std::string>> promised = {
      {"JobService",
       {"CreateJob", "GetJob", "ListJobs", "UpdateJob", "DeleteJob", "PauseJob", "ResumeJob", "RunJob", "BackfillJob",
        "ValidateJob", "PlanJob"}},
      {"RunService", {"GetRun", "ListRuns", "WatchRun", "ListTasks", "CancelRun", "RetryRun", "ReplayLoad"}},
      {"ConnectionService",
       {"CreateConnection", "GetConnection", "ListConnections", "UpdateConnection", "DeleteConnection",
        "TestConnection"}},
      {"QuarantineService", {"ListRecords", "ReplayRecords", "DiscardRecords"}},
      {"SchemaService", {"ListSchemas", "GetSchema", "CheckSchema"}},
      {"ClusterService", {"GetStatus", "ListWorkers", "DrainWorker", "ListAuditEvents"}},
      {"WorkerControlService", {"Register", "LeaseTasks", "Heartbeat", "CompleteTask"}},
  };
  for (const auto& [service, methods] : promised) {
    ASSERT_TRUE(services_.count(service)) << service;
    for (const std::string& method : methods) {
      EXPECT_NE(services_[service]->FindMethodByName(method), nullptr) << service << "." << method;
    }
  }
  EXPECT_TRUE(services_["RunService"]->FindMethodByName("WatchRun")->server_streaming());
}

TEST_F(ContractTest, ListsComeInPages) {
  int lists = 0;
  ForEachMethod("List", [&lists](const pb::MethodDescriptor& method) {
    ++lists;
    EXPECT_NE(method.input_type()->FindFieldByName("page_size"), nullptr) << method.full_name();
    EXPECT_NE(method.input_type()->FindFieldByName("page_token"), nullptr) << method.full_name();
    EXPECT_NE(method.output_type()->FindFieldByName("next_page_token"), nullptr) << method.full_name();
  });
  EXPECT_GE(lists, 8);
}

TEST_F(ContractTest, WhatMakesSomethingTakesARequestId) {
  int makers = 0;
  for (const std::string prefix : {"Create", "RunJob", "Backfill", "Retry", "Replay"}) {
    ForEachMethod(prefix, [&makers](const pb::MethodDescriptor& method) {
      ++makers;
      EXPECT_NE(method.input_type()->FindFieldByName("request_id"), nullptr) << method.full_name();
    });
  }
  EXPECT_GE(makers, 7);
}

TEST_F(ContractTest, UpdatesTakeAFieldMask) {
  ForEachMethod("Update", [](const pb::MethodDescriptor& method) {
    const pb::FieldDescriptor* mask = method.input_type()->FindFieldByName("update_mask");
    ASSERT_NE(mask, nullptr) << method.full_name();
    EXPECT_EQ(mask->message_type()->full_name(), "google.protobuf.FieldMask");
  });
}

}  // namespace
