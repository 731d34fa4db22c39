#include "cli/serve_command.h"

#include <unistd.h>

#include <charconv>
#include <thread>
#include <utility>

#include "base/units.h"

namespace bailiff {
namespace {

constexpr const char* kListen = "127.0.0.1:8124";
constexpr int kFirstSocket = 3;  // Of systemd: sd_listen_fds(3).
constexpr std::int64_t kSocketsMax = 16;
constexpr std::int64_t kWorkersMax = 256;
constexpr std::int64_t kQueueMax = 100'000;
constexpr std::int64_t kBodyMax = 1LL << 30;

Result<std::int64_t> CountOf(const std::string& option, const std::string& text, std::int64_t max) {
  const Result<std::int64_t> count = ParseCount(text, max);
  if (count.ok()) return count;
  return Error(ErrorCode::kInvalidArgument, option + " " + text + ": " + count.error().message());
}

// The sockets that systemd has opened for this process, if any.
Result<std::vector<Fd>> Inherited(const Surroundings& surroundings) {
  std::vector<Fd> sockets;
  if (surroundings.listen_pid != std::to_string(::getpid())) return sockets;
  const std::int64_t count = TRY(CountOf("LISTEN_FDS", surroundings.listen_fds, kSocketsMax));
  for (int i = 0; i < count; ++i) sockets.emplace_back(kFirstSocket + i);
  return sockets;
}

Result<ServeOptions> MakeOptions(const Session& session, const ServeCommandOptions& given) {
  ServeOptions options;
  options.inherited = TRY(Inherited(session.surroundings()));
  options.listen = given.listen;
  if (given.no_tcp && !given.listen.empty()) {
    return Error(ErrorCode::kInvalidArgument, "--no-tcp: contradicts --listen");
  }
  const bool by_default = given.listen.empty() && !given.no_tcp && options.inherited.empty();
  if (by_default) options.listen.emplace_back(kListen);
  if (!given.socket.empty()) options.socket_path = session.Absolute(given.socket);
  if (given.certificate.empty() != given.key.empty()) {
    return Error(ErrorCode::kInvalidArgument, "--certificate and --key go together");
  }
  if (!given.certificate.empty()) {
    options.certificate_path = session.Absolute(given.certificate);
    options.key_path = session.Absolute(given.key);
  }
  options.allowed_hosts = given.allowed_hosts;
  options.workers = given.workers == "0"
                        ? std::max<std::int64_t>(2, std::thread::hardware_concurrency())
                        : TRY(CountOf("--workers", given.workers, kWorkersMax));
  options.queue_length_max = TRY(CountOf("--queue", given.queue, kQueueMax));
  const Result<std::int64_t> body = ParseSize(given.body);
  if (!body.ok() || body.value() < 1 || body.value() > kBodyMax) {
    return Error(ErrorCode::kInvalidArgument, "--body " + given.body + ": must be 1 to 1g");
  }
  options.body_bytes_max = body.value();
  if (given.on_stop != "finish" && given.on_stop != "cancel") {
    return Error(ErrorCode::kInvalidArgument,
                 "--on-stop " + given.on_stop + ": must be finish or cancel");
  }
  options.cancel_on_stop = given.on_stop == "cancel";
  options.notify_socket = session.surroundings().notify_socket;
  return options;
}

}  // namespace

int ServeCommand(Session& session, const ServeCommandOptions& options) {
  Result<ServeOptions> serve = MakeOptions(session, options);
  if (!serve.ok()) return session.Fail(serve.error());
  const Result<Context*> context = session.Open(Session::Purpose::kRead);
  if (!context.ok()) return session.Fail(context.error());
  const Status served = session.surroundings().serve(*context.value(), std::move(serve).value());
  return served.ok() ? 0 : session.Fail(served.error());
}

}  // namespace bailiff
