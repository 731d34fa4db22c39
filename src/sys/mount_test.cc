#include "sys/mount.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bailiff {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(ParseMountInfoTest, TakesTheFieldsOfEachLine) {
  EXPECT_THAT(ParseMountInfo("24 30 0:22 / /proc rw shared:12 master:1 - proc proc rw,x=1\n"
                             "36 35 98:0 /a\\040b /mnt/c\\134d rw - ext3 /dev/root rw\n"),
              ElementsAre(MountEntry{"/", "/proc", "proc", "rw,x=1"},
                          MountEntry{"/a b", "/mnt/c\\d", "ext3", "rw"}));
  EXPECT_THAT(ParseMountInfo("36 35 98:0 / /mnt rw - ext3\n24 30 0:22 /\n\n"),
              ElementsAre(MountEntry{"/", "/mnt", "ext3", ""}));
  EXPECT_THAT(ParseMountInfo(""), IsEmpty());
}

// A user may mount FUSE on a directory with any name, and no name may look like other fields.
TEST(ParseMountInfoTest, EndsAFieldAtASpaceAndNowhereElse) {
  EXPECT_THAT(ParseMountInfo("36 35 0:50 / /home/a\r-\vcgroup2\fx\ry rw - fuse s\r- rw\n"),
              ElementsAre(MountEntry{"/", "/home/a\r-\vcgroup2\fx\ry", "fuse", "rw"}));
  EXPECT_THAT(ParseMountInfo("36 35 0:50 / /mnt rw - tmpfs  rw\n"),
              ElementsAre(MountEntry{"/", "/mnt", "tmpfs", "rw"}));
}

TEST(ParseMountInfoTest, LeavesWhatIsNoEscapeAsItIs) {
  EXPECT_THAT(ParseMountInfo("36 35 0:50 /\\\\ /a\\189\\04 rw - t s rw\n"),
              ElementsAre(MountEntry{"/\\\\", "/a\\189\\04", "t", "rw"}));
}

}  // namespace
}  // namespace bailiff
