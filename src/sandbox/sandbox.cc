#include "sandbox/sandbox.h"

#include <poll.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <utility>

#include "sandbox/child_plan.h"
#include "sandbox/launch.h"
#include "sandbox/plan_mounts.h"
#include "sandbox/sandbox_state.h"
#include "sandbox/tree_memory.h"
#include "sys/system_clock.h"

namespace bailiff {

struct Sandbox::State : SandboxState {};

namespace {

using std::chrono::milliseconds;

// How often what the kernel does not tell us is looked at.
constexpr milliseconds kLookTick{20};
constexpr double kMicrosPerSecond = 1e6;

// Fewer free bytes than this is full: the next page does not fit.
constexpr std::uint64_t kFullBytes = 4096;
// An overlay needs more than one inode for some changes, so the last one is never had.
constexpr std::uint64_t kFullInodes = 2;

// The kernel kills the tree with its pid 1; through the cgroup it does so faster.
Status KillTree(SandboxState* state) {
  // The second kill suffices where the first cannot be had.
  if (state->cgroup.has_value()) (void)state->cgroup->Kill();
  return state->init->Kill();
}

// Counting takes at most this part of the time.
constexpr int kCountPart = 10;
// A script that is told of a full disk, by the size of one file, may cope with that.
constexpr std::int64_t kDiskSlackBytes = 1LL << 20;
// Files that were removed and are still open are not counted: the disk keeps this much.
constexpr std::uint64_t kDiskReserveBytes = 64ULL << 20;

void TakeCount(SandboxState* state) {
  state->use = state->meter->Take();
  const SteadyTime now = SystemClock().Steady();
  state->next_count = now + kCountPart * (now - state->counted);
  if (state->use.bytes >= state->limits.scratch_bytes) state->scratch_full = true;
  if (state->use.entries > ScratchInodes(state->limits)) state->inodes_full = true;
}

void AskForCount(SandboxState* state) {
  state->counted = SystemClock().Steady();
  state->meter->Ask();
}

bool DiskIsFull(const SandboxState& state) {
  struct statfs space = {};
  if (::fstatfs(state.upper.get(), &space) != 0) return false;
  return space.f_bavail * static_cast<std::uint64_t>(space.f_bsize) < kDiskReserveBytes;
}

// Whether the tree has to be ended for what it has written to disk.
bool LookAtDisk(SandboxState* state) {
  if (!state->meter->asked() && SystemClock().Steady() >= state->next_count) AskForCount(state);
  const bool full = DiskIsFull(*state);
  if (full) state->scratch_full = true;
  const bool beyond = state->use.bytes > state->limits.scratch_bytes &&
                      state->use.bytes - state->limits.scratch_bytes > kDiskSlackBytes;
  return beyond || state->inodes_full || full;
}

// What it came to, nothing writing any more.
void CountAtLast(SandboxState* state) {
  if (state->meter->asked()) TakeCount(state);
  AskForCount(state);
  TakeCount(state);
  if (DiskIsFull(*state)) state->scratch_full = true;
}

void LookAtScratch(SandboxState* state) {
  struct statfs space = {};
  if (!state->upper.valid() || ::fstatfs(state->upper.get(), &space) != 0) return;
  const auto block = static_cast<std::uint64_t>(space.f_bsize);
  if (space.f_bfree * block < kFullBytes) state->scratch_full = true;
  if (space.f_ffree < kFullInodes) state->inodes_full = true;
}

std::int64_t ScratchBytes(const SandboxState& state) {
  if (state.meter.has_value()) return state.use.bytes;
  struct statfs space = {};
  if (!state.upper.valid() || ::fstatfs(state.upper.get(), &space) != 0) return 0;
  return static_cast<std::int64_t>((space.f_blocks - space.f_bfree) *
                                   static_cast<std::uint64_t>(space.f_bsize));
}

Status LookAtMemory(SandboxState* state) {
  if (state->watchdog_killed) return Ok();
  // The cgroup's own limit is memory plus scratch, since both are memory to it: it holds whatever
  // happens, and what the processes may have of it is looked at here.
  const bool accounted = state->cgroup->limits_memory();
  const std::int64_t bytes =
      accounted ? state->cgroup->AnonymousBytes() : TreeMemoryBytes(state->init->pid());
  state->memory_peak_bytes = std::max(state->memory_peak_bytes, bytes);
  if (bytes <= state->limits.memory_bytes) return Ok();
  state->watchdog_killed = true;
  return KillTree(state);
}

Status LookAtClock(SandboxState* state) {
  if (state->timed_out || SystemClock().Steady() - state->started < state->limits.timeout) {
    return Ok();
  }
  state->timed_out = true;
  return KillTree(state);
}

milliseconds UntilNextLook(const SandboxState& state) {
  if (state.timed_out) return kLookTick;
  const auto passed =
      std::chrono::duration_cast<milliseconds>(SystemClock().Steady() - state.started);
  return std::clamp(state.limits.timeout - passed + milliseconds(1), milliseconds(0), kLookTick);
}

// How the program's first process ended. Nothing when pid 1 was killed before it could say.
std::optional<int> ReadStatus(const Fd& status) {
  InitReport report = {};
  ssize_t size = -1;
  do {
    size = ::read(status.get(), &report, sizeof(report));
  } while (size < 0 && errno == EINTR);
  if (size != sizeof(report)) return std::nullopt;
  return report.wait_status;
}

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / kMicrosPerSecond;
}

// A kill of ours may let pid 1 report the program's death or not. A program that ended by itself
// just before did end by itself.
EndReason ReasonFor(const SandboxState& state, const Ending& ending) {
  if (state.killed && ending.signal == SIGKILL) return EndReason::kKilled;
  if (state.timed_out && ending.signal == SIGKILL) return EndReason::kTimedOut;
  const bool succeeded = ending.exit_code == 0 && ending.signal == 0;
  if (ending.oom_killed && !succeeded) return EndReason::kOutOfMemory;
  return EndReason::kExited;
}

Result<Ending> Finish(SandboxState* state) {
  const ProcessEnd end = TRY(state->init->Wait());
  Ending ending;
  ending.duration = SystemClock().Steady() - state->started;
  if (state->meter.has_value()) {
    CountAtLast(state);
  } else {
    LookAtScratch(state);
  }
  const CgroupUsage usage = state->cgroup->Read();
  const std::optional<int> status = ReadStatus(state->status);
  if (!status.has_value()) {
    ending.signal = SIGKILL;
  } else if (WIFSIGNALED(*status)) {
    ending.signal = WTERMSIG(*status);
  } else {
    ending.exit_code = WEXITSTATUS(*status);
  }
  ending.oom_killed = usage.oom_kills > 0 || state->watchdog_killed;
  ending.scratch_full = state->scratch_full;
  ending.inodes_full = state->inodes_full;
  ending.pids_reached = usage.pids_refused > 0;
  ending.usage.cpu_seconds =
      std::max(usage.cpu_seconds, Seconds(end.usage.ru_utime) + Seconds(end.usage.ru_stime));
  ending.usage.memory_peak_bytes = std::max(usage.memory_peak_bytes, state->memory_peak_bytes);
  ending.usage.scratch_bytes = ScratchBytes(*state);
  ending.reason = ReasonFor(*state, ending);
  // The outcome counts more. What is left is found by its name: CleanStale().
  (void)state->cgroup->Remove();
  state->uid_lock = Fd();
  state->ending = ending;
  return ending;
}

}  // namespace

Result<Sandbox> Sandbox::Launch(const SandboxSpec& spec, const SandboxFds& fds) {
  Sandbox sandbox = TRY(Prepare(spec, fds));
  TRY(sandbox.Start());
  return sandbox;
}

Result<Sandbox> Sandbox::Prepare(const SandboxSpec& spec, const SandboxFds& fds) {
  auto state = std::make_unique<State>();
  TRY(PrepareSandbox(spec, fds, state.get()));
  return Sandbox(std::move(state));
}

Status Sandbox::Start() {
  return StartSandbox(state_.get());
}

Sandbox::Sandbox(std::unique_ptr<State> state) : state_(std::move(state)) {}
Sandbox::Sandbox(Sandbox&&) noexcept = default;
Sandbox& Sandbox::operator=(Sandbox&&) noexcept = default;
Sandbox::~Sandbox() = default;

const std::optional<SeenView>& Sandbox::view() const {
  return state_->view;
}

const Guarantees& Sandbox::guarantees() const {
  return state_->guarantees;
}

Result<std::optional<Ending>> Sandbox::Wait(const Fd& interrupt) {
  if (state_->ending.has_value()) return state_->ending;
  for (;;) {
    const bool counts = state_->meter.has_value() && state_->meter->asked();
    std::array<pollfd, 3> watched = {
        pollfd{state_->init->pidfd().get(), POLLIN, 0}, pollfd{interrupt.get(), POLLIN, 0},
        pollfd{counts ? state_->meter->answer().get() : -1, POLLIN, 0}};
    const auto wait = static_cast<int>(UntilNextLook(*state_).count());
    if (::poll(watched.data(), watched.size(), wait) < 0 && errno != EINTR) {
      return Error::FromErrno(errno, "poll");
    }
    if (watched[0].revents != 0) return std::optional(TRY(Finish(state_.get())));
    if (watched[1].revents != 0) return std::optional<Ending>();
    if (watched[2].revents != 0) TakeCount(state_.get());
    if (!state_->meter.has_value()) {
      LookAtScratch(state_.get());
    } else if (LookAtDisk(state_.get())) {
      TRY(KillTree(state_.get()));
    }
    TRY(LookAtMemory(state_.get()));
    TRY(LookAtClock(state_.get()));
  }
}

Status Sandbox::Kill() {
  state_->killed = true;
  return KillTree(state_.get());
}

const Fd& Sandbox::upper() const {
  return state_->upper;
}

const Fd& Sandbox::user_namespace() const {
  return state_->user_namespace;
}

}  // namespace bailiff
