#include "open_files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

namespace varve {

size_t OpenFiles::count() const {
  const std::lock_guard lock(mutex_);
  return open_;
}

std::vector<FileDescriptor> OpenFiles::take_idle(size_t keep) {
  std::vector<FileDescriptor> taken;
  while (open_ > keep && !idle_.empty()) {
    taken.push_back(std::move(idle_.back()->file_));
    idle_.pop_back();
    open_--;
  }
  return taken;
}

std::optional<Failure> PooledFile::identify(const FileDescriptor& file) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return system_failure("fstat", path_, errno);
  device_ = status.st_dev;
  inode_ = status.st_ino;
  number_ = file.number();
  return std::nullopt;
}

std::optional<Failure> PooledFile::adopt(FileDescriptor file) {
  if (auto failure = identify(file)) return failure;
  std::vector<FileDescriptor> closed;
  const std::lock_guard lock(files_.mutex_);
  file_ = std::move(file);
  files_.open_++;
  files_.idle_.push_front(this);
  place_ = files_.idle_.begin();
  closed = files_.take_idle(files_.max_open_);
  return std::nullopt;
}

std::optional<Failure> PooledFile::use(Use& out) {
  std::vector<FileDescriptor> closed;
  FileDescriptor fresh;
  std::unique_lock lock(files_.mutex_);
  if (!file_.valid()) {
    const std::string path = path_;
    lock.unlock();
    if (auto failure = reopen(path, fresh)) return failure;
    lock.lock();
  }
  // Another thread may have opened it meanwhile; then ours is one too many.
  if (!file_.valid()) {
    file_ = std::move(fresh);
    files_.open_++;
  } else if (users_ == 0) {
    files_.idle_.erase(place_);
  }
  users_++;
  out = Use(this);
  closed = files_.take_idle(files_.max_open_);
  lock.unlock();
  return std::nullopt;
}

std::optional<Failure> PooledFile::reopen(const std::string& path, FileDescriptor& out) {
  int error = open_file(path, O_RDWR, files_.trace_, out);
  if (error == EMFILE || error == ENFILE) {
    std::vector<FileDescriptor> closed;
    {
      const std::lock_guard lock(files_.mutex_);
      closed = files_.take_idle(0);
    }
    closed.clear();
    error = open_file(path, O_RDWR, files_.trace_, out);
  }
  if (error != 0) return system_failure("open", path, error);
  struct stat status {};
  if (::fstat(out.get(), &status) != 0) return system_failure("fstat", path, errno);
  if (status.st_dev == device_ && status.st_ino == inode_) return std::nullopt;
  out.reset();
  return Failure{FailureCode::disk_failed,
                 path + " is not the file that the store has mapped: somebody replaced it while it was in use; close the "
                        "store and put the right file back"};
}

void PooledFile::leave() {
  std::vector<FileDescriptor> closed;
  const std::lock_guard lock(files_.mutex_);
  if (--users_ > 0) return;
  files_.idle_.push_front(this);
  place_ = files_.idle_.begin();
  closed = files_.take_idle(files_.max_open_);
}

void PooledFile::rename(std::string path) {
  const std::lock_guard lock(files_.mutex_);
  path_ = std::move(path);
}

void PooledFile::close() {
  FileDescriptor closed;
  const std::lock_guard lock(files_.mutex_);
  if (!file_.valid()) return;
  files_.idle_.erase(place_);
  closed = std::move(file_);
  files_.open_--;
}

}  // namespace varve
