#include <sched.h>
#include <sys/prctl.h>
#include <sys/xattr.h>

#include <iostream>

#include "tests/crash/everything.h"
#include "tests/support/requires.h"

// Whose the entries are that a commit makes, and as whom it may be made.

namespace bailiff {
namespace {

using ::testing::HasSubstr;

class CommitOwnershipTest : public CommitFixture {};

TEST_F(CommitOwnershipTest, NewEntriesInheritWhatTheirDirectoryGives) {
  REQUIRES(::geteuid() == 0, "needs root to give files to groups");
  tree_.Dir("shared");
  ASSERT_EQ(::chown(tree_.Path("").c_str(), 1234, 1234), 0);
  ASSERT_EQ(::chown(tree_.Path("shared").c_str(), 1234, 4321), 0);
  ASSERT_EQ(::chmod(tree_.Path("shared").c_str(), 02775), 0);
  const ChangeSet set = Edits(tree_)
                            .Create("shared/f", "x")
                            .MakeDir("shared/d", 0750)
                            .Create("shared/d/g", "y")
                            .Symlink("shared/l", "f")
                            .MakeDir("plain", 0700)
                            .Build();
  Committed(CommitAll(tree_, set));
  const std::string after = tree_.Snapshot();
  for (const char* line :
       {"plain dir 700 1234:1234", "shared/f file 644 1234:4321", "shared/d dir 2750 1234:4321",
        "shared/d/g file 644 1234:4321", "shared/l symlink 1234:4321"}) {
    EXPECT_THAT(after, HasSubstr(line));
  }
}

TEST_F(CommitOwnershipTest, WorksForAnOwnerWithoutPrivilege) {
  REQUIRES(::geteuid() == 0, "needs root to become somebody else");
  constexpr uid_t kUser = 12345;
  MakeEverythingTree(tree_);
  tree_.File("ro_moves/sub/f", "f");
  tree_.Dir("ro_moves/sub", 0555);
  tree_.Dir("ro_moves", 0555);
  tree_.File("ro_goes/f", "f");
  tree_.Dir("ro_goes", 0555);
  const std::string top = std::filesystem::path(tree_.Path("")).parent_path().parent_path();
  ASSERT_EQ(::lchown(top.c_str(), kUser, kUser), 0);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(top)) {
    ASSERT_EQ(::lchown(entry.path().c_str(), kUser, kUser), 0);
  }
  const std::string before = tree_.Snapshot();
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setresgid(kUser, kUser, kUser) != 0 || ::setresuid(kUser, kUser, kUser) != 0) ::_exit(9);
    Edits edits(tree_);
    edits.Move("ro_moves", "moved_ro").Create("moved_ro/sub/new", "x").Delete("ro_goes");
    ChangeSet set = edits.Move("a", "b").Delete("read_only/f").Create("read_only/g", "g").Build();
    const Result<CommitReport> report = CommitAll(tree_, set);
    if (!report.ok() || !report.value().problems.empty()) ::_exit(1);
    const std::string after = tree_.Snapshot();
    const bool modes = after.find("moved_ro dir 555") != std::string::npos &&
                       after.find("moved_ro/sub dir 555") != std::string::npos &&
                       after.find("read_only dir 555") != std::string::npos;
    if (!modes) ::_exit(2);
    const Result<Rollback> rollback = BuildRollback(tree_.dirs(), kCommitId, kRollbackId);
    if (!rollback.ok() || !rollback.value().conflicts.empty()) ::_exit(3);
    const Result<CommitReport> back = CommitAll(tree_, rollback.value().set);
    if (!back.ok() || !back.value().problems.empty()) ::_exit(4);
    ::_exit(tree_.Snapshot() == before ? 0 : 5);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(tree_.Snapshot(), before);
}

// The kernel's own answer to what a file created there gets.
TEST_F(CommitOwnershipTest, NewEntriesGetTheDefaultAcl) {
  constexpr const char* kAccess = "system.posix_acl_access";
  constexpr const char* kDefault = "system.posix_acl_default";
  const auto acl_of = [&](const std::string& path, const char* which) {
    std::string value(256, '\0');
    const ssize_t n = ::getxattr(tree_.Path(path).c_str(), which, value.data(), value.size());
    return n < 0 ? "none" : ToHex(value.substr(0, static_cast<std::size_t>(n)));
  };
  // user::rwx user:1234:rwx group::r-x mask::rwx other::r--
  const std::string acl = FromHex(
                              "02000000"
                              "01000700ffffffff"
                              "02000700d2040000"
                              "04000500ffffffff"
                              "10000700ffffffff"
                              "20000400ffffffff")
                              .value();
  tree_.Dir("d");
  const bool set_up = ::setxattr(tree_.Path("d").c_str(), kDefault, acl.data(), acl.size(), 0) == 0;
  REQUIRES(set_up, "this file system has no ACLs");
  const ChangeSet set = Edits(tree_)
                            .Create("d/f", "x", 0640)
                            .MakeDir("d/sub", 0750)
                            .Create("d/sub/g", "y", 0600)
                            .Build();
  Committed(CommitAll(tree_, set));
  const mode_t mask = ::umask(0);
  const int fd = ::open(tree_.Path("d/like_f").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0640);
  ASSERT_GE(fd, 0);
  ::close(fd);
  ASSERT_EQ(::mkdir(tree_.Path("d/like_sub").c_str(), 0750), 0);
  ::umask(mask);
  EXPECT_NE(acl_of("d/like_f", kAccess), "none");
  EXPECT_EQ(acl_of("d/f", kAccess), acl_of("d/like_f", kAccess));
  EXPECT_EQ(acl_of("d/sub", kAccess), acl_of("d/like_sub", kAccess));
  EXPECT_EQ(acl_of("d/sub", kDefault), ToHex(acl));
  EXPECT_NE(acl_of("d/sub/g", kAccess), "none");
  EXPECT_THAT(tree_.Snapshot(), HasSubstr("d/f file 640 "));
}

// With one user and one group, `inside` as seen from within.
bool EnterUserNamespace(const std::string& inside) {
  const auto write = [](const char* path, const std::string& text) {
    std::ofstream file(path);
    file << text << std::flush;
    return file.good();
  };
  const std::string uid = std::to_string(::geteuid());
  const std::string gid = std::to_string(::getegid());
  return ::unshare(CLONE_NEWUSER) == 0 && write("/proc/self/setgroups", "deny") &&
         write("/proc/self/uid_map", inside + " " + uid + " 1") &&
         write("/proc/self/gid_map", inside + " " + gid + " 1");
}

TEST_F(CommitOwnershipTest, WorksInAUserNamespace) {
  MakeEverythingTree(tree_);
  const ChangeSet set = EverythingSet(tree_);
  const pid_t child = ::fork();
  if (child == 0) {
    if (!EnterUserNamespace("0")) ::_exit(7);
    const Result<CommitReport> report = CommitAll(tree_, set);
    ::_exit(report.ok() && report.value().problems.empty() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  REQUIRES(WEXITSTATUS(status) != 7, "no user namespaces here");
  EXPECT_EQ(WEXITSTATUS(status), 0);
  const std::string after = tree_.Snapshot();
  const Tree other(Dir());
  MakeEverythingTree(other);
  ASSERT_THAT(CommitAll(other, EverythingSet(other)), IsOk());
  EXPECT_EQ(after, other.Snapshot());
}

// There a capability is good for nothing that is of a group without a mapping.
TEST_F(CommitOwnershipTest, AGroupThatTheUserNamespaceDoesNotKnowIsNoObstacle) {
  REQUIRES(::geteuid() == 0, "needs root to become somebody else");
  constexpr uid_t kUser = 12345;
  for (const char* dir : {"closes", "shared"}) tree_.Dir(dir);
  const std::string top = std::filesystem::path(tree_.Path("")).parent_path().parent_path();
  ASSERT_EQ(::chown(top.c_str(), kUser, kUser), 0);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(top)) {
    ASSERT_EQ(::chown(entry.path().c_str(), kUser, kUser), 0);
  }
  for (const char* dir : {"closes", "shared"}) {
    ASSERT_EQ(::chown(tree_.Path(dir).c_str(), kUser, 4321), 0);
  }
  ASSERT_EQ(::chmod(tree_.Path("shared").c_str(), 02775), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setresgid(kUser, kUser, kUser) != 0 || ::setresuid(kUser, kUser, kUser) != 0) ::_exit(9);
    ::prctl(PR_SET_DUMPABLE, 1);  // Else its own maps are not its to write.
    if (!EnterUserNamespace(std::to_string(kUser))) ::_exit(7);
    Edits edits(tree_);
    edits.Metadata("closes", 0311).Create("closes/f", "f").Create("shared/f", "f");
    const Result<CommitReport> report = CommitAll(tree_, edits.MakeDir("shared/d").Build());
    if (!report.ok()) std::cout << report.error().message() << std::endl;
    ::_exit(report.ok() && report.value().problems.empty() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  REQUIRES(WEXITSTATUS(status) != 7, "no user namespaces here");
  EXPECT_EQ(WEXITSTATUS(status), 0);
  const std::string after = tree_.Snapshot();
  for (const char* line : {"closes dir 311 12345:4321", "closes/f file 644 12345:12345",
                           "shared/f file 644 12345:12345", "shared/d dir 2755 12345:12345"}) {
    EXPECT_THAT(after, HasSubstr(line));
  }
}

}  // namespace
}  // namespace bailiff
