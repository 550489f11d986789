#include "posix_file.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace varve {
namespace {

constexpr size_t kZeroPieceBytes = size_t{1} << 20;

template <typename Call>
int retry(Call call) {
  int result;
  do {
    result = call();
  } while (result != 0 && errno == EINTR);
  return result == 0 ? 0 : errno;
}

}  // namespace

void FileDescriptor::reset() {
  // The result is of no use: whoever needs the bytes on disk has synced before.
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

int open_file(const std::string& path, int flags, FileDescriptor& out) {
  int fd;
  do {
    fd = ::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0600);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return errno;
  out = FileDescriptor(fd);
  return 0;
}

int file_size(int fd, uint64_t& out) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return errno;
  out = static_cast<uint64_t>(status.st_size);
  return 0;
}

int write_all(int fd, iovec* pieces, size_t count, uint64_t position) {
  while (count > 0) {
    const auto batch = static_cast<int>(std::min<size_t>(count, IOV_MAX));
    const ssize_t result = ::pwritev(fd, pieces, batch, static_cast<off_t>(position));
    if (result < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    if (result == 0) return EIO;
    auto written = static_cast<size_t>(result);
    position += written;
    while (count > 0 && written >= pieces->iov_len) {
      written -= pieces->iov_len;
      pieces++;
      count--;
    }
    if (written > 0) {
      pieces->iov_base = static_cast<char*>(pieces->iov_base) + written;
      pieces->iov_len -= written;
    }
  }
  return 0;
}

int write_zeros(int fd, uint64_t from, uint64_t to, const PieceWritten& written) {
  if (from >= to) return 0;
  const auto zeros = std::make_unique<char[]>(kZeroPieceBytes);
  while (from < to) {
    iovec piece{zeros.get(), std::min<uint64_t>(to - from, kZeroPieceBytes)};
    const size_t length = piece.iov_len;
    if (const int error = write_all(fd, &piece, 1, from); error != 0) return error;
    if (written) {
      if (const int error = written(from, length); error != 0) return error;
    }
    from += length;
  }
  return 0;
}

int allocate(int fd, uint64_t from, uint64_t to) {
  const int error =
      retry([&] { return ::fallocate(fd, 0, static_cast<off_t>(from), static_cast<off_t>(to - from)); });
  if (error != EOPNOTSUPP && error != ENOSYS) return error;
  return write_zeros(fd, from, to);
}

int sync_data(int fd) {
  return retry([&] { return ::fdatasync(fd); });
}

int sync_all(int fd) {
  return retry([&] { return ::fsync(fd); });
}

}  // namespace varve
