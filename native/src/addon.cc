// The addon's entry point: called once per environment.
#include <node_api.h>

#include "node_checksum.h"
#include "node_environment.h"
#include "node_journal.h"
#include "node_segment.h"
#include "node_store.h"
#include "node_trace.h"

namespace varve {
namespace {

// configure(makeError): (code, message) => VarveError, so that native code throws the library's own error type.
napi_value configure(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  const napi_value function = arguments.function(0, "makeError");
  if (arguments.failed()) return nullptr;
  Environment& environment = environment_of(env);
  if (environment.make_error != nullptr) check(napi_delete_reference(env, environment.make_error), "configure");
  check(napi_create_reference(env, function, 1, &environment.make_error), "configure");
  return nullptr;
}

napi_value initialize(napi_env env, napi_value exports) {
  auto* environment = new Environment;
  const auto release = [](napi_env, void* data, void*) { delete static_cast<Environment*>(data); };
  check(napi_set_instance_data(env, environment, release, nullptr), "napi_set_instance_data");
  set_function(env, exports, "configure", configure);
  export_checksum(env, exports);
  export_store(env, exports);
  export_segment(env, exports);
  export_journal(env, exports);
  export_trace(env, exports);
  return exports;
}

}  // namespace
}  // namespace varve

NAPI_MODULE_INIT() { return varve::initialize(env, exports); }
