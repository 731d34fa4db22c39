#include "core/clerks.h"

#include <fcntl.h>

#include <optional>
#include <set>
#include <utility>

#include "base/bytes.h"
#include "changeset/capture.h"
#include "core/context.h"
#include "sys/file.h"

namespace bailiff {
namespace {

constexpr std::size_t kPrivateEntriesMax = 1'000'000;

// Every job gets the same four descriptors.
Result<JournalDirs> DirsOf(const std::vector<Fd>& fds) {
  if (fds.size() != 4) return Error(ErrorCode::kInternal, "clerk: expected four descriptors");
  return JournalDirs{fds[0], fds[1], fds[2], fds[3]};
}

Error Malformed() {
  return Error(ErrorCode::kInternal, "clerk: malformed request or answer");
}

void WriteReport(const CommitReport& report, ByteWriter* writer) {
  writer->Bytes(report.id);
  writer->U8(static_cast<std::uint8_t>(report.outcome));
  WriteProblems(report.problems, writer);
}

CommitReport ReadReport(ByteReader* reader) {
  CommitReport report;
  report.id = reader->Bytes();
  const std::uint8_t outcome = reader->U8();
  if (outcome > static_cast<std::uint8_t>(CommitOutcome::kNeedsAttention)) reader->Fail();
  report.outcome = reader->ok() ? static_cast<CommitOutcome>(outcome) : CommitOutcome::kConflict;
  report.problems = ReadProblems(reader);
  return report;
}

Result<std::string> DoCommit(std::string request, const std::vector<Fd>& fds) {
  const JournalDirs dirs = TRY(DirsOf(fds));
  ByteReader reader(request);
  const std::string digest = reader.Bytes();
  CommitOptions options;
  options.rolls_back = reader.Bytes();
  ChangeSet set = TRY(Decode(reader.View()));
  if (!reader.ok() || !reader.AtEnd()) return Malformed();
  request = std::string();  // What is large is in memory once.
  const CommitReport report = TRY(Commit(dirs, std::move(set), digest, options));
  ByteWriter writer;
  WriteReport(report, &writer);
  return writer.Take();
}

Result<std::string> DoRecover(std::string_view /*request*/, const std::vector<Fd>& fds) {
  const JournalDirs dirs = TRY(DirsOf(fds));
  const std::vector<CommitReport> reports = TRY(Recover(dirs));
  ByteWriter writer;
  writer.U64(reports.size());
  for (const CommitReport& report : reports) WriteReport(report, &writer);
  return writer.Take();
}

Result<std::string> DoBuildRollback(std::string_view request, const std::vector<Fd>& fds) {
  const JournalDirs dirs = TRY(DirsOf(fds));
  ByteReader reader(request);
  const std::string id = reader.Bytes();
  const std::string rollback_id = reader.Bytes();
  if (!reader.ok() || !reader.AtEnd()) return Malformed();
  const Rollback rollback = TRY(BuildRollback(dirs, id, rollback_id));
  return Encoded([&](ByteWriter* writer) {
    WriteEncoded(rollback.set, writer);
    WriteProblems(rollback.conflicts, writer);
  });
}

Result<std::string> DoBuildPlan(std::string_view request, const std::vector<Fd>& fds) {
  const JournalDirs dirs = TRY(DirsOf(fds));
  const PlanRequest plan = TRY(DecodePlanRequest(request));
  return EncodePlanEffect(TRY(BuildPlan(dirs.workspace, dirs.held, plan)));
}

Result<std::string> DoSyncStaged(std::string_view request, const std::vector<Fd>& fds) {
  const JournalDirs dirs = TRY(DirsOf(fds));
  ByteReader reader(request);
  const bool doubtful = reader.U8() != 0;
  const ChangeSet set = TRY(Decode(reader.View()));
  if (!reader.ok() || !reader.AtEnd()) return Malformed();
  TRY(SyncStaged(dirs, set, doubtful ? Staged::kDoubtful : Staged::kKnown));
  return std::string();
}

Result<std::string> DoDiscardStaged(std::string_view request, const std::vector<Fd>& fds) {
  const JournalDirs dirs = TRY(DirsOf(fds));
  TRY(DiscardStaged(dirs, std::string(request)));
  return std::string();
}

Result<std::string> DoForget(std::string_view request, const std::vector<Fd>& fds) {
  const JournalDirs dirs = TRY(DirsOf(fds));
  TRY(Forget(dirs, std::string(request)));
  return std::string();
}

Result<std::string> DoWriteRecord(std::string_view request, const std::vector<Fd>& fds) {
  const JournalDirs dirs = TRY(DirsOf(fds));
  ByteReader reader(request);
  const std::string path = reader.Bytes();
  const std::string bytes = reader.Bytes();
  if (!reader.ok() || !reader.AtEnd()) return Malformed();
  TRY(WriteRecord(dirs.workspace, path, bytes));
  return std::string();
}

Result<std::string> DoRemoveRecords(std::string_view request, const std::vector<Fd>& fds) {
  const JournalDirs dirs = TRY(DirsOf(fds));
  ByteReader reader(request);
  const std::string folder = reader.Bytes();
  std::vector<std::string> ids;
  while (reader.ok() && !reader.AtEnd()) ids.push_back(reader.Bytes());
  if (!reader.ok()) return Malformed();
  ByteWriter writer;
  writer.I64(TRY(RemoveRecords(dirs.workspace, folder, ids)));
  return writer.Take();
}

// Nothing also where there is no `folder`.
Result<std::optional<struct stat>> StatBeneath(const Fd& holder, const char* folder,
                                               const std::string& name) {
  const Result<Fd> dir = OpenDirBeneath(holder, folder, O_PATH);
  if (dir.ok()) return StatAt(dir.value(), name);
  if (dir.error().code() == ErrorCode::kNotFound) return std::optional<struct stat>();
  return dir.error();
}

Result<std::string> Ask(Context& context, const char* job, std::string request) {
  const JournalDirs dirs = context.journal();
  return context.launcher().RunClerk(
      job, std::move(request), {&dirs.workspace, &dirs.private_dir, &dirs.journal, &dirs.held});
}

}  // namespace

std::map<std::string, ClerkJob> ClerkJobs() {
  return {{"commit", DoCommit},
          {"recover", DoRecover},
          {"build-rollback", DoBuildRollback},
          {"build-plan", DoBuildPlan},
          {"sync-staged", DoSyncStaged},
          {"discard-staged", DoDiscardStaged},
          {"forget", DoForget},
          {"write-record", DoWriteRecord},
          {"remove-records", DoRemoveRecords}};
}

Result<CommitReport> ClerkCommit(Context& context, std::string change_set, std::string_view digest,
                                 const std::string& rolls_back) {
  std::string request = Encoded([&](ByteWriter* writer) {
    writer->Bytes(digest);
    writer->Bytes(rolls_back);
    writer->Bytes(change_set);
  });
  change_set = std::string();
  const std::string answer = TRY(Ask(context, "commit", std::move(request)));
  ByteReader reader(answer);
  CommitReport report = ReadReport(&reader);
  if (!reader.ok() || !reader.AtEnd()) return Malformed();
  return report;
}

Result<std::vector<CommitReport>> ClerkRecover(Context& context) {
  const std::string answer = TRY(Ask(context, "recover", ""));
  ByteReader reader(answer);
  std::vector<CommitReport> reports;
  const std::uint64_t count = reader.U64();
  for (std::uint64_t i = 0; i < count && reader.ok(); ++i) reports.push_back(ReadReport(&reader));
  if (!reader.ok() || !reader.AtEnd()) return Malformed();
  return reports;
}

Result<Rollback> ClerkBuildRollback(Context& context, const std::string& id,
                                    const std::string& rollback_id) {
  ByteWriter writer;
  writer.Bytes(id);
  writer.Bytes(rollback_id);
  const std::string answer = TRY(Ask(context, "build-rollback", writer.Take()));
  ByteReader reader(answer);
  Rollback rollback;
  rollback.set = TRY(Decode(reader.View()));
  rollback.conflicts = ReadProblems(&reader);
  if (!reader.ok() || !reader.AtEnd()) return Malformed();
  return rollback;
}

Result<PlanEffect> ClerkBuildPlan(Context& context, const PlanRequest& request) {
  const std::string answer = TRY(Ask(context, "build-plan", EncodePlanRequest(request)));
  return DecodePlanEffect(answer);
}

Status ClerkSyncStaged(Context& context, const ChangeSet& set, Staged staged) {
  TRY(Ask(context, "sync-staged", Encoded([&](ByteWriter* writer) {
            writer->U8(staged == Staged::kDoubtful ? 1 : 0);
            WriteEncoded(set, writer);
          })));
  return Ok();
}

Status ClerkDiscardStaged(Context& context, const std::string& id) {
  // Most runs stage nothing, and need no clerk to find that out.
  for (const Fd* holder : {&context.workspace().private_dir(), &context.held_dir()}) {
    const std::optional<struct stat> staged = TRY(StatBeneath(*holder, "stage", id));
    if (!staged.has_value()) continue;
    TRY(Ask(context, "discard-staged", id));
    return Ok();
  }
  return Ok();
}

Status ClerkForget(Context& context, const std::string& id) {
  TRY(Ask(context, "forget", id));
  return Ok();
}

Status ClerkReadyRecord(Context& context) {
  const JournalDirs dirs = context.journal();
  return context.launcher().ReadyClerk(
      "write-record", {&dirs.workspace, &dirs.private_dir, &dirs.journal, &dirs.held});
}

Result<Fd> ClerkBeginRecord(Context& context, const std::string& path, std::string_view bytes) {
  ByteWriter writer;
  writer.Bytes(path);
  writer.Bytes(bytes);
  const JournalDirs dirs = context.journal();
  return context.launcher().AskClerk(
      "write-record", writer.data(),
      {&dirs.workspace, &dirs.private_dir, &dirs.journal, &dirs.held});
}

Result<std::int64_t> ClerkRemoveRecords(Context& context, const std::string& folder,
                                        const std::vector<std::string>& ids) {
  ByteWriter writer;
  writer.Bytes(folder);
  for (const std::string& id : ids) writer.Bytes(id);
  const std::string answer = TRY(Ask(context, "remove-records", writer.Take()));
  ByteReader reader(answer);
  const std::int64_t removed = reader.I64();
  if (!reader.ok() || !reader.AtEnd()) return Malformed();
  return removed;
}

Result<std::vector<std::string>> ListStaged(const Context& context) {
  std::set<std::string> ids;
  for (const Fd* holder : {&context.workspace().private_dir(), &context.held_dir()}) {
    const Result<Fd> stage = OpenDirBeneath(*holder, "stage", O_RDONLY);
    if (!stage.ok() && stage.error().code() == ErrorCode::kNotFound) continue;
    if (!stage.ok()) return stage.error();
    for (std::string& id : TRY(ListDir(stage.value(), kPrivateEntriesMax))) {
      ids.insert(std::move(id));
    }
  }
  return std::vector<std::string>(ids.begin(), ids.end());
}

Result<std::vector<std::string>> ListPutAside(const Context& context) {
  const Fd undo = TRY(OpenDirBeneath(context.workspace().private_dir(), "undo", O_RDONLY));
  return ListDir(undo, kPrivateEntriesMax);
}

}  // namespace bailiff
