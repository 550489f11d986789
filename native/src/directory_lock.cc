#include "directory_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

namespace varve {
namespace {

std::string holder_of(int fd) {
  char text[32];
  const ssize_t length = ::pread(fd, text, sizeof text, 0);
  std::string digits;
  for (ssize_t i = 0; i < length && text[i] >= '0' && text[i] <= '9'; i++) digits += text[i];
  return digits.empty() ? "another process" : "process " + digits;
}

}  // namespace

std::optional<Failure> DirectoryLock::acquire(const std::string& directory) {
  const std::string path = directory + "/LOCK";
  FileDescriptor file;
  if (const int error = open_file(path, O_RDWR | O_CREAT, nullptr, file); error != 0) {
    return system_failure("open", path, error);
  }
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return system_failure("flock", path, errno);
    return Failure{FailureCode::directory_locked, "the data directory " + directory + " is open in " +
                                                      holder_of(file.get()) +
                                                      "; close it there, or use another directory"};
  }
  // The process id is only for the message above, so a full disk is no reason to refuse.
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(file.get(), 0) == 0 && ::pwrite(file.get(), pid.data(), pid.size(), 0) < 0) {
    (void)::ftruncate(file.get(), 0);
  }
  file_ = std::move(file);
  return std::nullopt;
}

}  // namespace varve
