#include "node_wakeup.h"

#include <utility>

#include "node_environment.h"

namespace varve {

Wakeup* Wakeup::create(napi_env env, const char* name, std::function<void(napi_env)> handler) {
  auto* wakeup = new Wakeup(env);
  wakeup->handler_ = std::move(handler);
  const auto finalize = [](napi_env, void* data, void*) { delete static_cast<Wakeup*>(data); };
  check(napi_create_threadsafe_function(env, nullptr, nullptr, make_string(env, name), 0, 1, wakeup, finalize, wakeup,
                                        call, &wakeup->function_),
        "napi_create_threadsafe_function");
  check(napi_unref_threadsafe_function(env, wakeup->function_), "napi_unref_threadsafe_function");
  return wakeup;
}

void Wakeup::wake() {
  if (pending_.exchange(true, std::memory_order_acq_rel)) return;
  // Fails only while the environment is going down, when nobody listens any more.
  (void)napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking);
}

void Wakeup::hold(bool held) {
  if (held == held_) return;
  held_ = held;
  if (held) {
    (void)napi_ref_threadsafe_function(env_, function_);
  } else {
    (void)napi_unref_threadsafe_function(env_, function_);
  }
}

void Wakeup::release() {
  handler_ = nullptr;
  (void)napi_release_threadsafe_function(function_, napi_tsfn_release);
}

void Wakeup::call(napi_env env, napi_value, void* context, void*) {
  // The function is gone, and only its queue is emptied: by then Node has finalized, that is deleted, the context.
  if (env == nullptr) return;
  auto* wakeup = static_cast<Wakeup*>(context);
  // Cleared first: what happens from here on asks for another call.
  wakeup->pending_.store(false, std::memory_order_release);
  if (!wakeup->handler_) return;
  // The handler may release the wakeup, and with it itself.
  const auto handler = wakeup->handler_;
  handler(env);
}

}  // namespace varve
