#include "node_handle.h"

namespace varve {

napi_value make_handle(napi_env env, Handle* handle) {
  const auto finalize = [](napi_env, void* data, void*) { delete static_cast<Handle*>(data); };
  napi_value external = nullptr;
  check(napi_create_external(env, handle, finalize, nullptr, &external), "napi_create_external");
  return external;
}

Handle* handle_argument(napi_env env, Arguments& arguments, size_t index, HandleKind kind, const char* name) {
  void* data = nullptr;
  if (napi_get_value_external(env, arguments.value(index), &data) == napi_ok && data != nullptr) {
    auto* handle = static_cast<Handle*>(data);
    if (handle->kind == kind) return handle;
  }
  arguments.fail(name, "a handle of the native store");
  return nullptr;
}

}  // namespace varve
