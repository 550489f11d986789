#include "node_checksum.h"

#include <cstring>

#include "batch_scan.h"
#include "crc32c.h"
#include "node_environment.h"

namespace varve {
namespace {

constexpr size_t kScanStride = 6;  // SCAN_STRIDE in src/disk/batch-scan.ts

// crc32c(bytes, start, end, seed)
napi_value crc32c_call(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  const auto bytes = arguments.bytes(0, "bytes");
  const uint64_t start = arguments.natural(1, "start");
  const uint64_t end = arguments.natural(2, "end");
  const uint32_t seed = arguments.u32(3, "seed");
  if (arguments.failed()) return nullptr;
  if (start > end || end > bytes.length) {
    throw_argument(env, "crc32c: [start, end) lies outside the bytes");
    return nullptr;
  }
  return make_number(env, crc32c(bytes.data + start, end - start, seed));
}

napi_value make_batches(napi_env env, const std::vector<ScannedBatch>& batches) {
  void* data = nullptr;
  napi_value buffer = nullptr;
  check(napi_create_arraybuffer(env, batches.size() * kScanStride * sizeof(double), &data, &buffer),
        "napi_create_arraybuffer");
  auto* next = static_cast<double*>(data);
  for (const ScannedBatch& batch : batches) {
    *next++ = static_cast<double>(batch.position);
    *next++ = static_cast<double>(batch.length);
    *next++ = static_cast<double>(batch.base_offset);
    *next++ = static_cast<double>(batch.last_offset);
    *next++ = static_cast<double>(batch.epoch);
    *next++ = static_cast<double>(batch.max_timestamp);
  }
  napi_value array = nullptr;
  check(napi_create_typedarray(env, napi_float64_array, batches.size() * kScanStride, buffer, 0, &array),
        "napi_create_typedarray");
  return array;
}

// scanBatches(bytes, start, limit, expectedOffset, minEpoch, maxBatches) → { end: number, validEnd, batches }
napi_value scan_batches_call(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  const auto bytes = arguments.bytes(0, "bytes");
  const uint64_t start = arguments.natural(1, "start");
  const uint64_t limit = arguments.natural(2, "limit");
  const int64_t expected_offset = arguments.integer(3, "expectedOffset");
  const int64_t min_epoch = arguments.integer(4, "minEpoch");
  const uint64_t max_batches = arguments.natural(5, "maxBatches");
  if (arguments.failed()) return nullptr;
  if (start > limit || limit > bytes.length) {
    throw_argument(env, "scanBatches: [start, limit) lies outside the bytes");
    return nullptr;
  }
  const ScanResult scanned = scan_batches(bytes.data, start, limit, expected_offset, min_epoch, max_batches);
  napi_value result = nullptr;
  check(napi_create_object(env, &result), "napi_create_object");
  set_property(env, result, "end", make_number(env, static_cast<double>(scanned.end)));
  set_property(env, result, "validEnd", make_number(env, static_cast<double>(scanned.valid_end)));
  set_property(env, result, "batches", make_batches(env, scanned.batches));
  return result;
}

}  // namespace

void export_checksum(napi_env env, napi_value exports) {
  set_function(env, exports, "crc32c", crc32c_call);
  set_function(env, exports, "scanBatches", scan_batches_call);
  set_property(env, exports, "crc32cImplementation", make_string(env, crc32c_implementation_name()));
}

}  // namespace varve
