#include "api/serve.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <csignal>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "api/api.h"
#include "api/upkeep_thread.h"
#include "base/bytes.h"
#include "core/live.h"
#include "core/proof.h"
#include "core/serve_confinement.h"
#include "core/upkeep.h"
#include "core/workers.h"
#include "http/server.h"
#include "sys/file.h"
#include "sys/system_clock.h"

namespace bailiff {
namespace {

constexpr int kReaders = 4;
constexpr int kWriters = 2;
constexpr std::chrono::milliseconds kRequestGrace{5'000};

// A line of the server's log, on standard error, where systemd and containers look for it.
void Log(std::string_view text) {
  const std::string line =
      FormatTimestamp(SystemClock().Now()) + " " + EscapeForTerminal(text, Lines::kSingle) + "\n";
  (void)!::write(STDERR_FILENO, line.data(), line.size());
}

// Tells systemd; where it does not listen nobody minds.
void NotifySystemd(const std::string& path, std::string_view state) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) return;
  std::memcpy(address.sun_path, path.data(), path.size());
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
  const int raw = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (raw < 0) return;
  const Fd socket(raw);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  (void)::sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL,
                 reinterpret_cast<const sockaddr*>(&address), length);
}

Result<std::vector<std::unique_ptr<Context>>> MakeContexts(const Context& first,
                                                           std::int64_t count) {
  std::vector<std::unique_ptr<Context>> contexts;
  for (std::int64_t i = 0; i < count; ++i) contexts.push_back(TRY(first.Beside()));
  return contexts;
}

// One server serves one state.
Result<Fd> LockState(const Context& context) {
  const Entry entry{TRY(OpenDirBeneath(context.state_dir(), ".")), "serve.lock"};
  Fd lock = TRY(OpenEntry(entry, O_RDWR | O_CREAT, 0600));
  if (TRY(TryLock(lock, LockMode::kExclusive))) return lock;
  return Error(ErrorCode::kConflict, "another 'bailiff serve' works on this state directory");
}

// Waits for SIGTERM or SIGINT, on a thread of its own. The first one stops the server, a second
// one cancels what runs. Every other thread has them blocked.
class SignalThread {
 public:
  explicit SignalThread(HttpServer* server) : server_(server) {
    ::sigemptyset(&signals_);
    for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) ::sigaddset(&signals_, signal);
    ::pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
  }
  SignalThread(const SignalThread&) = delete;
  SignalThread& operator=(const SignalThread&) = delete;

  ~SignalThread() {
    ended_ = true;
    if (!thread_.joinable()) return;
    ::pthread_kill(thread_.native_handle(), SIGUSR1);  // Only to wake it.
    thread_.join();
  }

  // `cancel` is called at the second signal.
  void Start(std::function<void()> cancel) {
    thread_ = std::thread([this, cancel = std::move(cancel)] {
      for (int seen = 0; !ended_;) {
        int signal = 0;
        if (::sigwait(&signals_, &signal) != 0 || signal == SIGUSR1) continue;
        ++seen;
        if (seen == 1) {
          Log("stopping: no new requests; a second signal cancels what runs");
          server_->Stop(kRequestGrace);
        } else {
          cancel();
        }
      }
    });
  }

 private:
  HttpServer* server_;
  sigset_t signals_{};
  std::atomic<bool> ended_ = false;
  std::thread thread_;
};

Result<std::unique_ptr<HttpServer>> Listen(ServeOptions* options, const Context& context) {
  HttpServerOptions http;
  http.listen = options->listen;
  http.socket_path =
      options->socket_path.empty() ? context.state_path() + "/socket" : options->socket_path;
  http.inherited = std::move(options->inherited);
  http.certificate_path = options->certificate_path;
  http.key_path = options->key_path;
  http.allowed_hosts = options->allowed_hosts;
  http.limits.body_bytes_max = static_cast<std::size_t>(options->body_bytes_max);
  http.report = [](const std::string& text) { Log(text); };
  return HttpServer::Listen(std::move(http));
}

// Everything that takes privilege and what is asked of the host comes before this.
Status Confine(const Context& context) {
  const ServeConfinement kept = TRY(ConfineServing(context));
  if (!kept.files)
    Log("this kernel has no Landlock: files are kept from the server by modes alone");
  if (kept.reads_all) Log("keeps CAP_DAC_READ_SEARCH: the workspace has files of other users");
  return Ok();
}

}  // namespace

Status Serve(Context& context, ServeOptions options) {
  const Fd lock = TRY(LockState(context));
  const TidiedUp tidied = TRY(TidyUp(context));
  for (const std::string& id : tidied.interrupted) Log(id + ": was interrupted earlier");
  for (const std::string& id : tidied.finished) Log("finished what was left of " + id);
  const Status proved = ProveAhead(context);
  if (!proved.ok()) Log("examine this host: " + proved.error().message());
  auto worker_contexts = TRY(MakeContexts(context, options.workers));
  auto reader_contexts = TRY(MakeContexts(context, kReaders));
  auto writer_contexts = TRY(MakeContexts(context, kWriters));
  std::unique_ptr<Context> upkeep_context = TRY(context.Beside());
  std::unique_ptr<Context> delivery_context = TRY(context.Beside());
  const std::unique_ptr<HttpServer> server = TRY(Listen(&options, context));
  TRY(Confine(context));

  SignalThread signals(server.get());
  Live live;
  const auto log = [](const std::string& text) { Log(text); };
  std::optional<UpkeepThreads> upkeep(std::in_place, std::move(upkeep_context),
                                      std::move(delivery_context), log);
  ContextPool readers(std::move(reader_contexts), &server->io());
  ContextPool writers(std::move(writer_contexts), &server->io());
  Workers workers(std::move(worker_contexts), &live, log);
  ApiParts parts;
  parts.io = &server->io();
  parts.readers = &readers;
  parts.writers = &writers;
  parts.live = &live;
  parts.workers = &workers;
  parts.limits.queue_length_max = options.queue_length_max;
  parts.local_uid = ::geteuid();
  Api api(std::move(parts));
  signals.Start([&workers] { workers.Stop(Workers::Running::kCancel); });

  for (const std::string& address : server->addresses()) Log("listening on " + address);
  NotifySystemd(options.notify_socket, "READY=1");
  server->Serve([&api](HttpRequest request) { return api.Handle(std::move(request)); });
  NotifySystemd(options.notify_socket, "STOPPING=1");
  workers.Stop(options.cancel_on_stop ? Workers::Running::kCancel : Workers::Running::kFinish);
  workers.Wait();
  upkeep.reset();
  Log("stopped");
  return Ok();
}

}  // namespace bailiff
