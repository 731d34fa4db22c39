#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "ledger/ledger.h"
#include "ledger/record.h"
#include "ledger/verify.h"
#include "sys/file.h"
#include "tests/support/matchers.h"

namespace bailiff {

class FixedClock : public Clock {
 public:
  WallTime Now() const override {
    // 2026-11-21T10:15:00.123456Z
    return WallTime(std::chrono::nanoseconds(1'795'256'100'123'456'000));
  }
  SteadyTime Steady() const override { return SteadyTime(); }
};

// A ledger in a directory of its own.
class LedgerFixture : public ::testing::Test {
 protected:
  LedgerFixture() : root_(::testing::TempDir() + "ledger." + std::to_string(::getpid())) {
    Reset();
  }
  ~LedgerFixture() override {
    std::filesystem::remove_all(root_);
    std::filesystem::remove_all(root_ + ".other");
  }

  void Reset() {
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_);
    dir_ = OpenPath(root_, O_RDONLY | O_DIRECTORY).value();
  }

  Result<Ledger> TryOpen(const LedgerOptions& options = {}) const {
    return Ledger::Open(dir_, "ws-1", clock_, options);
  }
  Ledger Open(const LedgerOptions& options = {}) const {
    Result<Ledger> opened = TryOpen(options);
    EXPECT_THAT(opened, IsOk());
    return std::move(opened).value();
  }

  // Appends `count` records, five at a time.
  void Fill(int count, const LedgerOptions& options = {}) const {
    Ledger ledger = Open(options);
    std::vector<NewRecord> group;
    for (int n = 0; n < count; ++n) {
      group.push_back({"started", {{"id", "exec_" + std::to_string(n)}}});
      if (group.size() < 5 && n + 1 < count) continue;
      ASSERT_THAT(ledger.AppendAll(group), IsOk());
      group.clear();
    }
  }

  std::vector<Record> Records() const {
    std::vector<Record> records;
    EXPECT_THAT(Ledger::ForEach(dir_, 1,
                                [&](const Record& record) {
                                  records.push_back(record);
                                  return true;
                                }),
                IsOk());
    return records;
  }

  VerifyReport VerifyAll(const std::optional<std::string>& kept = std::nullopt) const {
    Result<VerifyReport> report = Verify(dir_, Read(root_ + "/key.pub"), kept);
    EXPECT_THAT(report, IsOk());
    return std::move(report).value();
  }

  std::string Segment(std::uint32_t number) const { return root_ + "/" + SegmentName(number); }

  static std::string Read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  // With their newlines.
  std::vector<std::string> Lines(std::uint32_t segment) const {
    std::ifstream file(Segment(segment));
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line + "\n");
    return lines;
  }
  void SetLines(std::uint32_t segment, const std::vector<std::string>& lines) const {
    std::ofstream file(Segment(segment), std::ios::trunc);
    for (const std::string& line : lines) file << line;
  }

  // Returns a checkpoint of that other ledger.
  std::string CopyKeyOfAnotherLedger() const {
    const std::string other = root_ + ".other";
    std::filesystem::create_directories(other);
    const Fd dir = OpenPath(other, O_RDONLY | O_DIRECTORY).value();
    EXPECT_THAT(Ledger::Open(dir, "ws-1", clock_), IsOk());
    for (const char* name : {"/key.pem", "/key.pub"}) {
      std::filesystem::copy_file(other + name, root_ + name,
                                 std::filesystem::copy_options::overwrite_existing);
    }
    return Read(other + "/checkpoint");
  }

  const std::string root_;
  Fd dir_;
  FixedClock clock_;
};

}  // namespace bailiff
