// Native objects as JavaScript sees them: externals that only src/disk holds. Each begins with its kind, so that passing
// the wrong one is an error and not a crash.
#pragma once

#include <node_api.h>

#include <cstdint>

#include "node_environment.h"

namespace varve {

enum class HandleKind : uint32_t { store = 0x56535431, segment = 0x56534731, trace = 0x56545231 };

struct Handle {
  explicit Handle(HandleKind handle_kind) : kind(handle_kind) {}
  virtual ~Handle() = default;
  const HandleKind kind;
};

// The external owns the handle from here on.
napi_value make_handle(napi_env env, Handle* handle);

// Null (and an exception) if the argument is something else.
Handle* handle_argument(napi_env env, Arguments& arguments, size_t index, HandleKind kind, const char* name);

}  // namespace varve
