#include "core/side_run.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "engine/protocol.h"
#include "sys/message.h"
#include "sys/pipe.h"

namespace bailiff {
namespace {

// A socket that nothing ever connects to: this run is not to be cancelled by others.
Result<Fd> UnusedSocket() {
  const int raw = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (raw < 0) return Error::FromErrno(errno, "socket");
  Fd socket(raw);
  const sockaddr address{AF_UNIX, {}};
  if (::bind(raw, &address, sizeof(address.sa_family)) != 0) return Error::FromErrno(errno, "bind");
  if (::listen(raw, 1) != 0) return Error::FromErrno(errno, "listen");
  return socket;
}

}  // namespace

Result<SideRun> RunAside(Launcher& launcher, const SandboxSpec& spec, const SideRunFds& fds,
                         const RunObserver& observer, std::int64_t output_max) {
  const Fd idle = TRY(UnusedSocket());
  const Fd monitor = TRY(launcher.StartMonitor());
  Pipe out = TRY(MakePipe());
  Pipe err = TRY(MakePipe());
  TRY(SendMessage(monitor, EncodeLaunch(spec),
                  {&fds.workspace, &fds.in, &out.write, &err.write, &fds.scratch}));
  TRY(out.write.Close());
  TRY(err.write.Close());
  KeptOutput kept_out(output_max);
  KeptOutput kept_err(output_max);
  Supervised run = TRY(Supervise(monitor, {std::move(out.read), std::move(err.read)}, idle,
                                 observer, &kept_out, &kept_err));
  return SideRun{std::move(run), kept_out.kept(), kept_err.kept()};
}

}  // namespace bailiff
