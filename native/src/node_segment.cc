#include "node_segment.h"

#include <utility>

#include "node_environment.h"

namespace varve {
namespace {

napi_value finish_open(napi_env env, std::shared_ptr<Store> store, const std::optional<Failure>& failure,
                       SegmentRef segment) {
  if (!failure) return make_handle(env, new SegmentHandle(std::move(segment), std::move(store)));
  throw_failure(env, *failure);
  return nullptr;
}

bool refuse_closed(napi_env env, const Store& store) {
  if (store.closed()) throw_failure(env, {FailureCode::closed, "the data directory was closed"});
  return store.closed();
}

SegmentWriter writer_argument(Arguments& arguments, size_t index) {
  const uint32_t writer = arguments.u32(index, "writer");
  if (writer > static_cast<uint32_t>(SegmentWriter::pwrite)) arguments.fail("writer", "'mapped' or 'pwrite'");
  return static_cast<SegmentWriter>(writer);
}

// createSegment(store, path, reserveBytes, writer) → segment
napi_value create_segment(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  auto* handle = static_cast<StoreHandle*>(handle_argument(env, arguments, 0, HandleKind::store, "store"));
  std::string path = arguments.string(1, "path");
  const uint64_t reserve_bytes = arguments.natural(2, "reserveBytes");
  const SegmentWriter writer = writer_argument(arguments, 3);
  if (arguments.failed() || refuse_closed(env, *handle->store)) return nullptr;
  SegmentRef segment;
  const auto failure =
      MappedSegment::create(std::move(path), reserve_bytes, handle->store->segments(), segment, writer);
  return finish_open(env, handle->store, failure, std::move(segment));
}

// openSegment(store, path, reserveBytes, size, writer): writable, trimmed to `size` → segment
napi_value open_segment(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  auto* handle = static_cast<StoreHandle*>(handle_argument(env, arguments, 0, HandleKind::store, "store"));
  std::string path = arguments.string(1, "path");
  const uint64_t reserve_bytes = arguments.natural(2, "reserveBytes");
  const uint64_t size = arguments.natural(3, "size");
  const SegmentWriter writer = writer_argument(arguments, 4);
  const auto tail = arguments.natural(5, "keepTail") == 0 ? MappedSegment::Tail::cut : MappedSegment::Tail::keep;
  if (arguments.failed() || refuse_closed(env, *handle->store)) return nullptr;
  SegmentRef segment;
  const auto failure = MappedSegment::open_writable(std::move(path), reserve_bytes, size, handle->store->segments(),
                                                    segment, writer, tail);
  return finish_open(env, handle->store, failure, std::move(segment));
}

// openSegmentReadOnly(store, path) → segment
napi_value open_segment_read_only(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  auto* handle = static_cast<StoreHandle*>(handle_argument(env, arguments, 0, HandleKind::store, "store"));
  std::string path = arguments.string(1, "path");
  if (arguments.failed() || refuse_closed(env, *handle->store)) return nullptr;
  SegmentRef segment;
  const auto failure = MappedSegment::open_read_only(std::move(path), handle->store->segments(), segment);
  return finish_open(env, handle->store, failure, std::move(segment));
}

SegmentHandle* segment_argument(napi_env env, Arguments& arguments) {
  return static_cast<SegmentHandle*>(handle_argument(env, arguments, 0, HandleKind::segment, "segment"));
}

// Null (and an exception) if the segment is closed.
SegmentHandle* open_segment_argument(napi_env env, Arguments& arguments) {
  auto* handle = segment_argument(env, arguments);
  if (handle == nullptr || handle->segment) return handle;
  throw_failure(env, {FailureCode::closed, handle->path + " is closed"});
  return nullptr;
}

// appendSegment(segment, source, start, end) → position
napi_value append_segment(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  auto* handle = open_segment_argument(env, arguments);
  const auto source = arguments.bytes(1, "source");
  const uint64_t start = arguments.natural(2, "start");
  const uint64_t end = arguments.natural(3, "end");
  if (handle == nullptr || arguments.failed()) return nullptr;
  if (start > end || end > source.length) {
    throw_argument(env, "append: [start, end) lies outside the source");
    return nullptr;
  }
  uint64_t position = 0;
  if (auto failure = handle->segment->append(source.data + start, end - start, position)) {
    throw_failure(env, *failure);
    return nullptr;
  }
  return make_number(env, static_cast<double>(position));
}

napi_value segment_size(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  auto* handle = open_segment_argument(env, arguments);
  if (handle == nullptr || arguments.failed()) return nullptr;
  return make_number(env, static_cast<double>(handle->segment->size()));
}

napi_value segment_poisoned(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  auto* handle = segment_argument(env, arguments);
  if (handle == nullptr || arguments.failed()) return nullptr;
  napi_value result = nullptr;
  check(napi_get_boolean(env, handle->mark->load(std::memory_order_acquire), &result), "napi_get_boolean");
  return result;
}

// segmentBuffer(segment) → the ArrayBuffer over the whole reservation. At most once per segment: V8 dies if two backing
// stores share an address.
napi_value segment_buffer(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  auto* handle = open_segment_argument(env, arguments);
  if (handle == nullptr || arguments.failed()) return nullptr;
  const auto bytes = static_cast<int64_t>(handle->segment->reserve_bytes());
  napi_value buffer = nullptr;
  if (bytes == 0) {
    check(napi_create_arraybuffer(env, 0, nullptr, &buffer), "napi_create_arraybuffer");
    return buffer;
  }
  const uint8_t* base = nullptr;
  if (auto failure = handle->segment->view(base)) {
    throw_failure(env, *failure);
    return nullptr;
  }
  auto* held = new ViewRef(handle->segment);
  const auto finalize = [](napi_env finalizing_env, void*, void* hint) {
    auto* view = static_cast<ViewRef*>(hint);
    int64_t total = 0;
    (void)napi_adjust_external_memory(finalizing_env, static_cast<int64_t>((*view)->reserve_bytes()), &total);
    delete view;
  };
  // Node-API knows no read-only buffers: the pages themselves refuse to be written.
  if (napi_create_external_arraybuffer(env, const_cast<uint8_t*>(base), static_cast<size_t>(bytes), finalize, held,
                                       &buffer) != napi_ok) {
    delete held;
    throw_failure(env, {FailureCode::invariant_broken, "this Node.js has no external ArrayBuffers"});
    return nullptr;
  }
  // V8 counts the whole reservation as memory that a garbage collection could free; it is address space, and mostly
  // page cache, so the pressure is taken back.
  int64_t total = 0;
  check(napi_adjust_external_memory(env, -bytes, &total), "napi_adjust_external_memory");
  return buffer;
}

// prepareSegment(segment, bytes)
napi_value prepare_segment(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  auto* handle = segment_argument(env, arguments);
  const uint64_t bytes = arguments.natural(1, "bytes");
  if (handle == nullptr || arguments.failed() || !handle->segment) return nullptr;
  const SegmentRef& segment = handle->segment;
  if (segment->request_prepare(bytes)) {
    handle->store->prepare([held = segment, from = segment->size()] { held->prepare(from); });
  }
  return nullptr;
}

// releaseSegmentTail(segment) → promise
napi_value release_segment_tail(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  auto* handle = open_segment_argument(env, arguments);
  if (handle == nullptr || arguments.failed()) return nullptr;
  const SegmentRef& segment = handle->segment;
  segment->end();
  return handle->store->run([held = segment, stored = segment->size()]() -> std::optional<Failure> {
    held->release_tail(stored);
    return std::nullopt;
  });
}

// touchSegment(segment, position, length) → promise
napi_value touch_segment(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  auto* handle = open_segment_argument(env, arguments);
  const uint64_t position = arguments.natural(1, "position");
  const uint64_t length = arguments.natural(2, "length");
  if (handle == nullptr || arguments.failed()) return nullptr;
  const uint8_t* base = nullptr;
  if (auto failure = handle->segment->view(base)) {
    throw_failure(env, *failure);
    return nullptr;
  }
  Store& store = *handle->store;
  return store.run_read([&store, held = handle->segment, position, length]() -> std::optional<Failure> {
    held->touch(position, length, [&store] { return store.ends_reads(); });
    return std::nullopt;
  });
}

// syncSegment(segment) → promise
napi_value sync_segment(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  auto* handle = open_segment_argument(env, arguments);
  if (handle == nullptr || arguments.failed()) return nullptr;
  const SegmentRef& segment = handle->segment;
  Background& thread = handle->store->background();
  return handle->store->run([&thread, held = segment, stored = segment->size()] {
    return held->sync(stored, [&thread](std::chrono::nanoseconds time) { thread.pause(time); });
  });
}

// closeSegment(segment): idempotent
napi_value close_segment(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  auto* handle = segment_argument(env, arguments);
  if (handle == nullptr || arguments.failed()) return nullptr;
  handle->close();
  return nullptr;
}

// segmentStats(store) → SegmentStats
napi_value segment_stats(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  auto* handle = static_cast<StoreHandle*>(handle_argument(env, arguments, 0, HandleKind::store, "store"));
  if (arguments.failed()) return nullptr;
  const SegmentStats stats = handle->store->segments()->stats();
  napi_value result = nullptr;
  check(napi_create_object(env, &result), "napi_create_object");
  const auto set = [&](const char* name, uint64_t value) {
    set_property(env, result, name, make_number(env, static_cast<double>(value)));
  };
  set("mappedSegments", stats.mapped_segments);
  set("mappedBytes", stats.mapped_bytes);
  set("openFiles", stats.open_files);
  set("heldMappings", stats.held_mappings);
  set("pinnedDeletedBytes", stats.pinned_deleted_bytes);
  return result;
}

// segmentFileRenamed(store, from, to)
napi_value segment_file_renamed(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  auto* handle = static_cast<StoreHandle*>(handle_argument(env, arguments, 0, HandleKind::store, "store"));
  const std::string from = arguments.string(1, "from");
  const std::string to = arguments.string(2, "to");
  if (!arguments.failed()) handle->store->segments()->file_renamed(from, to);
  return nullptr;
}

// segmentFileRemoved(store, path)
napi_value segment_file_removed(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  auto* handle = static_cast<StoreHandle*>(handle_argument(env, arguments, 0, HandleKind::store, "store"));
  const std::string path = arguments.string(1, "path");
  if (!arguments.failed()) handle->store->segments()->file_removed(path);
  return nullptr;
}

}  // namespace

void export_segment(napi_env env, napi_value exports) {
  set_function(env, exports, "createSegment", create_segment);
  set_function(env, exports, "openSegment", open_segment);
  set_function(env, exports, "openSegmentReadOnly", open_segment_read_only);
  set_function(env, exports, "appendSegment", append_segment);
  set_function(env, exports, "segmentSize", segment_size);
  set_function(env, exports, "segmentPoisoned", segment_poisoned);
  set_function(env, exports, "segmentBuffer", segment_buffer);
  set_function(env, exports, "prepareSegment", prepare_segment);
  set_function(env, exports, "releaseSegmentTail", release_segment_tail);
  set_function(env, exports, "touchSegment", touch_segment);
  set_function(env, exports, "syncSegment", sync_segment);
  set_function(env, exports, "closeSegment", close_segment);
  set_function(env, exports, "segmentStats", segment_stats);
  set_function(env, exports, "segmentFileRenamed", segment_file_renamed);
  set_function(env, exports, "segmentFileRemoved", segment_file_removed);
}

}  // namespace varve
