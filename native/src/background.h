// The store's second thread: everything slow that nobody waits for on the spot. Preparing segments and journal files,
// syncing segments. Jobs run one at a time, in order. Never libuv's pool, which DNS and file reads of the application
// can fill up.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace varve {

class Background {
 public:
  using Job = std::function<void()>;

  Background() = default;
  ~Background() { stop(); }

  // The thread starts with the first job. Jobs posted after `stop` are dropped.
  void post(Job job);
  // Long jobs look at this between their pieces.
  bool stopping() const { return stopping_.load(std::memory_order_relaxed); }
  void request_stop();
  // Ends the job at hand, drops the others, joins. Idempotent.
  void stop();

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Job> jobs_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace varve
