// The LOCK file of a data directory: held with flock(2) for as long as the directory is open. A lock belongs to the open
// file, so a second opener in the same process is refused too, and the kernel drops it when the process dies.
#pragma once

#include <optional>
#include <string>

#include "failure.h"
#include "posix_file.h"

namespace varve {

class DirectoryLock {
 public:
  // DIRECTORY_LOCKED names the directory and the process that holds it.
  std::optional<Failure> acquire(const std::string& directory);
  void release() { file_.reset(); }

 private:
  FileDescriptor file_;
};

}  // namespace varve
