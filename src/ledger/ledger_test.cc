#include "ledger/ledger.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "ledger/ledger_fixture_test.h"
#include "sys/file.h"
#include "tests/crash/syscall_faults.h"
#include "tests/support/matchers.h"

namespace bailiff {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LedgerTest : public LedgerFixture {};

TEST_F(LedgerTest, GivesBackWhatWasAppended) {
  Ledger ledger = Open();
  const Result<RecordRef> first = ledger.Append("submitted", {{"id", "exec_1"}, {"n", 7}});
  const Result<RecordRef> group = ledger.AppendAll(
      {{"committed", {{"id", "exec_1"}}}, {"finished", {{"id", "exec_1"}, {"name", "\u00e9"}}}});
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(group, IsOk());
  EXPECT_EQ(first.value().seq, 2U);
  EXPECT_EQ(group.value().seq, 4U);

  const std::vector<Record> records = Records();
  ASSERT_EQ(records.size(), 4U);
  EXPECT_EQ(records[0].type, "ledger");
  EXPECT_EQ(records[0].data.at("workspace_id"), "ws-1");
  EXPECT_EQ(records[0].data.at("public_key"), boost::json::value(ledger.PublicKeyPem()));
  EXPECT_EQ(records[1].type, "submitted");
  EXPECT_EQ(records[1].time, "2026-11-21T10:15:00.123456Z");
  EXPECT_EQ(records[1].data, (boost::json::object{{"id", "exec_1"}, {"n", 7}}));
  EXPECT_EQ(records[1].hash, first.value().hash);
  EXPECT_EQ(records[3].data.at("name"), "\u00e9");
  EXPECT_EQ(records[3].hash, group.value().hash);
}

TEST_F(LedgerTest, ForEachStartsWhereItIsToldAndStopsWhenItIsTold) {
  Fill(10);
  std::vector<std::uint64_t> seen;
  ASSERT_THAT(Ledger::ForEach(dir_, 4,
                              [&](const Record& record) {
                                seen.push_back(record.seq);
                                return record.seq < 6;
                              }),
              IsOk());
  EXPECT_THAT(seen, ElementsAre(4U, 5U, 6U));
}

TEST_F(LedgerTest, GoesOnAfterItIsReopened) {
  std::string id;
  {
    Ledger ledger = Open();
    ASSERT_THAT(ledger.Append("started", {}), IsOk());
    id = ledger.id();
  }
  Ledger ledger = Open();
  EXPECT_EQ(ledger.id(), id);
  const Result<RecordRef> next = ledger.Append("finished", {});
  ASSERT_THAT(next, IsOk());
  EXPECT_EQ(next.value().seq, 3U);
  EXPECT_EQ(VerifyAll().finding, LedgerFinding::kOk);
}

TEST_F(LedgerTest, KeepsItsKeyToItself) {
  Open();
  const struct stat st = StatAt(dir_, "key.pem").value().value();
  EXPECT_EQ(st.st_mode & 0777U, 0600U);
  fs::permissions(root_ + "/key.pem", fs::perms(0640));
  EXPECT_THAT(TryOpen(), FailsWith(ErrorCode::kPermissionDenied));
}

// Its usual form is read without the library's reader; this one has a line before it.
TEST_F(LedgerTest, ReadsItsKeyInAnUnusualForm) {
  const std::string public_key = Open().PublicKeyPem();
  const std::string pem = ReadWhole(dir_, "key.pem", 4096).value();
  ASSERT_THAT(ReplaceFile(dir_, "key.pem", "restored from a backup\n" + pem, 0600), IsOk());
  EXPECT_EQ(Open().PublicKeyPem(), public_key);
  EXPECT_EQ(ReadWhole(dir_, "key.pub", 4096).value(), public_key);
}

TEST_F(LedgerTest, ARecordMayBecomeDurableWithTheNext) {
  Ledger ledger = Open();
  ASSERT_THAT(ledger.Append("decided", {}, Ledger::Sync::kWithNext), IsOk());
  ASSERT_THAT(ledger.Append("finished", {}), IsOk());
  ASSERT_THAT(ledger.Append("decided", {}, Ledger::Sync::kWithNext), IsOk());
  ASSERT_THAT(ledger.Checkpoint(), IsOk());
  EXPECT_EQ(VerifyAll().finding, LedgerFinding::kOk);
}

// What the next process finds in the kernel's cache may not be on the disk.
TEST_F(LedgerTest, WhatCouldNotBeSyncedIsCutOffAndNothingIsSignedAfterIt) {
  const auto strike = [this](const Fault& fault, const std::function<bool(Ledger&)>& body) {
    return RunWithFault(fault, [&] {
      Ledger ledger = Open();
      if (!ledger.Append("kept", {}).ok()) return 1;
      if (!ledger.Append("left", {}, Ledger::Sync::kWithNext).ok()) return 2;
      if (body(ledger)) return 3;
      if (fault.kind == FaultKind::kNone) return 0;
      if (ledger.Checkpoint().ok() || ledger.Append("after", {}).ok()) return 4;
      return 0;
    });
  };
  const auto checkpoint = [](Ledger& ledger) { return ledger.Checkpoint().ok(); };
  const auto append = [](Ledger& ledger) { return ledger.Append("next", {}).ok(); };
  for (const auto& body : {std::function<bool(Ledger&)>(checkpoint), {append}}) {
    Reset();
    Open();
    const std::vector<std::string> calls = strike({}, body).calls;
    const auto first = std::find(calls.begin(), calls.end(), "fsync");
    const auto second = std::find(std::next(first), calls.end(), "fsync");
    ASSERT_NE(second, calls.end());
    Reset();
    Open();
    const auto nth = static_cast<std::size_t>(second - calls.begin());
    EXPECT_EQ(strike({FaultKind::kFail, nth, EIO}, body).exit_status, 0);
    std::vector<std::string> types;
    for (const Record& record : Records()) types.push_back(record.type);
    EXPECT_THAT(types, ElementsAre("ledger", "kept"));
    ASSERT_THAT(Open().Append("later", {}), IsOk());
    EXPECT_EQ(VerifyAll().finding, LedgerFinding::kOk);
  }
}

TEST_F(LedgerTest, WhatOthersRecordedIsNotCutOff) {
  Ledger other = Open();
  const auto body = [&] {
    Ledger ledger = Open();
    if (!ledger.Append("left", {}, Ledger::Sync::kWithNext).ok()) return 1;
    if (!other.Append("theirs", {}).ok()) return 2;
    return ledger.Append("next", {}).ok() ? 3 : 0;
  };
  std::vector<std::string> calls = RunWithFault({}, body).calls;
  std::reverse(calls.begin(), calls.end());
  const auto last = std::find(calls.begin(), calls.end(), "fsync");
  const auto nth = static_cast<std::size_t>(calls.end() - last - 1);
  EXPECT_EQ(RunWithFault({FaultKind::kFail, nth, EIO}, body).exit_status, 0);
  EXPECT_EQ(Records().back().type, "theirs");
  EXPECT_EQ(VerifyAll().finding, LedgerFinding::kOk);
}

TEST_F(LedgerTest, RefusesAnotherWorkspace) {
  Open();
  EXPECT_THAT(Ledger::Open(dir_, "ws-2", clock_), FailsWith(ErrorCode::kConflict));
}

TEST_F(LedgerTest, RefusesToGoOnWithoutItsKey) {
  Open();
  fs::remove(root_ + "/key.pem");
  EXPECT_THAT(TryOpen(), FailsWith(ErrorCode::kNotFound));
}

TEST_F(LedgerTest, RefusesAnotherKey) {
  Open();
  LedgerFixture::CopyKeyOfAnotherLedger();
  EXPECT_THAT(TryOpen(), FailsWith(ErrorCode::kIo));
}

TEST_F(LedgerTest, RefusesToGoOnFromLessThanItsCheckpoint) {
  {
    Ledger ledger = Open();
    ASSERT_THAT(ledger.Append("started", {}), IsOk());
    ASSERT_THAT(ledger.Checkpoint(), IsOk());
  }
  const std::vector<std::string> lines = Lines(1);
  SetLines(1, {lines[0]});
  const Result<Ledger> reopened = TryOpen();
  ASSERT_THAT(reopened, FailsWith(ErrorCode::kIo));
  EXPECT_THAT(reopened.error().message(),
              HasSubstr("the ledger ends at record 1, but record 2 is signed"));
}

TEST_F(LedgerTest, RefusesToBeginAgainWhereTheRecordsAreGone) {
  Open();
  fs::remove(Segment(1));
  EXPECT_THAT(TryOpen(), FailsWith(ErrorCode::kIo));
}

TEST_F(LedgerTest, NoticesThatItsSegmentWasReplacedWhileItIsOpen) {
  Ledger ledger = Open();
  ASSERT_THAT(ledger.Append("started", {}), IsOk());
  fs::copy(Segment(1), root_ + "/copy");
  fs::rename(root_ + "/copy", Segment(1));
  EXPECT_THAT(ledger.Append("finished", {}), FailsWith(ErrorCode::kIo));
}

TEST_F(LedgerTest, BadRecordsAreRefusedAndLeaveNoTrace) {
  Ledger ledger = Open();
  const std::string large(kLedgerRecordBytesMax, 'x');
  const NewRecord bad[] = {
      {"", {}},
      {"Started", {}},
      {"two words", {}},
      {"started", {{"name", "\xff"}}},
      {"started", {{"n", std::numeric_limits<double>::quiet_NaN()}}},
      {"started", {{"text", large}}},
  };
  for (const NewRecord& record : bad) {
    SCOPED_TRACE(record.type);
    EXPECT_THAT(ledger.Append(record.type, record.data), FailsWith(ErrorCode::kInvalidArgument));
    EXPECT_THAT(ledger.AppendAll({{"started", {}}, record}),
                FailsWith(ErrorCode::kInvalidArgument));
  }
  EXPECT_THAT(ledger.AppendAll({}), FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_THAT(ledger.AppendAll(std::vector<NewRecord>(kLedgerGroupRecordsMax + 1, {"a", {}})),
              FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_EQ(Records().size(), 1U);
  EXPECT_THAT(ledger.Append("started", {}), IsOk());
  EXPECT_EQ(VerifyAll().finding, LedgerFinding::kOk);
}

TEST_F(LedgerTest, SaysThatTheLockStaysTaken) {
  Ledger ledger = Open({.lock_wait_ms = 20});
  const Fd lock = OpenBeneath(dir_, "lock", O_RDWR).value();
  ASSERT_TRUE(TryLock(lock, LockMode::kExclusive).value());
  EXPECT_THAT(ledger.Append("started", {}), FailsWith(ErrorCode::kResourceExhausted));
}

TEST_F(LedgerTest, SignsEverySoManyRecordsAndAtTheEndOfASegment) {
  Fill(40, {.segment_bytes_max = 4000, .checkpoint_interval = 8});
  std::size_t checkpoints = 0;
  for (const Record& record : Records()) checkpoints += record.type == "checkpoint" ? 1U : 0U;
  EXPECT_TRUE(fs::exists(Segment(3)));
  EXPECT_LT(fs::file_size(Segment(1)), 6000U);
  EXPECT_GT(checkpoints, 5U);
  const VerifyReport report = VerifyAll();
  EXPECT_EQ(report.finding, LedgerFinding::kOk) << Describe(report);
  EXPECT_EQ(report.records, Records().size());
  EXPECT_GT(report.signed_seq + 9, report.records);
}

TEST_F(LedgerTest, TwoProcessesAppendWithoutLosingOrMixingRecords) {
  constexpr int kEach = 200;
  const LedgerOptions options{.segment_bytes_max = 20'000, .checkpoint_interval = 64};
  Open();
  std::vector<pid_t> children;
  for (int who = 0; who < 2; ++who) {
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      Result<Ledger> mine = TryOpen(options);
      bool ok = mine.ok();
      for (int n = 0; ok && n < kEach; ++n) {
        ok = mine.value().Append("started", {{"who", who}, {"n", n}}).ok();
      }
      ::_exit(ok ? 0 : 1);
    }
    children.push_back(pid);
  }
  for (const pid_t pid : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
  std::vector<std::int64_t> next(2, 0);  // Each one's records are in its own order.
  for (const Record& record : Records()) {
    if (record.type != "started") continue;
    const auto who = static_cast<std::size_t>(record.data.at("who").as_int64());
    EXPECT_EQ(record.data.at("n").as_int64(), next[who]++);
  }
  EXPECT_THAT(next, ElementsAre(kEach, kEach));
  const VerifyReport report = VerifyAll();
  EXPECT_EQ(report.finding, LedgerFinding::kOk) << Describe(report);
}

TEST_F(LedgerTest, ARecordCutShortIsKeptAsideAndTold) {
  for (const bool is_open : {false, true}) {
    SCOPED_TRACE(is_open);
    Reset();
    Ledger ledger = Open();
    ASSERT_THAT(ledger.Append("started", {}), IsOk());
    const std::string torn = Lines(1).back().substr(0, 90);
    std::ofstream(Segment(1), std::ios::app) << torn;
    EXPECT_EQ(VerifyAll().finding, LedgerFinding::kTruncated);
    if (!is_open) ledger = Open();
    ASSERT_THAT(ledger.Append("finished", {}), IsOk());

    const std::vector<Record> records = Records();
    ASSERT_EQ(records.size(), 4U);
    EXPECT_EQ(records[2].type, "repaired");
    EXPECT_EQ(records[2].data.at("file"), "torn-3");
    EXPECT_EQ(records[2].data.at("bytes").as_int64(), 90);
    EXPECT_EQ(records[3].type, "finished");
    EXPECT_EQ(Read(root_ + "/torn-3"), torn);
    EXPECT_EQ(VerifyAll().finding, LedgerFinding::kOk);
  }
}

TEST_F(LedgerTest, ARepairThatWasCutShortIsToldLater) {
  Open();
  std::ofstream(root_ + "/torn-2") << "half";
  fs::permissions(root_ + "/torn-2", fs::perms(0600));
  Open();
  const std::vector<Record> records = Records();
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[1].type, "repaired");
}

TEST_F(LedgerTest, ACreationThatWasCutShortBeginsAgain) {
  Open();
  const std::string header = Lines(1)[0];
  for (const std::size_t size : {std::size_t{0}, std::size_t{50}}) {
    Reset();
    std::ofstream(Segment(1)) << header.substr(0, size);
    Open();
    EXPECT_EQ(VerifyAll().finding, LedgerFinding::kOk);
    EXPECT_EQ(Records().size(), 1U);
  }
}

TEST_F(LedgerTest, ASegmentThatIsStillEmptyIsGoneOnWith) {
  Fill(3);
  std::ofstream(Segment(2)).flush();
  Ledger ledger = Open();
  ASSERT_THAT(ledger.Append("finished", {}), IsOk());
  EXPECT_EQ(Lines(2).size(), 1U);
  EXPECT_EQ(VerifyAll().finding, LedgerFinding::kOk);
}

TEST_F(LedgerTest, AppendingTakesNoLongerWhenTheLedgerIsLarge) {
  Ledger ledger = Open({.segment_bytes_max = 64L << 20});
  const auto bytes_read = [] {
    std::ifstream io("/proc/self/io");
    std::string name;
    std::int64_t value = 0;
    while (io >> name >> value) {
      if (name == "rchar:") return value;
    }
    return std::int64_t{-1};
  };
  const std::vector<NewRecord> group(1000, {"started", {{"text", std::string(1000, 'x')}}});
  for (int n = 0; n < 8; ++n) ASSERT_THAT(ledger.AppendAll(group), IsOk());
  ASSERT_GT(fs::file_size(Segment(1)), 8'000'000U);
  const std::int64_t before = bytes_read();
  ASSERT_GE(before, 0);
  Ledger other = Open();  // Reads the end from the disk; the first then sees that it moved.
  ASSERT_THAT(other.Append("started", {}), IsOk());
  ASSERT_THAT(ledger.Append("finished", {}), IsOk());
  EXPECT_LT(bytes_read() - before, 200'000);
}

}  // namespace
}  // namespace bailiff
