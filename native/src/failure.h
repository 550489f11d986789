// What went wrong below JavaScript, ready to become a VarveError: a code of its closed list and a message that says what
// happened and where.
#pragma once

#include <string>

namespace varve {

enum class FailureCode {
  closed,
  directory_locked,
  disk_failed,
  disk_full,
  invalid_argument,
  invariant_broken,
};

struct Failure {
  FailureCode code;
  std::string message;
};

const char* failure_code_name(FailureCode code);

// A system call that failed: DISK_FULL for ENOSPC and EDQUOT, else DISK_FAILED.
Failure system_failure(const char* syscall, const std::string& path, int error_number);
// The same for calls whose failure is final whatever the reason: writes and syncs.
Failure final_failure(const char* syscall, const std::string& path, int error_number);

}  // namespace varve
