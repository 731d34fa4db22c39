// Writes what the real encoders make to FOLDER/<target>/seed-<n>, for fuzz targets to begin with.
// usage: write_seeds FOLDER

#include <sys/stat.h>

#include <cstdio>

#include "base/bytes.h"
#include "base/sha256.h"
#include "changeset/capture.h"
#include "core/documents.h"
#include "core/proof.h"
#include "engine/protocol.h"
#include "journal/format.h"
#include "journal/plan.h"
#include "ledger/record.h"
#include "ledger/signing_key.h"
#include "sandbox/child_plan.h"
#include "tests/fuzz/fuzzing.h"

namespace bailiff {
namespace {

constexpr const char* kId = "exec_20260101_000000_00000000";

class Seeds {
 public:
  explicit Seeds(std::string folder) : folder_(std::move(folder)) {}

  void Add(const std::string& target, std::string_view bytes) {
    const std::string dir = folder_ + "/" + target;
    CHECK(::mkdir(dir.c_str(), 0755) == 0 || errno == EEXIST);
    const std::string path = dir + "/seed-" + std::to_string(++count_);
    const Result<Fd> file = OpenPath(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK(file.ok());
    CHECK(WriteAll(file.value(), bytes).ok());
  }

  void Add(const std::string& target, char choice, std::string_view bytes) {
    Add(target, choice + std::string(bytes));
  }

 private:
  std::string folder_;
  int count_ = 0;
};

Identity SomeIdentity(EntryType type) {
  Identity identity;
  identity.type = type;
  identity.ino = 7;
  identity.size = 3;
  identity.mode = 0644;
  identity.nlink = 1;
  identity.mtime_ns = 1'700'000'000'000'000'000;
  if (type == EntryType::kSymlink) identity.link_target = "../out";
  if (type == EntryType::kFile) identity.sha256 = Sha256::Of("old");
  return identity;
}

Change SomeChange(ChangeOp op, EntryType type, const std::string& path) {
  Change change;
  change.op = op;
  change.type = type;
  change.path = path;
  change.mode = 0644;
  if (op != ChangeOp::kCreate) change.base = SomeIdentity(type);
  if (op == ChangeOp::kMove) change.from = "old/" + path;
  const bool brings = op == ChangeOp::kCreate || op == ChangeOp::kModify;
  if (brings && type == EntryType::kFile) {
    change.size = 3;
    change.sha256 = Sha256::Of("new");
    change.content.path = std::string("stage/") + kId + "/0";
    change.content.identity = SomeIdentity(type);
  }
  if (brings && type == EntryType::kSymlink) change.link_target = "target";
  return change;
}

ChangeSet SomeSet() {
  ChangeSet set;
  set.id = kId;
  int number = 0;
  for (const EntryType type : {EntryType::kFile, EntryType::kDir, EntryType::kSymlink}) {
    for (const ChangeOp op : {ChangeOp::kDelete, ChangeOp::kMove, ChangeOp::kCreate,
                              ChangeOp::kModify, ChangeOp::kMetadata}) {
      if (op == ChangeOp::kModify && type == EntryType::kDir) continue;
      set.changes.push_back(SomeChange(op, type, "path " + std::to_string(++number)));
    }
  }
  set.changes.back().path = "odd \xff\n\x1b name";
  SortCanonically(&set);
  return set;
}

void AddChangeSets(Seeds* seeds) {
  ChangeSet one;
  one.id = kId;
  one.changes.push_back(SomeChange(ChangeOp::kCreate, EntryType::kFile, "file"));
  seeds->Add("changeset", '\0', Encode(ChangeSet()));
  seeds->Add("changeset", '\0', Encode(one));
  seeds->Add("changeset", '\0', Encode(SomeSet()));
  CaptureResult capture;
  capture.set = one;
  capture.refused.push_back({"fifo", "is a FIFO"});
  capture.conflicts.push_back({"other", "changed in the workspace while the script ran"});
  seeds->Add("changeset", '\1', EncodeCapture(capture));
}

// The payloads of a journal file's records, as journal_fuzzer takes them.
std::string Unframed(std::string_view file) {
  ByteWriter list;
  while (!file.empty()) {
    ByteReader header(file);
    (void)header.U32();  // The same in all.
    list.U8(header.U8());
    const std::size_t size = header.U32();
    list.Bytes(file.substr(13, size));
    file.remove_prefix(13 + size + Sha256::kSize);
  }
  return list.Take();
}

std::string JournalBytes(const MemoryDir& dir) {
  const Result<Fd> file = OpenPath(dir.path() + "/" + kId + ".journal", O_RDONLY);
  return ReadAll(file.value(), std::size_t{1} << 20).value();
}

void AddJournals(Seeds* seeds) {
  for (int ending = 0; ending < 4; ++ending) {
    const MemoryDir dir;
    Begin begin;
    begin.set = SomeSet();
    begin.digest = Digest(begin.set);
    begin.root_ino = 2;
    begin.steps = PlanSteps(begin.set, SetIndex(begin.set), Stability::kStrong);
    JournalFile file = JournalFile::Create(dir.fd(), begin).value();
    std::vector<Left> left(begin.set.changes.size());
    left[0].present = true;
    left[0].identity = SomeIdentity(EntryType::kDir);
    left[0].below = {"a", "a/b"};
    const std::vector<PathProblem> problems = {{"file", "changed since"}};
    if (ending == 1) CHECK(file.AppendApplied(left).ok() && file.AppendRolledBack().ok());
    if (ending == 2) CHECK(file.AppendUndo(1, problems).ok() && file.AppendUndone().ok());
    if (ending == 3)
      CHECK(file.AppendUndo(1, problems).ok() && file.AppendAttention(problems).ok());
    const std::string bytes = JournalBytes(dir);
    if (ending == 1) seeds->Add("journal", '\0', bytes);
    seeds->Add("journal", '\1', Unframed(bytes));
  }
}

void AddLedger(Seeds* seeds) {
  const MemoryDir dir;
  const SigningKey key = SigningKey::Load(dir.fd(), SigningKey::MayCreate::kYes).value();
  const std::string prev(Sha256::kSize, '\0');
  Record record;
  record.seq = 1;
  record.time = "2026-01-01T00:00:00.000000Z";
  record.type = "committed";
  record.data["id"] = kId;
  const std::string line = FormatLine(&record, prev);
  seeds->Add("ledger", '\0',
             line.substr(2 * Sha256::kSize + 1, line.size() - 2 * Sha256::kSize - 2));
  const std::string checkpoint = SignHead({"led_0123", 1, record.hash}, key);
  seeds->Add("ledger", '\1', checkpoint);
  seeds->Add("ledger", '\2', line + std::string(1, '\0') + checkpoint);
  seeds->Add("ledger", '\3', key.PublicPem());
}

void AddMessages(Seeds* seeds) {
  SandboxSpec spec;
  spec.id = kId;
  spec.argv = {"/usr/bin/python3", "-c", "pass"};
  spec.environment = {"A=b"};
  spec.cwd = "/workspace";
  SandboxSpec scoped = spec;
  scoped.view = View{.whole = {"projects/A"}, .hollow = {"projects"}, .closed = {"projects"}};
  CaptureOptions capture;
  capture.id = kId;
  capture.reserved = {"Database"};
  Ending ending;
  ending.exit_code = 1;
  for (const std::string& message :
       {EncodeStartClerk("commit"), EncodeLaunch(spec, MessageKind::kPrepare),
        EncodeLaunch(scoped, MessageKind::kLaunch), EncodeCaptureRequest(capture),
        EncodeLaunched(Guarantees()), EncodeEnded(ending),
        EncodeFailed(Error(ErrorCode::kIo, "open: No such file")),
        EncodeKind(MessageKind::kKill)}) {
    seeds->Add("messages", message);
  }
}

void AddHost(Seeds* seeds) {
  using namespace std::string_view_literals;
  seeds->Add("host", '\0',
             "24 30 0:22 / /proc rw,nosuid shared:12 - proc proc rw\n"
             "36 35 98:0 /a /mnt/b\\040c rw - ext3 /dev/root rw,errors=continue\n");
  seeds->Add("host", '\1', "root\0home/a b\0fuse\0source\0user_id=1"sv);
  seeds->Add("host", '\1', "\0home/a\r-\rcgroup2\rx\ry\0fuse\0\0user_id=1"sv);
  for (const ChildFailure& failure : {ChildFailure{0, EINVAL}, ChildFailure{9, EPERM}}) {
    seeds->Add("host", '\2', {reinterpret_cast<const char*>(&failure), sizeof(failure)});
  }
  seeds->Add("host", '\3', EncodeProofs({{"ab", {"none", "ns"}, 7}, {"cd", {"none"}, 0}}));
  seeds->Add("host", '\3', "4:memory:/a\n0::/user.slice/user-1.slice/session-3.scope\n");
}

void AddTexts(Seeds* seeds) {
  for (const char* text :
       {"300", "1.5s", "250ms", "5m", "1h", "7d", "512k", "2G", "1t", "1e3", "-1"}) {
    seeds->Add("units", text);
  }
  using namespace std::string_view_literals;
  seeds->Add("text_diff", "\2one\ntwo\nthree\n\0one\n2\nthree\nfour"sv);
  seeds->Add("text_diff", "\1a\nb\na\nb\na\n\0b\na\nb\nb\n"sv);
  seeds->Add("text_diff", "\2\xff\x1b\n\0\xe2\x80\xae\r\n"sv);
  seeds->Add("bytes", "deadBEEF"sv);
  seeds->Add("bytes", "aGk="sv);
  seeds->Add("bytes", "\xe2\x80\xae\xf0\x9f\x98\x80\xff\x1b[0m\n"sv);
  seeds->Add("bytes", kId);
  seeds->Add("small_files", '\0', R"([sandbox]
host_network = true
[retention]
held_bytes_max = "1g"
rollback = "7d"
[records]
execution_logs = "off"
)");
  seeds->Add("small_files", '\1',
             R"({"version":1,"id":"ws_0","state":"/s","root":"/w","root_inode":2})");
  StoredProblems problems{{{"a", "b"}}, {{"\xff", "d"}}, Decision()};
  problems.decision->reasons = {"because"};
  seeds->Add("small_files", '\2', EncodeProblems(problems));
  // An origin with a handle of 8 bytes, and an ACL with a mask.
  seeds->Add("attributes", "\0\0\xfb\x1d\0\1________________12345678"sv);
  seeds->Add("attributes",
             "\1\2\0\0\0\1\0\7\0\xff\xff\xff\xff\4\0\5\0\xff\xff\xff\xff"
             "\x10\0\7\0\xff\xff\xff\xff\x20\0\5\0\xff\xff\xff\xff"sv);
}

}  // namespace
}  // namespace bailiff

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: write_seeds FOLDER\n", stderr);
    return 2;
  }
  bailiff::Seeds seeds(argv[1]);
  bailiff::AddChangeSets(&seeds);
  bailiff::AddJournals(&seeds);
  bailiff::AddLedger(&seeds);
  bailiff::AddMessages(&seeds);
  bailiff::AddTexts(&seeds);
  bailiff::AddHost(&seeds);
  return 0;
}
