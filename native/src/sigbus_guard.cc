#include "sigbus_guard.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <mutex>

namespace varve::sigbus_guard {
namespace {

// `start` is 0 while the slot is free and 1 while it is being filled; a reader that sees an address sees the rest too.
struct Range {
  std::atomic<uintptr_t> start;
  std::atomic<uintptr_t> end;
  std::atomic<bool> writable;
  std::atomic<bool> poisoned;
};

constexpr uintptr_t kFree = 0;
constexpr uintptr_t kBusy = 1;

constinit Range ranges[kMaxRanges] = {};
constinit std::atomic<size_t> used{0};  // slots at and above it were never taken
constinit uintptr_t page_bytes = 0;
struct sigaction previous {};
std::once_flag installed;

static_assert(std::atomic<uintptr_t>::is_always_lock_free);

bool cover_with_zeros(uintptr_t address) {
  const size_t count = used.load(std::memory_order_acquire);
  for (size_t slot = 0; slot < count; slot++) {
    Range& range = ranges[slot];
    const uintptr_t start = range.start.load(std::memory_order_acquire);
    if (start <= kBusy || address < start || address >= range.end.load(std::memory_order_relaxed)) continue;
    const int protection = range.writable.load(std::memory_order_relaxed) ? PROT_READ | PROT_WRITE : PROT_READ;
    void* page = reinterpret_cast<void*>(address & ~(page_bytes - 1));
    // The mark comes first: nobody may see the zeros without it.
    range.poisoned.store(true, std::memory_order_seq_cst);
    return mmap(page, page_bytes, protection, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
  }
  return false;
}

void chain(int signal, siginfo_t* info, void* context) {
  if ((previous.sa_flags & SA_SIGINFO) != 0) {
    previous.sa_sigaction(signal, info, context);
  } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    previous.sa_handler(signal);
  } else {
    // The instruction faults again on return and then takes its default course.
    ::signal(signal, SIG_DFL);
  }
}

void handle(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const bool covered = info->si_code > 0 && cover_with_zeros(reinterpret_cast<uintptr_t>(info->si_addr));
  errno = saved_errno;
  if (!covered) chain(signal, info, context);
}

void install() {
  page_bytes = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  struct sigaction action {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &previous);
}

}  // namespace

int watch(void* base, size_t bytes, bool writable) {
  std::call_once(installed, install);
  for (size_t slot = 0; slot < kMaxRanges; slot++) {
    Range& range = ranges[slot];
    uintptr_t expected = kFree;
    if (!range.start.compare_exchange_strong(expected, kBusy, std::memory_order_acquire)) continue;
    const auto start = reinterpret_cast<uintptr_t>(base);
    range.end.store(start + bytes, std::memory_order_relaxed);
    range.writable.store(writable, std::memory_order_relaxed);
    range.poisoned.store(false, std::memory_order_relaxed);
    range.start.store(start, std::memory_order_release);
    size_t count = used.load(std::memory_order_relaxed);
    while (count < slot + 1 && !used.compare_exchange_weak(count, slot + 1, std::memory_order_release)) {
    }
    return static_cast<int>(slot);
  }
  return -1;
}

void unwatch(int slot) { ranges[slot].start.store(kFree, std::memory_order_release); }

bool poisoned(int slot) { return ranges[slot].poisoned.load(std::memory_order_acquire); }

}  // namespace varve::sigbus_guard
