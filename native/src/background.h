// A thread for slow work that nobody waits for on the spot; a store has one for each kind, so that a job which takes its
// time never stands before a short one. Jobs of one thread run one at a time, in order. Never libuv's pool, which DNS and
// file reads of the application can fill up.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace varve {

class Background {
 public:
  using Job = std::function<void()>;

  enum class Manner {
    patient,  // runs when a core is free or its turn has come; waking up, it takes no core from a thread that runs
    prompt,   // somebody waits for the result
  };

  // `name`: of the thread, at most 15 characters.
  explicit Background(const char* name, Manner manner = Manner::patient) : name_(name), manner_(manner) {}
  ~Background() { stop(); }

  // The thread starts with the first job. Jobs posted after `stop` are dropped.
  void post(Job job);
  // Long jobs look at this between their pieces.
  bool stopping() const { return stopping_.load(std::memory_order_relaxed); }
  // For jobs that write much: leaves the disk to others between two pieces. Returns early when the thread is to stop.
  void pause(std::chrono::nanoseconds time);
  void request_stop();
  // Ends the job at hand, drops the others, joins. Idempotent.
  void stop();

 private:
  void run();

  const char* const name_;
  const Manner manner_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Job> jobs_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace varve
