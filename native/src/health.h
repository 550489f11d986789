// What the parts of one store share: its trace, if it has one, and the first final failure. A write or sync that failed
// says nothing about which bytes reached the disk, and asking again would report success for pages the kernel has given up
// on; so after it nothing more is accepted, and no sync is tried again, until the data directory is reopened.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "failure.h"
#include "trace.h"

namespace varve {

class Health {
 public:
  explicit Health(std::shared_ptr<Trace> trace = nullptr) : trace_(std::move(trace)) {}

  // Null unless the store was opened with one.
  Trace* trace() const { return kTraceable ? trace_.get() : nullptr; }

  bool failed() const { return failed_.load(std::memory_order_acquire); }

  // The first failure stays.
  void fail(const Failure& failure) {
    const std::lock_guard lock(mutex_);
    if (failed_.load(std::memory_order_relaxed)) return;
    failure_ = failure;
    failed_.store(true, std::memory_order_release);
    if (trace() != nullptr) trace()->latched(failure.message);
    if (on_failure_) on_failure_();
  }

  // `heard` runs once, at the first failure, on the thread that met it and under a lock: it only wakes somebody. Nothing
  // runs any more once it was replaced by null.
  void listen(std::function<void()> heard) {
    const std::lock_guard lock(mutex_);
    on_failure_ = std::move(heard);
  }

  // Only after `failed()`.
  Failure failure() const {
    const std::lock_guard lock(mutex_);
    return failure_;
  }

 private:
  const std::shared_ptr<Trace> trace_;
  std::atomic<bool> failed_{false};
  mutable std::mutex mutex_;
  std::function<void()> on_failure_;
  Failure failure_{FailureCode::disk_failed, ""};
};

}  // namespace varve
