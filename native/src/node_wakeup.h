// One ThreadSafeFunction per source of events, with at most one call pending however often native threads call `wake`.
// It keeps the process alive only while somebody holds it (`hold`).
#pragma once

#include <node_api.h>

#include <atomic>
#include <functional>

namespace varve {

class Wakeup {
 public:
  // `handler` runs on the environment's thread. Owned by the environment: `release` it, never delete it.
  static Wakeup* create(napi_env env, const char* name, std::function<void(napi_env)> handler);

  // Any thread.
  void wake();

  // Environment's thread only.
  void hold(bool held);
  // No handler runs afterwards. No native thread may call `wake` any more.
  void release();
  // The same while the environment is going down, which frees the function by itself.
  void abandon() { handler_ = nullptr; }

 private:
  explicit Wakeup(napi_env env) : env_(env) {}
  static void call(napi_env env, napi_value, void* context, void*);

  const napi_env env_;
  napi_threadsafe_function function_ = nullptr;
  std::function<void(napi_env)> handler_;
  std::atomic<bool> pending_{false};
  bool held_ = false;
};

}  // namespace varve
