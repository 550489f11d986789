#include "posix_file.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
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

int open_file(const std::string& path, int flags, Trace* trace, FileDescriptor& out) {
  constexpr int kAlways = O_CLOEXEC | O_NOFOLLOW;
  constexpr mode_t kMode = 0600;
  if (!kTraceable) trace = nullptr;
  uint32_t number = 0;
  int fd;
  do {
    fd = trace != nullptr ? trace->open(path, flags | kAlways, kMode, number)
                          : ::open(path.c_str(), flags | kAlways, kMode);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return errno;
  out = FileDescriptor(fd, trace, number);
  return 0;
}

int rename_file(const std::string& from, const std::string& to, Trace* trace) {
  if (!kTraceable) trace = nullptr;
  return retry([&] { return trace != nullptr ? trace->rename(from, to) : ::rename(from.c_str(), to.c_str()); });
}

int unlink_file(const std::string& path, Trace* trace) {
  if (!kTraceable) trace = nullptr;
  return retry([&] { return trace != nullptr ? trace->unlink(path) : ::unlink(path.c_str()); });
}

int file_size(const FileDescriptor& file, uint64_t& out) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return errno;
  out = static_cast<uint64_t>(status.st_size);
  return 0;
}

int truncate_file(const FileDescriptor& file, uint64_t size) {
  const auto length = static_cast<off_t>(size);
  return retry([&] {
    return file.trace() != nullptr ? file.trace()->ftruncate(file.number(), file.get(), length)
                                   : ::ftruncate(file.get(), length);
  });
}

int write_all(const FileDescriptor& file, iovec* pieces, size_t count, uint64_t position) {
  while (count > 0) {
    const auto batch = static_cast<int>(std::min<size_t>(count, IOV_MAX));
    const auto at = static_cast<off_t>(position);
    const ssize_t result = file.trace() != nullptr
                               ? file.trace()->pwritev(file.number(), file.get(), pieces, batch, at)
                               : ::pwritev(file.get(), pieces, batch, at);
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

void write_past_cache(const FileDescriptor& file) {
  if (file.trace() != nullptr) return;
  const int flags = ::fcntl(file.get(), F_GETFL);
  if (flags >= 0) (void)::fcntl(file.get(), F_SETFL, flags | O_DIRECT);
}

int write_blocks(const FileDescriptor& file, uint8_t* blocks, size_t length, uint64_t position) {
  iovec piece{blocks, length};
  const int error = write_all(file, &piece, 1, position);
  if (error != EINVAL) return error;
  const int flags = ::fcntl(file.get(), F_GETFL);
  if (flags < 0 || (flags & O_DIRECT) == 0 || ::fcntl(file.get(), F_SETFL, flags & ~O_DIRECT) != 0) return error;
  piece = {blocks, length};
  return write_all(file, &piece, 1, position);
}

int write_zeros(const FileDescriptor& file, uint64_t from, uint64_t to, const PieceWritten& written) {
  if (from >= to) return 0;
  const auto zeros = std::make_unique<char[]>(kZeroPieceBytes);
  while (from < to) {
    iovec piece{zeros.get(), std::min<uint64_t>(to - from, kZeroPieceBytes)};
    const size_t length = piece.iov_len;
    if (const int error = write_all(file, &piece, 1, from); error != 0) return error;
    if (written) {
      if (const int error = written(from, length); error != 0) return error;
    }
    from += length;
  }
  return 0;
}

int allocate(const FileDescriptor& file, uint64_t from, uint64_t to) {
  const auto start = static_cast<off_t>(from);
  const auto length = static_cast<off_t>(to - from);
  const int error = retry([&] {
    return file.trace() != nullptr ? file.trace()->fallocate(file.number(), file.get(), start, length)
                                   : ::fallocate(file.get(), 0, start, length);
  });
  if (error != EOPNOTSUPP && error != ENOSYS) return error;
  return write_zeros(file, from, to);
}

int allocate_blocks(const FileDescriptor& file, uint64_t from, uint64_t to) {
  const auto start = static_cast<off_t>(from);
  const auto length = static_cast<off_t>(to - from);
  const int error = retry([&] { return ::fallocate(file.get(), FALLOC_FL_KEEP_SIZE, start, length); });
  return error == EOPNOTSUPP || error == ENOSYS ? 0 : error;
}

int release_blocks(const FileDescriptor& file, uint64_t from, uint64_t to) {
  const auto start = static_cast<off_t>(from);
  const auto length = static_cast<off_t>(to - from);
  const int error =
      retry([&] { return ::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, length); });
  return error == EOPNOTSUPP || error == ENOSYS ? 0 : error;
}

int write_back(const FileDescriptor& file, uint64_t from, uint64_t length, unsigned flags) {
  const auto start = static_cast<off_t>(from);
  const auto bytes = static_cast<off_t>(length);
  return retry([&] {
    return file.trace() != nullptr ? file.trace()->sync_file_range(file.number(), file.get(), start, bytes, flags)
                                   : ::sync_file_range(file.get(), start, bytes, flags);
  });
}

int sync_data(const FileDescriptor& file) {
  return retry([&] {
    return file.trace() != nullptr ? file.trace()->sync(file.number(), file.get(), true) : ::fdatasync(file.get());
  });
}

int sync_mapping(void* address, size_t length, Trace* trace, uint32_t number) {
  if (!kTraceable) trace = nullptr;
  return retry([&] {
    return trace != nullptr ? trace->sync_mapping(number, address, length) : ::msync(address, length, MS_SYNC);
  });
}

int sync_all(const FileDescriptor& file) {
  return retry([&] {
    return file.trace() != nullptr ? file.trace()->sync(file.number(), file.get(), false) : ::fsync(file.get());
  });
}

}  // namespace varve
