// Thin, retrying wrappers of the system calls on files. Each returns 0 or an errno value. All changes that the store makes
// to its files go through here, so that a trace (trace.h), where there is one, misses none.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "trace.h"

namespace varve {

class FileDescriptor {
 public:
  FileDescriptor() = default;
  FileDescriptor(int fd, Trace* trace, uint32_t number) : fd_(fd), number_(number), trace_(trace) {}
  FileDescriptor(FileDescriptor&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), number_(other.number_), trace_(other.trace_) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
      number_ = other.number_;
      trace_ = other.trace_;
    }
    return *this;
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  // Null unless the store is traced; `number` is the file's in the trace.
  Trace* trace() const { return kTraceable ? trace_ : nullptr; }
  uint32_t number() const { return number_; }
  void reset();

 private:
  int fd_ = -1;
  uint32_t number_ = 0;
  Trace* trace_ = nullptr;
};

// O_CLOEXEC and O_NOFOLLOW are always added; new files get mode 0600. `trace`: null unless the store is traced.
int open_file(const std::string& path, int flags, Trace* trace, FileDescriptor& out);
int rename_file(const std::string& from, const std::string& to, Trace* trace);
int unlink_file(const std::string& path, Trace* trace);
int file_size(const FileDescriptor& file, uint64_t& out);
int truncate_file(const FileDescriptor& file, uint64_t size);
// Writes all of the pieces (which it alters) at `position`, in as few calls as the system allows.
int write_all(const FileDescriptor& file, iovec* pieces, size_t count, uint64_t position);
// From now on writes pass the page cache (O_DIRECT), if the file system can do that: `write_blocks` only. Not where writes
// are traced, since a fault may ask for a part of one.
void write_past_cache(const FileDescriptor& file);
// Writes whole blocks (AlignedBuffer) at a multiple of the block size. Where such writes turn out to need another alignment,
// the file goes back to the page cache.
int write_blocks(const FileDescriptor& file, uint8_t* blocks, size_t length, uint64_t position);
// Writes zeros into [from, to), in pieces of at most 1 MiB. `written(from, length)` is called after each piece; an error
// number that it returns ends the writing.
using PieceWritten = std::function<int(uint64_t from, uint64_t length)>;
int write_zeros(const FileDescriptor& file, uint64_t from, uint64_t to, const PieceWritten& written = nullptr);
// Allocates [from, to) and extends the file to `to`; writes zeros where the file system cannot allocate.
int allocate(const FileDescriptor& file, uint64_t from, uint64_t to);
// Allocates [from, to) and leaves the size as it is; nothing where the file system cannot. Changes no bytes: untraced.
int allocate_blocks(const FileDescriptor& file, uint64_t from, uint64_t to);
// Gives the blocks of [from, to) back and leaves the size as it is; nothing where the file system cannot. For what was
// allocated and never written, so it changes no bytes: untraced.
int release_blocks(const FileDescriptor& file, uint64_t from, uint64_t to);
// sync_file_range with these flags: starts or awaits write-back, and promises nothing.
int write_back(const FileDescriptor& file, uint64_t from, uint64_t length, unsigned flags);
int sync_data(const FileDescriptor& file);
// As sync_data for the file whose range [address, address + length) is mapped there. The open file that is told of
// write-back errors is the mapping's. `number`: the file's in the trace.
int sync_mapping(void* address, size_t length, Trace* trace, uint32_t number);
// For directories: also the entries.
int sync_all(const FileDescriptor& file);

}  // namespace varve
