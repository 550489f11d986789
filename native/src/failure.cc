#include "failure.h"

#include <cerrno>
#include <system_error>

namespace varve {
namespace {

std::string describe(const char* syscall, const std::string& path, int error_number) {
  const std::string text = std::generic_category().message(error_number);
  return std::string(syscall) + " of " + path + " failed: " + text + " (errno " + std::to_string(error_number) + ")";
}

}  // namespace

const char* failure_code_name(FailureCode code) {
  switch (code) {
    case FailureCode::closed:
      return "CLOSED";
    case FailureCode::directory_locked:
      return "DIRECTORY_LOCKED";
    case FailureCode::disk_failed:
      return "DISK_FAILED";
    case FailureCode::disk_full:
      return "DISK_FULL";
    case FailureCode::invalid_argument:
      return "INVALID_ARGUMENT";
    case FailureCode::invariant_broken:
      return "INVARIANT_BROKEN";
  }
  return "INVARIANT_BROKEN";
}

Failure system_failure(const char* syscall, const std::string& path, int error_number) {
  if (error_number == ENOSPC || error_number == EDQUOT) {
    return {FailureCode::disk_full, describe(syscall, path, error_number) + "; nothing was changed, free some space"};
  }
  return {FailureCode::disk_failed, describe(syscall, path, error_number)};
}

Failure final_failure(const char* syscall, const std::string& path, int error_number) {
  return {FailureCode::disk_failed, describe(syscall, path, error_number) +
                                        "; nothing more is accepted until the data directory is reopened"};
}

}  // namespace varve
