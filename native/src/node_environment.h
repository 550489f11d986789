// What the Node-API glue shares: per-environment state, argument reading, and errors. An addon is loaded once per
// environment (main thread, each worker thread), so nothing here is static.
#pragma once

#include <node_api.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "failure.h"

namespace varve {

// Lives as long as its environment.
struct Environment {
  napi_ref make_error = nullptr;  // (code, message) => VarveError, given by src/disk/addon.ts
};

Environment& environment_of(napi_env env);

// For Node-API calls that can only fail through a bug of ours: dies with a message. Or because JavaScript is being stopped
// (a worker thread is terminated in the middle of a callback): then nobody sees the result, and nothing happens.
void check(napi_status status, const char* what);

// The VarveError for a failure; falls back to a plain Error with a `code` before `configure` was called.
napi_value make_error(napi_env env, const Failure& failure);
void throw_failure(napi_env env, const Failure& failure);
void throw_argument(napi_env env, const char* message);

// Arguments of a call. A getter that finds the wrong type throws INVALID_ARGUMENT, sets `failed`, and returns a zero.
class Arguments {
 public:
  static constexpr size_t kMax = 16;

  Arguments(napi_env env, napi_callback_info info);

  size_t count() const { return count_; }
  bool failed() const { return failed_; }
  napi_value receiver() const { return receiver_; }
  napi_value value(size_t index) const { return values_[index]; }

  // A whole number with |x| < 2^53.
  int64_t integer(size_t index, const char* name);
  // … and not negative.
  uint64_t natural(size_t index, const char* name);
  uint32_t u32(size_t index, const char* name);
  std::string string(size_t index, const char* name);
  struct Bytes {
    uint8_t* data = nullptr;
    size_t length = 0;
  };
  Bytes bytes(size_t index, const char* name);
  napi_value function(size_t index, const char* name);

  void fail(const char* name, const char* expected);

 private:
  napi_env env_;
  size_t count_ = kMax;
  napi_value receiver_ = nullptr;
  napi_value values_[kMax];
  bool failed_ = false;
};

napi_value make_number(napi_env env, double value);
napi_value make_string(napi_env env, const std::string& value);
napi_value make_undefined(napi_env env);
void set_property(napi_env env, napi_value object, const char* name, napi_value value);
void set_function(napi_env env, napi_value exports, const char* name, napi_callback callback);

}  // namespace varve
