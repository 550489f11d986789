#include "node_trace.h"

#include <utility>

#include "node_environment.h"

namespace varve {
namespace {

Trace* trace_argument(napi_env env, Arguments& arguments) {
  Handle* handle = handle_argument(env, arguments, 0, HandleKind::trace, "trace");
  return handle == nullptr ? nullptr : static_cast<TraceHandle*>(handle)->trace.get();
}

TraceKind kind_argument(Arguments& arguments, size_t index) {
  const uint32_t kind = arguments.u32(index, "kind");
  if (kind > static_cast<uint32_t>(TraceKind::note)) arguments.fail("kind", "the number of a kind of event");
  return static_cast<TraceKind>(kind);
}

bool is_given(napi_env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  check(napi_typeof(env, value, &type), "napi_typeof");
  return type != napi_undefined;
}

// makeTrace() → trace
napi_value make_trace(napi_env env, napi_callback_info) { return make_handle(env, new TraceHandle); }

// traceAsk(trace, kind, path) → 0, an errno, or −1: write half
napi_value ask(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Trace* trace = trace_argument(env, arguments);
  const TraceKind kind = kind_argument(arguments, 1);
  const std::string path = arguments.string(2, "path");
  if (arguments.failed()) return nullptr;
  return make_number(env, trace->ask(kind, path));
}

// traceRecord(trace, kind, path, text, directory, sync, error, position, length, bytes | undefined) → number of the sync
napi_value record(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Trace* trace = trace_argument(env, arguments);
  TraceEvent event;
  event.kind = kind_argument(arguments, 1);
  event.path = arguments.string(2, "path");
  event.text = arguments.string(3, "text");
  event.directory = arguments.u32(4, "directory") != 0;
  event.sync = arguments.u32(5, "sync");
  event.error = static_cast<int>(arguments.u32(6, "error"));
  event.position = arguments.natural(7, "position");
  event.length = arguments.natural(8, "length");
  if (is_given(env, arguments.value(9))) {
    const auto bytes = arguments.bytes(9, "bytes");
    event.bytes.assign(bytes.data, bytes.data + bytes.length);
  }
  if (arguments.failed()) return nullptr;
  return make_number(env, trace->record(std::move(event)));
}

// traceNote(trace, text)
napi_value note(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Trace* trace = trace_argument(env, arguments);
  std::string text = arguments.string(1, "text");
  if (!arguments.failed()) trace->note(std::move(text));
  return nullptr;
}

napi_value to_object(napi_env env, const TraceEvent& event) {
  napi_value object = nullptr;
  check(napi_create_object(env, &object), "napi_create_object");
  const auto number = [&](const char* name, double value) {
    set_property(env, object, name, make_number(env, value));
  };
  number("kind", static_cast<double>(event.kind));
  set_property(env, object, "path", make_string(env, event.path));
  set_property(env, object, "text", make_string(env, event.text));
  number("directory", event.directory ? 1 : 0);
  number("file", event.file);
  number("sync", event.sync);
  number("error", event.error);
  number("position", static_cast<double>(event.position));
  number("length", static_cast<double>(event.length));
  if (!event.bytes.empty()) {
    napi_value bytes = nullptr;
    check(napi_create_buffer_copy(env, event.bytes.size(), event.bytes.data(), nullptr, &bytes), "napi_create_buffer");
    set_property(env, object, "bytes", bytes);
  }
  return object;
}

// traceTake(trace) → the events since the last time
napi_value take(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Trace* trace = trace_argument(env, arguments);
  if (arguments.failed()) return nullptr;
  const std::vector<TraceEvent> events = trace->take();
  napi_value result = nullptr;
  check(napi_create_array_with_length(env, events.size(), &result), "napi_create_array");
  for (uint32_t i = 0; i < events.size(); i++) {
    napi_handle_scope scope = nullptr;
    check(napi_open_handle_scope(env, &scope), "napi_open_handle_scope");
    check(napi_set_element(env, result, i, to_object(env, events[i])), "napi_set_element");
    check(napi_close_handle_scope(env, scope), "napi_close_handle_scope");
  }
  return result;
}

// traceSetFault(trace, error, call, repeat, kinds, path): error −1 writes half; call 0: no fault
napi_value set_fault(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Trace* trace = trace_argument(env, arguments);
  TraceFault fault;
  fault.error = static_cast<int>(arguments.integer(1, "error"));
  fault.call = arguments.natural(2, "call");
  fault.repeat = arguments.u32(3, "repeat") != 0;
  fault.kinds = arguments.u32(4, "kinds");
  fault.path = arguments.string(5, "path");
  if (!arguments.failed()) trace->set_fault(std::move(fault));
  return nullptr;
}

// traceCounts(trace) → [calls that could have been made to fail, calls that were]
napi_value counts(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  Trace* trace = trace_argument(env, arguments);
  if (arguments.failed()) return nullptr;
  napi_value result = nullptr;
  check(napi_create_array_with_length(env, 2, &result), "napi_create_array");
  check(napi_set_element(env, result, 0, make_number(env, static_cast<double>(trace->calls()))), "napi_set_element");
  check(napi_set_element(env, result, 1, make_number(env, static_cast<double>(trace->injected()))), "napi_set_element");
  return result;
}

}  // namespace

void export_trace(napi_env env, napi_value exports) {
  set_function(env, exports, "makeTrace", make_trace);
  set_function(env, exports, "traceAsk", ask);
  set_function(env, exports, "traceRecord", record);
  set_function(env, exports, "traceNote", note);
  set_function(env, exports, "traceTake", take);
  set_function(env, exports, "traceSetFault", set_fault);
  set_function(env, exports, "traceCounts", counts);
}

}  // namespace varve
