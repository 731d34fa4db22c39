#include "core/tokens.h"

#include <gmock/gmock.h>

#include "core/context_fixture_test.h"

namespace bailiff {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::SizeIs;

class TokensTest : public ContextFixture {
 protected:
  void SetUp() override { Open(); }

  CreatedToken Make(const TokenRequest& request) {
    Result<CreatedToken> created = CreateToken(*context_, request);
    EXPECT_THAT(created, IsOk());
    return std::move(created).value();
  }

  // The reason of the newest denial.
  std::string LastReason() {
    const auto records = Records("denied_request");
    return records.empty() ? "" : std::string(records.back().at("reason").as_string());
  }
};

TEST_F(TokensTest, ATokenStandsForWhomItWasMadeFor) {
  const CreatedToken created =
      Make({.name = "bot", .cases = std::vector<std::string>{"Wilson", "Smith"}});
  EXPECT_THAT(created.token, MatchesRegex("bailiff_[0-9a-f]{8}_[A-Za-z0-9_-]{43}"));
  EXPECT_THAT(created.warnings, SizeIs(2));
  const Result<Actor> actor = Authenticate(*context_, created.token);
  ASSERT_THAT(actor, IsOk());
  EXPECT_EQ(actor.value().name, "token:bot");
  EXPECT_EQ(actor.value().role, Role::kAgent);
  EXPECT_FALSE(actor.value().embedded);
  EXPECT_EQ(actor.value().cases, (std::vector<std::string>{"Wilson", "Smith"}));
  const CreatedToken other = Make({.name = "rita", .role = Role::kReviewer});
  EXPECT_FALSE(Authenticate(*context_, other.token).value().cases.has_value());
}

TEST_F(TokensTest, WhateverIsWrongTheCallerHearsTheSameAndTheLedgerMore) {
  const CreatedToken living = Make({.name = "living"});
  const CreatedToken revoked = Make({.name = "revoked"});
  ASSERT_THAT(RevokeToken(*context_, "revoked"), IsOk());
  const CreatedToken expired = Make({.name = "expired"});
  ASSERT_THAT(context_->store().connection().Execute(
                  "UPDATE tokens SET expires_ns = 1 WHERE name = 'expired'"),
              IsOk());
  std::string wrong = living.token;
  wrong.back() = wrong.back() == 'A' ? 'B' : 'A';
  std::string unknown = living.token;
  unknown.replace(8, 8, "00000000");
  const std::pair<std::string, const char*> cases[] = {{wrong, "wrong secret"},
                                                       {unknown, "there is no token with this id"},
                                                       {revoked.token, "was revoked"},
                                                       {expired.token, "has expired"},
                                                       {"", "is no token"},
                                                       {living.token + "x", "is no token"}};
  std::string said;
  for (const auto& [token, reason] : cases) {
    const Result<Actor> actor = Authenticate(*context_, token);
    ASSERT_THAT(actor, FailsWith(ErrorCode::kPermissionDenied)) << reason;
    if (said.empty()) said = actor.error().message();
    EXPECT_EQ(actor.error().message(), said);
    EXPECT_EQ(LastReason(), reason);
  }
  EXPECT_THAT(Authenticate(*context_, living.token), IsOk());
}

TEST_F(TokensTest, NoSecretIsKept) {
  const CreatedToken created = Make({.name = "bot"});
  const std::string secret = created.token.substr(17);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir_.path())) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    EXPECT_THAT(bytes, Not(HasSubstr(secret))) << entry.path();
  }
  EXPECT_THAT(Records("token_created"), SizeIs(1));
}

TEST_F(TokensTest, ANameIsGivenOnceAtATime) {
  const CreatedToken first = Make({.name = "bot"});
  EXPECT_THAT(CreateToken(*context_, {.name = "bot"}), FailsWith(ErrorCode::kConflict));
  ASSERT_THAT(RevokeToken(*context_, first.row.id), IsOk());
  EXPECT_THAT(RevokeToken(*context_, first.row.id), FailsWith(ErrorCode::kConflict));
  EXPECT_THAT(RevokeToken(*context_, "bot"), FailsWith(ErrorCode::kNotFound));
  const CreatedToken second = Make({.name = "bot"});
  EXPECT_THAT(Authenticate(*context_, first.token), FailsWith(ErrorCode::kPermissionDenied));
  EXPECT_THAT(Authenticate(*context_, second.token), IsOk());
  EXPECT_THAT(ListTokens(*context_).value(), SizeIs(2));
  EXPECT_THAT(Records("token_revoked"), SizeIs(1));
}

TEST_F(TokensTest, AnAgentsTokenExpiresUnlessSaidOtherwise) {
  const std::int64_t day_ns = std::chrono::nanoseconds(std::chrono::hours(24)).count();
  const auto life = [](const CreatedToken& created) {
    return created.row.expires_ns - created.row.created_ns;
  };
  EXPECT_EQ(life(Make({.name = "a"})), 90 * day_ns);
  EXPECT_EQ(Make({.name = "b", .role = Role::kAdmin}).row.expires_ns, 0);
  using enum TokenRequest::Expiry;
  EXPECT_EQ(Make({.name = "c", .expiry = kNever}).row.expires_ns, 0);
  EXPECT_EQ(life(Make({.name = "d", .expiry = kAfter, .life = std::chrono::hours(24)})), day_ns);
}

TEST_F(TokensTest, WhatIsNoNameOrCaseIsRefused) {
  for (const char* name : {"", "-x", "a b", "a/b", "deadbeef", "\xff"}) {
    EXPECT_THAT(CreateToken(*context_, {.name = name}), FailsWith(ErrorCode::kInvalidArgument))
        << name;
  }
  for (const char* name : {"", "..", "a/b", "\xff"}) {
    EXPECT_THAT(CreateToken(*context_, {.name = "bot", .cases = std::vector<std::string>{name}}),
                FailsWith(ErrorCode::kInvalidArgument))
        << name;
  }
  EXPECT_THAT(ListTokens(*context_).value(), IsEmpty());
}

TEST_F(TokensTest, TokensAreForAdmins) {
  context_->ActAs(Token("rita", Role::kReviewer));
  EXPECT_THAT(CreateToken(*context_, {.name = "x"}), FailsWith(ErrorCode::kPermissionDenied));
  EXPECT_THAT(ListTokens(*context_), FailsWith(ErrorCode::kPermissionDenied));
  EXPECT_THAT(RevokeToken(*context_, "x"), FailsWith(ErrorCode::kPermissionDenied));
  EXPECT_THAT(Records("denied_request"), SizeIs(3));
}

}  // namespace
}  // namespace bailiff
