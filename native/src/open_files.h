// The open descriptors of a store's segment files: at most so many, and those in use. A mapping needs none; one is opened
// when the file is to grow or a sync is to be paced, and the one that was not used for longest is closed.
//
// Nothing is ever synced through a descriptor that came and went: a sync goes through the mapping, which holds the open
// file that it was made from, and with it the kernel's note of which write-back errors that open file has been told of.
// So an error that happens while no descriptor is open reaches the next sync all the same.
//
// What can go wrong: meanwhile the name may have come to mean another file, or none. Device and inode are compared at each
// opening, and it fails with disk_failed rather than let anybody grow a stranger's file.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "failure.h"
#include "posix_file.h"

namespace varve {

class PooledFile;

class OpenFiles {
 public:
  OpenFiles(size_t max_open, Trace* trace) : max_open_(max_open), trace_(trace) {}

  size_t count() const;

 private:
  friend class PooledFile;

  // Under the mutex: what is to be closed, after it. `keep`: how many may stay open.
  std::vector<FileDescriptor> take_idle(size_t keep);

  const size_t max_open_;
  Trace* const trace_;
  mutable std::mutex mutex_;
  size_t open_ = 0;
  std::list<PooledFile*> idle_;  // open and not in use, the one used last in front
};

class PooledFile {
 public:
  // In use for as long as it lives.
  class Use {
   public:
    Use() = default;
    explicit Use(PooledFile* file) : file_(file) {}
    Use(Use&& other) noexcept : file_(std::exchange(other.file_, nullptr)) {}
    Use& operator=(Use&& other) noexcept {
      std::swap(file_, other.file_);
      return *this;
    }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    ~Use() {
      if (file_ != nullptr) file_->leave();
    }
    const FileDescriptor& descriptor() const { return file_->file_; }

   private:
    PooledFile* file_ = nullptr;
  };

  PooledFile(OpenFiles& files, std::string path) : files_(files), path_(std::move(path)) {}
  PooledFile(const PooledFile&) = delete;
  PooledFile& operator=(const PooledFile&) = delete;
  ~PooledFile() { close(); }

  // Remembers which file this is.
  std::optional<Failure> identify(const FileDescriptor& file);
  // The same, and keeps the descriptor, which was just opened.
  std::optional<Failure> adopt(FileDescriptor file);
  // Any thread.
  std::optional<Failure> use(Use& out);
  // The file has another name now.
  void rename(std::string path);
  // Nobody uses it.
  void close();

  dev_t device() const { return device_; }
  ino_t inode() const { return inode_; }
  // In the trace.
  uint32_t number() const { return number_; }

 private:
  friend class OpenFiles;

  std::optional<Failure> reopen(const std::string& path, FileDescriptor& out);
  void leave();

  OpenFiles& files_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  uint32_t number_ = 0;
  // Under the mutex of `files_`. The descriptor does not change while there are users.
  std::string path_;
  FileDescriptor file_;
  uint32_t users_ = 0;
  std::list<PooledFile*>::iterator place_;  // when it is open and has no users
};

}  // namespace varve
