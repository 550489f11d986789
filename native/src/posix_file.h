// Thin, retrying wrappers of the system calls on files. Each returns 0 or an errno value.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

namespace varve {

class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_ = -1;
};

// O_CLOEXEC and O_NOFOLLOW are always added; new files get mode 0600.
int open_file(const std::string& path, int flags, FileDescriptor& out);
int file_size(int fd, uint64_t& out);
// Writes all of the pieces (which it alters) at `position`, in as few calls as the system allows.
int write_all(int fd, iovec* pieces, size_t count, uint64_t position);
// Writes zeros into [from, to), in pieces of at most 1 MiB. `written(from, length)` is called after each piece; an error
// number that it returns ends the writing.
using PieceWritten = std::function<int(uint64_t from, uint64_t length)>;
int write_zeros(int fd, uint64_t from, uint64_t to, const PieceWritten& written = nullptr);
// Allocates [from, to) and extends the file to `to`; writes zeros where the file system cannot allocate.
int allocate(int fd, uint64_t from, uint64_t to);
int sync_data(int fd);
// For directories: also the entries.
int sync_all(int fd);

}  // namespace varve
