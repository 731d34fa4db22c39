#include "ledger/verify.h"

#include <sys/wait.h>

#include <algorithm>
#include <functional>

#include "base/bytes.h"
#include "base/sha256.h"
#include "ledger/ledger_fixture_test.h"
#include "tests/support/sample.h"

namespace bailiff {
namespace {

namespace fs = std::filesystem;

// Three segments, checkpoints in them, about 200 records.
constexpr LedgerOptions kSmallSegments{.segment_bytes_max = 18'000, .checkpoint_interval = 32};

class VerifyTest : public LedgerFixture {
 protected:
  std::string KeyPem() const { return Read(root_ + "/key.pub"); }

  // What the independent verifier says: "ok", "edited", ...
  std::string PythonFinding(const std::optional<std::string>& kept = std::nullopt) const {
    const std::string source = __FILE__;
    const std::string tool =
        source.substr(0, source.rfind("/src/ledger/")) + "/tools/verify_ledger.py";
    const std::string output = root_ + ".out";
    const std::string kept_file = root_ + ".kept";
    if (kept.has_value()) std::ofstream(kept_file) << *kept;
    const pid_t pid = ::fork();
    if (pid == 0) {
      const int fd = ::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      ::dup2(fd, 1);
      if (kept.has_value()) {
        ::execlp("python3", "python3", tool.c_str(), root_.c_str(), "--checkpoint",
                 kept_file.c_str(), nullptr);
      } else {
        ::execlp("python3", "python3", tool.c_str(), root_.c_str(), nullptr);
      }
      ::_exit(127);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    const std::string said = Read(output);
    fs::remove(output);
    fs::remove(kept_file);
    const std::string finding = said.substr(0, said.find(':'));
    EXPECT_EQ(status == 0, finding == "ok") << said;
    return finding;
  }
};

TEST_F(VerifyTest, AWholeLedgerIsOk) {
  Fill(200, kSmallSegments);
  const std::string kept = Open().Checkpoint().value();
  const VerifyReport report = VerifyAll(kept);
  EXPECT_EQ(report.finding, LedgerFinding::kOk) << Describe(report);
  EXPECT_EQ(report.records, Records().size());
  EXPECT_EQ(report.head, Records().back().hash);
  EXPECT_EQ(report.signed_seq, report.records);
  EXPECT_EQ(report.workspace_id, "ws-1");
  EXPECT_EQ(report.ledger_id, Open().id());
  EXPECT_EQ(PythonFinding(kept), "ok");
}

// A Python process for each flip: in a whole run every so manieth byte, in a sample about 20.
constexpr std::uint64_t kPythonStride = 53;

TEST_F(VerifyTest, EveryFlippedByteIsFound) {
  Fill(200, kSmallSegments);
  // Far less than a line, so each record is hit several times, in other places.
  std::uint64_t all = 0;
  for (std::uint32_t segment = 1; fs::exists(Segment(segment)); ++segment) {
    all += fs::file_size(Segment(segment));
  }
  const Sample sample("flipped bytes of a ledger", all, all / 89);
  const Sample by_python("of these by verify_ledger.py", all, 20);
  std::uint64_t before = 0;  // Bytes of earlier segments.
  std::uint64_t flips = 0;
  for (std::uint32_t segment = 1; fs::exists(Segment(segment)); ++segment) {
    const Fd file = OpenPath(Segment(segment), O_RDWR).value();
    const std::string bytes = Read(Segment(segment));
    const auto size = static_cast<std::int64_t>(bytes.size());
    // The last line of each segment, which nothing but a checkpoint follows, byte by byte.
    const auto last_begin = static_cast<std::int64_t>(bytes.rfind('\n', bytes.size() - 2));
    for (std::int64_t at = 0; at < size; ++at) {
      const std::uint64_t place = before + static_cast<std::uint64_t>(at);
      if (!sample.Has(place) && !by_python.Has(place) && at < last_begin) continue;
      const char right = bytes[static_cast<std::size_t>(at)];
      const char wrong = static_cast<char>(right ^ (1 << (at % 8)));
      ASSERT_EQ(::pwrite(file.get(), &wrong, 1, at), 1);
      ASSERT_NE(VerifyAll().finding, LedgerFinding::kOk) << Segment(segment) << " byte " << at;
      if (place % kPythonStride == 0 || (by_python.Has(place) && !RunsWhole())) {
        ASSERT_NE(PythonFinding(), "ok") << Segment(segment) << " byte " << at;
      }
      ASSERT_EQ(::pwrite(file.get(), &right, 1, at), 1);
      ++flips;
    }
    before += bytes.size();
  }
  EXPECT_GT(flips, 1000U);
  EXPECT_EQ(VerifyAll().finding, LedgerFinding::kOk);
}

TEST_F(VerifyTest, EveryFlippedByteOfACheckpointIsFound) {
  Fill(3);
  const std::string kept = Open().Checkpoint().value();
  for (std::size_t at = 0; at < kept.size(); ++at) {
    for (const int bit : {0, 5}) {  // Another digit; the other case.
      std::string wrong = kept;
      wrong[at] = static_cast<char>(wrong[at] ^ (1 << bit));
      EXPECT_NE(VerifyAll(wrong).finding, LedgerFinding::kOk) << at;
    }
  }
}

// One way to tamper, and what both verifiers must say of it.
struct Tampering {
  const char* what;
  LedgerFinding finding;
  std::uint64_t line;  // In the second segment; 0 where the finding is elsewhere.
  std::function<void(std::vector<std::string>*)> with;  // The second segment's lines.
};

TEST_F(VerifyTest, SaysWhatIsWrongAndWhere) {
  Fill(200, kSmallSegments);
  const std::vector<std::string> lines = Lines(2);
  ASSERT_GT(lines.size(), 20U);
  const Tampering cases[] = {
      {"nothing", LedgerFinding::kOk, 0, [](auto*) {}},
      {"edit", LedgerFinding::kEdited, 5,
       [](auto* all) { (*all)[4].replace((*all)[4].find("exec_"), 5, "EXEC_"); }},
      {"spell a hash in upper case", LedgerFinding::kEdited, 5,
       [](auto* all) {
         const std::size_t letter = (*all)[4].find_first_of("abcdef");
         (*all)[4][letter] = static_cast<char>((*all)[4][letter] - 'a' + 'A');
       }},
      {"delete one", LedgerFinding::kMissing, 5, [](auto* all) { all->erase(all->begin() + 4); }},
      {"delete the first", LedgerFinding::kMissing, 1, [](auto* all) { all->erase(all->begin()); }},
      {"delete the end of a segment", LedgerFinding::kMissing, 0,
       [](auto* all) { all->resize(all->size() - 3); }},
      {"empty a segment", LedgerFinding::kMissing, 0, [](auto* all) { all->clear(); }},
      {"swap neighbours", LedgerFinding::kReordered, 5,
       [](auto* all) { std::swap((*all)[4], (*all)[5]); }},
      {"duplicate", LedgerFinding::kReordered, 6,
       [](auto* all) { all->insert(all->begin() + 4, (*all)[4]); }},
      {"insert a line of nothing", LedgerFinding::kEdited, 5,
       [](auto* all) { all->insert(all->begin() + 4, "\n"); }},
      {"cut the last newline", LedgerFinding::kEdited, lines.size(),
       [](auto* all) { all->back().pop_back(); }},
      {"rewrite one record with its right hash", LedgerFinding::kEdited, 6,
       [](auto* all) {
         ChainedRecord chained =
             ParseLine(std::string_view((*all)[4]).substr(0, (*all)[4].size() - 1)).value();
         chained.record.data["id"] = "forged";
         (*all)[4] = FormatLine(&chained.record, chained.prev);
       }},
  };
  for (const Tampering& tampering : cases) {
    SCOPED_TRACE(tampering.what);
    std::vector<std::string> changed = lines;
    tampering.with(&changed);
    SetLines(2, changed);
    const VerifyReport report = VerifyAll();
    EXPECT_EQ(Name(report.finding), Name(tampering.finding)) << Describe(report);
    if (tampering.line != 0) {
      EXPECT_EQ(report.file, "00000002.jsonl");
      EXPECT_EQ(report.line, tampering.line);
    }
    EXPECT_EQ(PythonFinding(), Name(tampering.finding));
  }
}

// Someone without the key rewrites the whole chain from one record on, hashes and all.
TEST_F(VerifyTest, ARewrittenChainIsFoundByItsSignatures) {
  Fill(200, kSmallSegments);
  std::string prev;
  for (std::uint32_t segment = 1; fs::exists(Segment(segment)); ++segment) {
    std::vector<std::string> lines = Lines(segment);
    for (std::string& line : lines) {
      ChainedRecord chained = ParseLine(std::string_view(line).substr(0, line.size() - 1)).value();
      if (chained.record.seq == 10) chained.record.data["id"] = "forged";
      line = FormatLine(&chained.record, prev.empty() ? chained.prev : prev);
      prev = chained.record.hash;
    }
    SetLines(segment, lines);
  }
  const VerifyReport report = VerifyAll();
  EXPECT_EQ(report.finding, LedgerFinding::kEdited);
  const std::vector<Record> records = Records();
  const auto first_signed = std::find_if(records.begin(), records.end(), [](const Record& record) {
    return record.type == "checkpoint";
  });
  EXPECT_EQ(report.records, first_signed->seq - 1) << Describe(report);
  EXPECT_EQ(PythonFinding(), "edited");
}

TEST_F(VerifyTest, SwappedAndMissingSegmentsAreFound) {
  Fill(200, kSmallSegments);
  fs::rename(Segment(1), root_ + "/aside");
  EXPECT_EQ(VerifyAll().finding, LedgerFinding::kMissing);
  EXPECT_EQ(VerifyAll().file, "00000001.jsonl");
  fs::rename(root_ + "/aside", Segment(1));

  fs::rename(Segment(2), root_ + "/aside");
  EXPECT_EQ(VerifyAll().finding, LedgerFinding::kMissing);
  EXPECT_EQ(PythonFinding(), "missing");
  fs::rename(Segment(3), Segment(2));
  fs::rename(root_ + "/aside", Segment(3));
  EXPECT_EQ(VerifyAll().finding, LedgerFinding::kReordered);
  EXPECT_EQ(PythonFinding(), "reordered");
}

TEST_F(VerifyTest, ALostTailIsFoundWithACheckpointThatCoversIt) {
  Fill(20);
  const std::string kept = Open().Checkpoint().value();
  std::vector<std::string> lines = Lines(1);
  lines.resize(lines.size() - 1);
  SetLines(1, lines);
  EXPECT_EQ(VerifyAll().finding, LedgerFinding::kTruncated);  // By the file `checkpoint`.
  EXPECT_EQ(PythonFinding(), "truncated");

  // Someone who can write the directory puts back an older checkpoint: only a kept one tells.
  fs::remove_all(root_ + ".other");
  Reset();
  Fill(10);
  const std::string older = Open().Checkpoint().value();
  Fill(10);
  const std::string newer = Open().Checkpoint().value();
  lines = Lines(1);
  lines.resize(15);
  SetLines(1, lines);
  std::ofstream(root_ + "/checkpoint", std::ios::trunc) << older;
  EXPECT_EQ(VerifyAll().finding, LedgerFinding::kOk);
  EXPECT_EQ(VerifyAll().signed_seq, 11U);
  EXPECT_EQ(VerifyAll(newer).finding, LedgerFinding::kTruncated);
  EXPECT_EQ(PythonFinding(newer), "truncated");
  fs::remove(root_ + "/checkpoint");
  EXPECT_EQ(VerifyAll(older).finding, LedgerFinding::kMissing);
}

TEST_F(VerifyTest, AForkIsFoundWithAKeptCheckpoint) {
  Fill(5);
  const fs::path copy = root_ + ".other";
  fs::copy(root_, copy);
  Fill(1);
  const std::string kept = Open().Checkpoint().value();
  fs::remove_all(root_);
  fs::rename(copy, root_);
  dir_ = OpenPath(root_, O_RDONLY | O_DIRECTORY).value();
  ASSERT_THAT(Open().Append("another", {}), IsOk());
  ASSERT_THAT(Open().Checkpoint(), IsOk());
  EXPECT_EQ(VerifyAll().finding, LedgerFinding::kOk);
  const VerifyReport report = VerifyAll(kept);
  EXPECT_EQ(report.finding, LedgerFinding::kEdited);
  EXPECT_EQ(report.file, "the given checkpoint");
  EXPECT_EQ(report.seq, 7U);
}

TEST_F(VerifyTest, AnotherKeyAndAnotherLedgersCheckpointAreFound) {
  Fill(5);
  const std::string pem = KeyPem();
  const std::string other_checkpoint = CopyKeyOfAnotherLedger();
  EXPECT_EQ(VerifyAll().finding, LedgerFinding::kWrongKey);
  EXPECT_EQ(PythonFinding(), "wrong_key");
  std::ofstream(root_ + "/key.pub", std::ios::trunc) << pem;
  EXPECT_EQ(VerifyAll(other_checkpoint).finding, LedgerFinding::kWrongLedger);
  EXPECT_EQ(PythonFinding(other_checkpoint), "wrong_ledger");

  // The other key signs what is true of this ledger: still not this ledger's signature.
  const SigningKey key = SigningKey::Load(dir_, SigningKey::MayCreate::kNo).value();
  const VerifyReport right = VerifyAll();
  const std::string forged = SignHead({right.ledger_id, right.records, right.head}, key);
  EXPECT_EQ(VerifyAll(forged).finding, LedgerFinding::kBadSignature);
  EXPECT_EQ(PythonFinding(forged), "bad_signature");
}

TEST_F(VerifyTest, WhatCannotBeReadIsAFindingAndABadKeyIsAnError) {
  Fill(2);
  EXPECT_THAT(Verify(dir_, "no key"), FailsWith(ErrorCode::kInvalidArgument));
  fs::rename(Segment(1), Segment(2));
  fs::create_directory(Segment(1));
  EXPECT_EQ(VerifyAll().finding, LedgerFinding::kUnreadable);
  fs::remove(Segment(1));
  fs::remove(Segment(2));
  EXPECT_EQ(VerifyAll().finding, LedgerFinding::kMissing);
}

}  // namespace
}  // namespace bailiff
