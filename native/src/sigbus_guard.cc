#include "sigbus_guard.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <mutex>
#include <vector>

namespace varve::sigbus_guard {
namespace {

// A slot is written under the mutex and read by the handler at any moment. `start` is 0 while the slot is free or being
// filled; the handler reads it before and after the rest, so that it never mixes two lives of a slot.
struct Range {
  std::atomic<uintptr_t> start{0};
  std::atomic<uintptr_t> end{0};
  std::atomic<bool> writable{false};
  std::atomic<std::atomic<bool>*> mark{nullptr};
};

constexpr size_t kTableRanges = 4096;
constexpr size_t kTables = kMaxRanges / kTableRanges;

constinit std::atomic<Range*> tables[kTables] = {};
constinit std::atomic<size_t> used{0};  // slots at and above it were never taken
constinit uintptr_t page_bytes = 0;
struct sigaction previous {};
std::once_flag installed;

// Never destroyed: segments may be unmapped while the process exits.
struct Slots {
  std::mutex mutex;
  std::vector<uint32_t> free;
};
Slots& slots() {
  static auto* const instance = new Slots;
  return *instance;
}

static_assert(std::atomic<uintptr_t>::is_always_lock_free);
static_assert(std::atomic<std::atomic<bool>*>::is_always_lock_free);

Range& range_at(size_t slot) {
  return tables[slot / kTableRanges].load(std::memory_order_acquire)[slot % kTableRanges];
}

struct Found {
  bool writable = false;
  std::atomic<bool>* mark = nullptr;
};

// The range that holds `address` cannot change meanwhile: the thread that faulted holds on to its mapping.
bool find(uintptr_t address, Found& out) {
  const size_t count = used.load(std::memory_order_acquire);
  for (size_t slot = 0; slot < count; slot++) {
    const Range& range = range_at(slot);
    const uintptr_t start = range.start.load(std::memory_order_seq_cst);
    if (start == 0 || address < start || address >= range.end.load(std::memory_order_seq_cst)) continue;
    out.writable = range.writable.load(std::memory_order_seq_cst);
    out.mark = range.mark.load(std::memory_order_seq_cst);
    if (range.start.load(std::memory_order_seq_cst) == start) return true;
  }
  return false;
}

bool cover_with_zeros(uintptr_t address) {
  Found found;
  if (!find(address, found)) return false;
  const int protection = found.writable ? PROT_READ | PROT_WRITE : PROT_READ;
  void* page = reinterpret_cast<void*>(address & ~(page_bytes - 1));
  // The mark comes first: nobody may see the zeros without it.
  found.mark->store(true, std::memory_order_seq_cst);
  return mmap(page, page_bytes, protection, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
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

// Under the mutex.
int take_slot() {
  std::vector<uint32_t>& free = slots().free;
  if (!free.empty()) {
    const uint32_t slot = free.back();
    free.pop_back();
    return static_cast<int>(slot);
  }
  const size_t slot = used.load(std::memory_order_relaxed);
  if (slot == kMaxRanges) return -1;
  if (slot % kTableRanges == 0) tables[slot / kTableRanges].store(new Range[kTableRanges], std::memory_order_release);
  used.store(slot + 1, std::memory_order_release);
  return static_cast<int>(slot);
}

}  // namespace

int watch(void* base, size_t bytes, bool writable, std::atomic<bool>* mark) {
  std::call_once(installed, install);
  const std::lock_guard lock(slots().mutex);
  const int slot = take_slot();
  if (slot < 0) return -1;
  Range& range = range_at(static_cast<size_t>(slot));
  const auto start = reinterpret_cast<uintptr_t>(base);
  range.end.store(start + bytes, std::memory_order_seq_cst);
  range.writable.store(writable, std::memory_order_seq_cst);
  range.mark.store(mark, std::memory_order_seq_cst);
  range.start.store(start, std::memory_order_seq_cst);
  return slot;
}

void unwatch(int slot) {
  const std::lock_guard lock(slots().mutex);
  range_at(static_cast<size_t>(slot)).start.store(0, std::memory_order_seq_cst);
  slots().free.push_back(static_cast<uint32_t>(slot));
}

}  // namespace varve::sigbus_guard
