#include "background.h"

#include <pthread.h>
#include <sched.h>

#include <utility>

namespace varve {

void Background::post(Job job) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping()) return;
    jobs_.push_back(std::move(job));
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  }
  wake_.notify_one();
}

void Background::pause(std::chrono::nanoseconds time) {
  std::unique_lock lock(mutex_);
  wake_.wait_for(lock, time, [this] { return stopping(); });
}

void Background::request_stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_.store(true, std::memory_order_relaxed);
  }
  wake_.notify_one();
}

void Background::stop() {
  request_stop();
  if (thread_.joinable()) thread_.join();
  jobs_.clear();
}

void Background::run() {
  pthread_setname_np(pthread_self(), name_);
  if (manner_ == Manner::patient) {
    // Else a job posted by the event loop may begin by taking the loop's core. Where it is refused, nothing else changes.
    const sched_param none{};
    (void)pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
  }
  std::vector<Job> batch;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping() || !jobs_.empty(); });
      if (stopping()) return;
      batch.swap(jobs_);
    }
    for (Job& job : batch) {
      if (stopping()) break;
      job();
      job = nullptr;
    }
    batch.clear();
  }
}

}  // namespace varve
