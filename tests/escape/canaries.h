#pragma once

#include <arpa/inet.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <map>
#include <string>

#include "sys/process.h"
#include "tests/escape/harness.h"

namespace bailiff {

// Things of the host that a program outside can reach and that one inside must not:
//
//   /tmp/<canary>/file      readable by everyone
//   /tmp/<canary>/socket    connectable by everyone
//   an abstract socket, a TCP and a UDP port on loopback
//   a process, a System V shared memory segment, a variable in our environment
class Canaries {
 public:
  Canaries() : process_(CloneProcess({}, Pause, nullptr).value()) {
    char name[] = "/tmp/bailiff_canary_XXXXXX";
    if (::mkdtemp(name) == nullptr) std::abort();
    root_ = name;
    ::chmod(name, 0755);
    std::ofstream(root_ + "/file") << "canary";
    abstract_ = "bailiff-canary-" + std::to_string(::getpid());
    tcp_ = Loopback(SOCK_STREAM, &tcp_port_);
    udp_ = Loopback(SOCK_DGRAM, &udp_port_);
    path_socket_ = Listen(root_ + "/socket");
    ::chmod((root_ + "/socket").c_str(), 0777);
    abstract_socket_ = Listen(std::string(1, '\0') + abstract_);
    memory_ = ::shmget(::getpid(), 4096, IPC_CREAT | 0666);
    ::setenv("BAILIFF_CANARY", "seen", 1);
  }
  ~Canaries() {
    ::unsetenv("BAILIFF_CANARY");
    ::shmctl(memory_, IPC_RMID, nullptr);
    std::filesystem::remove_all(root_);
  }
  Canaries(const Canaries&) = delete;
  Canaries& operator=(const Canaries&) = delete;

  // `script` with the names of the canaries in it. `target` is the process to attack.
  std::string Fill(std::string script, const std::string& workspace, pid_t target) const {
    const std::map<std::string, std::string> values = {
        {"@FILE@", root_ + "/file"},
        {"@SOCKET@", root_ + "/socket"},
        {"@ABSTRACT@", abstract_},
        {"@TCP@", std::to_string(tcp_port_)},
        {"@UDP@", std::to_string(udp_port_)},
        {"@KEY@", std::to_string(::getpid())},
        {"@PID@", std::to_string(process_.pid())},
        {"@TARGET@", std::to_string(target)},
        {"@WORKSPACE@", workspace},
    };
    for (const auto& [name, value] : values) {
      for (std::size_t at = script.find(name); at != std::string::npos; at = script.find(name)) {
        script.replace(at, name.size(), value);
      }
    }
    return script;
  }

  pid_t pid() const { return process_.pid(); }
  bool ProcessIsAlive() const {
    pollfd watched{process_.pidfd().get(), POLLIN, 0};
    return ::poll(&watched, 1, 0) == 0;
  }

  // Whether a datagram or a connection has arrived since the last call.
  bool WasReached() const {
    bool reached = false;
    char byte = 0;
    while (::recv(udp_.get(), &byte, 1, MSG_DONTWAIT) >= 0) reached = true;
    for (const Fd* listener : {&tcp_, &path_socket_, &abstract_socket_}) {
      const int fd = ::accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (fd < 0) continue;
      ::close(fd);
      reached = true;
    }
    return reached;
  }

 private:
  static void Pause(const void* /*unused*/) {
    for (;;) ::pause();
  }

  static Fd Loopback(int type, int* port) {
    Fd fd(::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(fd.get(), generic, size), 0);
    EXPECT_EQ(::getsockname(fd.get(), generic, &size), 0);
    *port = ntohs(address.sin_port);
    EXPECT_EQ(type == SOCK_STREAM ? ::listen(fd.get(), 8) : 0, 0);
    return fd;
  }

  static Fd Listen(const std::string& name) {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name.data(), name.size());
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(fd.get(), 8), 0);
    return fd;
  }

  Process process_;
  std::string root_;
  std::string abstract_;
  int tcp_port_ = 0;
  int udp_port_ = 0;
  Fd tcp_;
  Fd udp_;
  Fd path_socket_;
  Fd abstract_socket_;
  int memory_ = -1;
};

}  // namespace bailiff
