#include "journal/quarantine.h"

#include <sys/mount.h>

#include "tests/crash/tree_fixture.h"
#include "tests/support/requires.h"

namespace bailiff {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Error Lost() {
  return Error::FromErrno(EIO, "fsync");
}

// A journal directory on a file system of a few pages and inodes.
class QuarantineTest : public ::testing::Test {
 protected:
  QuarantineTest() : dir_(ScratchDir("quarantine_test")) {
    std::filesystem::create_directories(dir_);
    mounted_ = ::mount("none", dir_.c_str(), "tmpfs", 0, "size=16k,nr_inodes=8") == 0;
    journal_ = OpenPath(dir_, O_RDONLY | O_DIRECTORY).value();
  }
  ~QuarantineTest() override {
    ::umount2(dir_.c_str(), MNT_DETACH);
    std::filesystem::remove_all(dir_);
  }
  void Mark(const std::string& text) const {
    ASSERT_THAT(ReplaceFile(journal_, "quarantine", text, 0600), IsOk());
  }
  void FillBlocks() const {
    std::ofstream(dir_ + "/filler") << std::string(1UL << 20, 'x');
    ASSERT_THAT(ReplaceFile(journal_, "f", "f", 0600), FailsWith(ErrorCode::kResourceExhausted));
  }
  void FillInodes() const {
    for (int i = 0; i < 8; ++i) std::ofstream(dir_ + "/" + std::to_string(i)).flush();
    ASSERT_THAT(MakeDir(journal_, "d", 0700), FailsWith(ErrorCode::kResourceExhausted));
  }
  Quarantine Now() const { return QuarantineOf(journal_).value(); }

  const std::string dir_;
  Fd journal_;
  bool mounted_ = false;
};

TEST_F(QuarantineTest, IsForErrorsOfTheDiskAloneAndTellsThem) {
  EXPECT_EQ(QuarantineIfLost(journal_, Error::FromErrno(ENOENT, "open")).sys_errno(), ENOENT);
  EXPECT_EQ(Now(), Quarantine::kNone);
  EXPECT_THAT(CheckNoQuarantine(journal_), IsOk());
  EXPECT_EQ(QuarantineIfLost(journal_, Lost()).message(), Lost().message());
  EXPECT_EQ(Now(), Quarantine::kInForce);
  const Status status = CheckNoQuarantine(journal_);
  ASSERT_THAT(status, FailsWith(ErrorCode::kIo));
  EXPECT_THAT(status.error().message(), HasSubstr("(fsync: Input/output error)"));
  ASSERT_THAT(LiftQuarantine(journal_), IsOk());
  EXPECT_EQ(Now(), Quarantine::kNone);
}

TEST_F(QuarantineTest, IsOverOnceTheMachineWasRestarted) {
  Mark("another boot\nreason");
  EXPECT_EQ(Now(), Quarantine::kOver);
  EXPECT_THAT(CheckNoQuarantine(journal_), IsOk());
}

TEST_F(QuarantineTest, NeedsNoRoomOnAFullDisk) {
  REQUIRES(mounted_, "cannot mount a tmpfs");
  for (const bool again : {false, true}) {
    if (again) Mark("another boot\nreason");
    FillBlocks();
    EXPECT_EQ(QuarantineIfLost(journal_, Lost()).message(), Lost().message());
    EXPECT_EQ(Now(), Quarantine::kInForce);
    EXPECT_THAT(CheckNoQuarantine(journal_), FailsWith(ErrorCode::kIo));
    ASSERT_THAT(LiftQuarantine(journal_), IsOk());
    EXPECT_EQ(Now(), Quarantine::kNone);
    std::filesystem::remove(dir_ + "/filler");
  }
}

TEST_F(QuarantineTest, ALinkIsOverOnceTheMachineWasRestarted) {
  ASSERT_THAT(MakeSymlink(journal_, "quarantine", "another-boot"), IsOk());
  EXPECT_EQ(Now(), Quarantine::kOver);
}

TEST_F(QuarantineTest, SaysSoWhenNothingCanBeMarked) {
  REQUIRES(mounted_, "cannot mount a tmpfs");
  FillInodes();
  const Error told = QuarantineIfLost(journal_, Lost());
  EXPECT_EQ(told.sys_errno(), EIO);
  EXPECT_THAT(told.message(),
              AllOf(HasSubstr("nothing could be marked"), HasSubstr("No space left on device"),
                    HasSubstr("restart the machine"), HasSubstr("fsync: ")));
  EXPECT_EQ(Now(), Quarantine::kNone);
}

TEST_F(QuarantineTest, AMarkThatDoesNotTellItsBootIsInForce) {
  for (const char* text : {"", "\nreason"}) {
    Mark(text);
    EXPECT_EQ(Now(), Quarantine::kInForce);
    const Status status = CheckNoQuarantine(journal_);
    ASSERT_THAT(status, FailsWith(ErrorCode::kIo));
    EXPECT_THAT(status.error().message(), HasSubstr("write a line 'restarted'"));
  }
  ASSERT_THAT(Unlink(journal_, "quarantine"), IsOk());
  ASSERT_THAT(MakeDir(journal_, "quarantine", 0700), IsOk());  // Which cannot be read.
  EXPECT_EQ(Now(), Quarantine::kInForce);
  EXPECT_THAT(CheckNoQuarantine(journal_), FailsWith(ErrorCode::kIo));
}

}  // namespace
}  // namespace bailiff
