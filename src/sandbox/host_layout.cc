#include "sandbox/host_layout.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "sys/file.h"

namespace bailiff {
namespace {

constexpr std::size_t kFileBytesMax = 64UL * 1024;

// Where programs lie that are not below /usr; symbolic links there on a merged system.
constexpr const char* kProgramDirs[] = {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"};

// Configuration that interpreters and libraries need and that holds no secrets. Anything with
// accounts, tokens or host names in it (passwd, gitconfig, pip.conf, npmrc) is not here.
constexpr const char* kConfiguration[] = {
    "/etc/alternatives",     // java, awk and vi are links through it.
    "/etc/fonts",            //
    "/etc/ghostscript",      // Font maps.
    "/etc/ImageMagick-6",    //
    "/etc/java-17-openjdk",  //
    "/etc/java-21-openjdk",  //
    "/etc/ld.so.cache",      // Where libraries are.
    "/etc/ld.so.conf",       //
    "/etc/ld.so.conf.d",     //
    "/etc/localtime",        //
    "/etc/magic",            //
    "/etc/mime.types",       //
    "/etc/papersize",        //
    "/etc/perl",             //
    "/etc/protocols",        //
    "/etc/python3",          //
    "/etc/python3.11",       // sitecustomize.py is a link to it.
    "/etc/python3.12",       //
    "/etc/python3.13",       //
    "/etc/R",                //
    "/etc/services",         //
    "/etc/ssl/certs",        // Public certificates; /etc/ssl/private is not there.
    "/etc/ssl/openssl.cnf",  //
    "/etc/terminfo",         //
    "/etc/texmf",            //
    "/etc/timezone",         //
};

void Find(const std::string& path, HostLayout* layout) {
  struct stat found = {};
  if (::lstat(path.c_str(), &found) != 0) return;
  if (S_ISLNK(found.st_mode)) {
    Result<Fd> root = OpenPath("/", O_RDONLY | O_DIRECTORY);
    if (!root.ok()) return;
    const Result<std::string> target = ReadLink(root.value(), path.substr(1));
    if (target.ok()) layout->links.push_back({path, target.value()});
  } else if (S_ISDIR(found.st_mode) || S_ISREG(found.st_mode)) {
    layout->binds.push_back({path, S_ISDIR(found.st_mode)});
  }
}

std::string ReadSmall(const char* path) {
  const Result<Fd> file = OpenPath(path, O_RDONLY);
  if (!file.ok()) return "";
  const Result<std::string> text = ReadAll(file.value(), kFileBytesMax);
  return text.ok() ? text.value() : "";
}

}  // namespace

HostLayout ReadHostLayout(Network network) {
  HostLayout layout;
  for (const char* path : kProgramDirs) Find(path, &layout);
  for (const char* path : kConfiguration) Find(path, &layout);
  layout.hosts = "127.0.0.1 localhost bailiff\n::1 localhost bailiff\n";
  if (network == Network::kHost) {
    layout.resolv_conf = ReadSmall("/etc/resolv.conf");
    layout.hosts = ReadSmall("/etc/hosts");
  }
  return layout;
}

}  // namespace bailiff
