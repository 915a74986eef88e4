#include <filesystem>
#include <string>
#include <vector>

#include "common/config/project.h"
#include "coordinator/schedule/cron.h"
#include "gtest/gtest.h"

namespace tidemark {
namespace {

// Every file a reader may copy is one that this version takes.
TEST(ExamplesTest, AreValid) {
  ProjectOptions options;
  options.environment = [](const std::string& name) { return "postgresql://nobody@127.0.0.1/" + name; };
  options.check_cron = [](std::string_view cron) { return coordinator::CronSchedule::Parse(cron).status(); };
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(TIDEMARK_EXAMPLES_DIR))) {
    if (entry.path().extension() != ".yaml") continue;
    ++files;
    EXPECT_TRUE(LoadProject(entry.path().string(), options).ok())
        << LoadProject(entry.path().string(), options).status();
  }
  EXPECT_GE(files, 2);
}

}  // namespace
}  // namespace tidemark
