#include "sys/kernel_features.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "sys/file.h"
#include "tests/support/matchers.h"
#include "tests/support/requires.h"

namespace bailiff {
namespace {

TEST(KernelFeaturesTest, ExplainsWhateverIsMissing) {
  const Result<KernelFeatures> probed = ProbeKernel(OpenPath("/", O_RDONLY | O_DIRECTORY).value());
  ASSERT_THAT(probed, IsOk());
  const KernelFeatures& features = probed.value();
  for (const Feature* feature : {&features.user_namespaces, &features.tmpfs_attributes,
                                 &features.idmap, &features.seccomp, &features.keyrings}) {
    EXPECT_EQ(feature->ok, feature->reason.empty()) << feature->reason;
  }
}

TEST(KernelFeaturesTest, FindsWhatSandboxesNeedOnThisHost) {
  const Result<KernelFeatures> probed = ProbeKernel(OpenPath("/", O_RDONLY | O_DIRECTORY).value());
  ASSERT_THAT(probed, IsOk());
  const KernelFeatures& features = probed.value();
  REQUIRES(features.privileged, "needs CAP_SYS_ADMIN");
  EXPECT_TRUE(features.user_namespaces.ok) << features.user_namespaces.reason;
  EXPECT_TRUE(features.tmpfs_attributes.ok) << features.tmpfs_attributes.reason;
  EXPECT_TRUE(features.seccomp.ok) << features.seccomp.reason;
  EXPECT_GT(features.landlock_abi, 0);
}

TEST(KernelFeaturesTest, KnowsAFileSystemThatCannotMapIds) {
  const Result<KernelFeatures> probed =
      ProbeKernel(OpenPath("/proc", O_RDONLY | O_DIRECTORY).value());
  ASSERT_THAT(probed, IsOk());
  EXPECT_FALSE(probed.value().idmap.ok);
}

}  // namespace
}  // namespace bailiff
