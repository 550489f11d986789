// Traces for JavaScript (src/disk/trace.ts).
#pragma once

#include <node_api.h>

#include <memory>

#include "node_handle.h"
#include "trace.h"

namespace varve {

struct TraceHandle : Handle {
  TraceHandle() : Handle(HandleKind::trace) {}
  const std::shared_ptr<Trace> trace = std::make_shared<Trace>();
};

void export_trace(napi_env env, napi_value exports);

}  // namespace varve
