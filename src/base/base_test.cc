#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/compact_string.h"
#include "base/ids.h"
#include "base/sha256.h"
#include "base/units.h"
#include "tests/support/matchers.h"

namespace bailiff {
namespace {

using std::chrono::milliseconds;

TEST(UnitsTest, DurationsAndSizesReadAsPeopleWriteThem) {
  EXPECT_EQ(ParseDuration("300").value(), milliseconds(300'000));
  EXPECT_EQ(ParseDuration("5m").value(), milliseconds(300'000));
  EXPECT_EQ(ParseDuration("1h").value(), milliseconds(3'600'000));
  EXPECT_EQ(ParseDuration("250ms").value(), milliseconds(250));
  EXPECT_EQ(ParseDuration("1.5s").value(), milliseconds(1500));
  EXPECT_EQ(ParseSize("4096").value(), 4096);
  EXPECT_EQ(ParseSize("512m").value(), 512LL << 20);
  EXPECT_EQ(ParseSize("2G").value(), 2LL << 30);
  EXPECT_EQ(ParseCount("100000", 1'000'000).value(), 100'000);
  EXPECT_EQ(ParsePositive("0.5").value(), 0.5);
}

TEST(UnitsTest, AnythingElseIsRefused) {
  for (const char* text :
       {"", "0", "-5", "5 m", "5x", "m", "nan", "inf", "1e3", "0x10", "99999999999999999999d"}) {
    SCOPED_TRACE(text);
    EXPECT_THAT(ParseDuration(text), FailsWith(ErrorCode::kInvalidArgument));
    EXPECT_THAT(ParseSize(text), FailsWith(ErrorCode::kInvalidArgument));
    EXPECT_THAT(ParseCount(text, 10), FailsWith(ErrorCode::kInvalidArgument));
    EXPECT_THAT(ParsePositive(text), FailsWith(ErrorCode::kInvalidArgument));
  }
  EXPECT_THAT(ParseCount("11", 10), FailsWith(ErrorCode::kInvalidArgument));
}

TEST(BytesTest, LossyTextKeepsWhatIsValid) {
  EXPECT_EQ(ToUtf8Lossy("a\xff\xc3\xa9"), "a\xef\xbf\xbd\xc3\xa9");
  EXPECT_EQ(ToUtf8Lossy("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");  // A surrogate.
  EXPECT_FALSE(IsUtf8("\xc0\xaf"));                                                // Overlong '/'.
  EXPECT_TRUE(IsUtf8("\xf0\x9f\x99\x82"));
}

TEST(BytesTest, TerminalTextShowsWhatWouldHide) {
  EXPECT_EQ(EscapeForTerminal("a\x1b[31m", Lines::kMultiple), "a\\x1b[31m");
  EXPECT_EQ(EscapeForTerminal("a\nb\tc\r", Lines::kMultiple), "a\nb\tc\\x0d");
  EXPECT_EQ(EscapeForTerminal("a\nb", Lines::kSingle), "a\\x0ab");
  EXPECT_EQ(EscapeForTerminal("x\xe2\x80\xaey", Lines::kSingle), "x\\u{202e}y");
  EXPECT_EQ(EscapeForTerminal("\xc2\x9b", Lines::kSingle), "\\u{009b}");
  EXPECT_EQ(EscapeForTerminal("\xff", Lines::kSingle), "\\xff");
}

TEST(BytesTest, HexAndBase64SurviveARoundTrip) {
  for (const std::string& bytes : {std::string(), std::string("a"), std::string("\0\xff\x10", 3)}) {
    EXPECT_EQ(FromHex(ToHex(bytes)).value(), bytes);
    EXPECT_EQ(FromBase64(ToBase64(bytes)).value(), bytes);
  }
  EXPECT_THAT(FromHex("abc"), FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_THAT(FromHex("zz"), FailsWith(ErrorCode::kInvalidArgument));
}

TEST(UnitsTest, ASumOfSizesEndsAtWhatFits) {
  std::int64_t sum = 0;
  AddSize(INT64_MAX - 1, &sum);
  EXPECT_EQ(sum, INT64_MAX - 1);
  AddSize(2, &sum);
  EXPECT_EQ(sum, INT64_MAX);
  AddSize(INT64_MAX, &sum);
  EXPECT_EQ(sum, INT64_MAX);
}

TEST(CompactStringTest, IsAPointerAndBehavesAsAValue) {
  EXPECT_EQ(sizeof(CompactString), sizeof(void*));
  CompactString empty;
  EXPECT_TRUE(empty.empty());
  EXPECT_EQ(empty.view(), "");
  const std::string bytes("a\0b", 3);
  CompactString first(bytes);
  CompactString copy = first;
  EXPECT_EQ(copy, first);
  EXPECT_EQ(copy.str(), bytes);
  first = std::string_view("other");
  EXPECT_EQ(copy, bytes);
  copy = std::move(first);
  EXPECT_EQ(copy, "other");
  copy = empty;
  EXPECT_EQ(copy, empty);
  first = copy.view();
  EXPECT_TRUE(first.empty());
}

TEST(BytesTest, ASinkGetsTheSameBytesInPieces) {
  const Encoding encoding = [](ByteWriter* writer) {
    for (std::uint32_t i = 0; i < 30'000; ++i) writer->U32(i);
    writer->Raw("raw");
    writer->Bytes(std::string(100'000, 'x'));
    writer->U8(1);
  };
  std::string pieces;
  std::size_t longest = 0;
  ByteWriter writer([&](std::string_view bytes) {
    pieces += bytes;
    longest = std::max(longest, bytes.size());
  });
  encoding(&writer);
  writer.Flush();
  EXPECT_EQ(pieces, Encoded(encoding));
  EXPECT_EQ(pieces.size(), EncodedSize(encoding));
  EXPECT_LT(longest, pieces.size() - 50'000);
}

TEST(BytesTest, ReaderStopsAtTheEndAndStaysStopped) {
  ByteWriter writer;
  writer.U32(7);
  writer.Bytes("name");
  writer.I64(-1);
  ByteReader reader(writer.data());
  EXPECT_EQ(reader.U32(), 7U);
  EXPECT_EQ(reader.Bytes(), "name");
  EXPECT_EQ(reader.I64(), -1);
  EXPECT_TRUE(reader.ok() && reader.AtEnd());
  EXPECT_EQ(reader.U8(), 0);
  EXPECT_FALSE(reader.ok());

  ByteReader short_string(
      std::string_view("\xff\xff\xff\xff"
                       "abc",
                       7));
  EXPECT_EQ(short_string.Bytes(), "");
  EXPECT_FALSE(short_string.ok());
}

TEST(IdsTest, AnIdIsRecognisedAndNothingElseIs) {
  const WallTime time{std::chrono::seconds(1'795'256'100)};
  const std::string id = MakeId("exec", time);
  EXPECT_TRUE(id.starts_with("exec_" + FormatCompact(time) + "_")) << id;
  EXPECT_TRUE(IsId(id));
  for (const char* text :
       {"", "exec", "exec_20261121_101500_1f2e3d4", "exec_20261121_101500_1F2E3D4C",
        "../c_20261121_101500_1f2e3d4c", "exec_20261121_101500_1f2e3d4c/"}) {
    EXPECT_FALSE(IsId(text)) << text;
  }
}

TEST(ClockTest, TimestampsAreUtcWithMicroseconds) {
  const WallTime time{std::chrono::seconds(1'795'256'100) + std::chrono::microseconds(123'456)};
  EXPECT_EQ(FormatTimestamp(time), "2026-11-21T10:15:00.123456Z");
}

TEST(Sha256Test, MatchesThePublishedVector) {
  EXPECT_EQ(ToHex(Sha256::Of("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace bailiff
