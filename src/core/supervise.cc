#include "core/supervise.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include "sys/message.h"

namespace bailiff {
namespace {

constexpr std::size_t kReadBytes = 64UL * 1024;
constexpr std::size_t kCancellersMax = 64;

// One supervised run. The four things that are waited for have fixed places in the poll set.
class Supervisor {
 public:
  Supervisor(const Fd& monitor, RunPipes pipes, const Fd& cancel_socket,
             const RunObserver& observer)
      : monitor_(monitor),
        pipes_(std::move(pipes)),
        cancel_socket_(cancel_socket),
        observer_(observer) {}

  Result<Supervised> Run(KeptOutput* out, KeptOutput* err) {
    while (!Done()) {
      const int stop = observer_.stop != nullptr && !stopped_ ? observer_.stop->get() : -1;
      std::array<pollfd, 5> events = {{{RawOf(pipes_.out), POLLIN, 0},
                                       {RawOf(pipes_.err), POLLIN, 0},
                                       {told_ ? -1 : monitor_.get(), POLLIN, 0},
                                       {cancel_socket_.get(), POLLIN, 0},
                                       {stop, POLLIN, 0}}};
      if (::poll(events.data(), events.size(), -1) < 0) {
        if (errno == EINTR) continue;
        return Error::FromErrno(errno, "poll");
      }
      if (events[0].revents != 0) TRY(Drain(Stream::kOut, &pipes_.out, out));
      if (events[1].revents != 0) TRY(Drain(Stream::kErr, &pipes_.err, err));
      if (events[2].revents != 0) TRY(Listen());
      if (events[3].revents != 0) AcceptCanceller();
      if (events[4].revents != 0) {
        stopped_ = true;
        Cancel();
      }
    }
    return std::move(result_);
  }

 private:
  static int RawOf(const Fd& fd) { return fd.valid() ? fd.get() : -1; }

  bool Done() const { return told_ && !pipes_.out.valid() && !pipes_.err.valid(); }

  Status Drain(Stream stream, Fd* pipe, KeptOutput* kept) {
    std::array<char, kReadBytes> chunk;
    const ssize_t n = ::read(pipe->get(), chunk.data(), chunk.size());
    if (n < 0) {
      if (errno == EINTR || errno == EAGAIN) return Ok();
      return Error::FromErrno(errno, "read output");
    }
    if (n == 0) return pipe->Close();
    const std::string_view bytes(chunk.data(), static_cast<std::size_t>(n));
    kept->Add(bytes);
    if (observer_.output) observer_.output(stream, bytes);
    return Ok();
  }

  // A message from the monitor: launched, then ended; or failed.
  Status Listen() {
    const std::optional<Message> message = TRY(ReceiveMessage(monitor_));
    if (!message.has_value()) {
      return Error(ErrorCode::kInternal, "the process that held the sandbox died");
    }
    const MessageKind kind = TRY(DecodeKind(message->bytes));
    if (kind == MessageKind::kLaunched) {
      result_.guarantees = TRY(DecodeLaunched(message->bytes));
      return Ok();
    }
    told_ = true;
    if (kind == MessageKind::kEnded) {
      result_.ending = TRY(DecodeEnded(message->bytes));
    } else {
      result_.failure = DecodeFailed(message->bytes);
    }
    return Ok();
  }

  void AcceptCanceller() {
    const int raw = ::accept4(cancel_socket_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (raw < 0) return;
    Fd canceller(raw);
    Cancel();
    if (cancellers_.size() < kCancellersMax) cancellers_.push_back(std::move(canceller));
  }

  void Cancel() {
    if (told_) return;
    result_.cancelled = true;
    // If this fails the monitor is gone, and the next message from it tells.
    (void)SendMessage(monitor_, EncodeKind(MessageKind::kKill));
  }

  const Fd& monitor_;
  RunPipes pipes_;
  const Fd& cancel_socket_;
  const RunObserver& observer_;
  std::vector<Fd> cancellers_;
  Supervised result_;
  bool told_ = false;
  bool stopped_ = false;
};

}  // namespace

void KeptOutput::Add(std::string_view bytes) {
  const auto room = static_cast<std::size_t>(max_) - kept_.size();
  const std::size_t taken = std::min(room, bytes.size());
  kept_.append(bytes.substr(0, taken));
  dropped_ += static_cast<std::int64_t>(bytes.size() - taken);
}

Result<Supervised> Supervise(const Fd& monitor, RunPipes pipes, const Fd& cancel_socket,
                             const RunObserver& observer, KeptOutput* out, KeptOutput* err) {
  return Supervisor(monitor, std::move(pipes), cancel_socket, observer).Run(out, err);
}

}  // namespace bailiff
