#include "node_journal.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "journal.h"
#include "node_environment.h"
#include "node_segment.h"
#include "node_store.h"

namespace varve {
namespace {

// Keeps the arithmetic of clocks and files far from overflow.
constexpr uint64_t kMaxMilliseconds = uint64_t{1} << 31;
constexpr uint64_t kMaxFileBytes = uint64_t{1} << 40;
constexpr uint64_t kMaxGroupBytes = uint64_t{1} << 30;

Identity identity_argument(Arguments& arguments, size_t index, const char* name) {
  Identity identity{};
  const auto bytes = arguments.bytes(index, name);
  if (arguments.failed()) return identity;
  if (bytes.length != identity.size()) {
    arguments.fail(name, "16 bytes long");
    return identity;
  }
  std::copy_n(bytes.data, identity.size(), identity.begin());
  return identity;
}

std::vector<std::string> strings_argument(napi_env env, Arguments& arguments, size_t index, const char* name) {
  std::vector<std::string> result;
  uint32_t count = 0;
  if (napi_get_array_length(env, arguments.value(index), &count) != napi_ok) {
    arguments.fail(name, "an array of strings");
    return result;
  }
  for (uint32_t i = 0; i < count; i++) {
    napi_value element = nullptr;
    size_t length = 0;
    if (napi_get_element(env, arguments.value(index), i, &element) != napi_ok ||
        napi_get_value_string_utf8(env, element, nullptr, 0, &length) != napi_ok) {
      arguments.fail(name, "an array of strings");
      return result;
    }
    std::string text(length, '\0');
    check(napi_get_value_string_utf8(env, element, text.data(), length + 1, &length), "napi_get_value_string_utf8");
    result.push_back(std::move(text));
  }
  return result;
}

// openJournal(store, directory, directoryId, firstFileNumber, startLsn, previousChecksum, fileBytes, maxGroupBytes,
//             asyncMaxMs, asyncMaxBytes, directFlushBytes, directMarkMaxMs, spareFiles, progress)
napi_value open_journal(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  auto* handle = static_cast<StoreHandle*>(handle_argument(env, arguments, 0, HandleKind::store, "store"));
  JournalConfig config;
  config.directory = arguments.string(1, "path");
  config.directory_id = identity_argument(arguments, 2, "directoryId");
  config.first_file_number = arguments.natural(3, "firstFileNumber");
  config.start_lsn = arguments.natural(4, "startLsn");
  config.previous_checksum = arguments.u32(5, "previousChecksum");
  config.file_bytes = arguments.natural(6, "fileBytes") / kJournalBlockBytes * kJournalBlockBytes;
  config.max_group_bytes = std::min(arguments.natural(7, "maxGroupBytes"), kMaxGroupBytes);
  config.async_max_ms = std::min(arguments.natural(8, "asyncMaxMs"), kMaxMilliseconds);
  config.async_max_bytes = arguments.natural(9, "asyncMaxBytes");
  config.direct_flush_bytes = arguments.natural(10, "directFlushBytes");
  config.direct_mark_max_ms = std::min(arguments.natural(11, "directMarkMaxMs"), kMaxMilliseconds);
  config.spare_files = strings_argument(env, arguments, 12, "spareFiles");
  const napi_value progress = arguments.function(13, "progress");
  if (arguments.failed()) return nullptr;
  if (config.file_bytes < 2 * kJournalBlockBytes || config.file_bytes > kMaxFileBytes) {
    throw_argument(env, "fileBytes must be from 8192 to 2^40");
    return nullptr;
  }
  if (auto failure = handle->store->open_journal(std::move(config), progress)) throw_failure(env, *failure);
  return nullptr;
}

// The journal of the store in argument 0; null (and an exception) when there is none.
Journal* journal_argument(napi_env env, Arguments& arguments, StoreHandle*& handle) {
  handle = static_cast<StoreHandle*>(handle_argument(env, arguments, 0, HandleKind::store, "store"));
  if (handle == nullptr) return nullptr;
  Journal* journal = handle->store->journal();
  if (journal == nullptr) throw_failure(env, {FailureCode::closed, "the journal is closed"});
  return journal;
}

// registerLog(store, topicId, partition) → number
napi_value register_log(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  StoreHandle* handle = nullptr;
  Journal* journal = journal_argument(env, arguments, handle);
  if (journal == nullptr) return nullptr;
  LogIdentity identity;
  identity.topic_id = identity_argument(arguments, 1, "topicId");
  identity.partition = arguments.u32(2, "partition");
  if (arguments.failed()) return nullptr;
  return make_number(env, journal->register_log(identity));
}

FlushMode mode_argument(Arguments& arguments, size_t index) {
  const uint32_t mode = arguments.u32(index, "mode");
  if (mode > static_cast<uint32_t>(FlushMode::none)) arguments.fail("mode", "'sync', 'async' or 'none'");
  return static_cast<FlushMode>(mode);
}

int32_t epoch_argument(Arguments& arguments, size_t index) {
  const int64_t epoch = arguments.integer(index, "epoch");
  if (epoch < INT32_MIN || epoch > INT32_MAX) arguments.fail("epoch", "a 32-bit number");
  return static_cast<int32_t>(epoch);
}

uint32_t log_argument(Arguments& arguments, size_t index, const Journal& journal) {
  const uint32_t log = arguments.u32(index, "log");
  if (!arguments.failed() && log >= journal.log_count()) arguments.fail("log", "a number that registerLog returned");
  return log;
}

napi_value submit(napi_env env, Store& store, Journal& journal, PendingRecord&& record) {
  const FlushMode mode = record.mode;
  uint64_t ticket = 0;
  if (auto failure = journal.submit(std::move(record), ticket)) {
    throw_failure(env, *failure);
    return nullptr;
  }
  if (mode != FlushMode::none) store.await_ticket(ticket);
  return make_number(env, static_cast<double>(ticket));
}

// journalAppendStored(store, log, segment, segmentBaseOffset, position, length, lastOffset, epoch, generation, hwFloor,
//                     mode) → ticket
napi_value append_stored(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  StoreHandle* handle = nullptr;
  Journal* journal = journal_argument(env, arguments, handle);
  if (journal == nullptr) return nullptr;
  PendingRecord record;
  record.log = log_argument(arguments, 1, *journal);
  auto* segment = static_cast<SegmentHandle*>(handle_argument(env, arguments, 2, HandleKind::segment, "segment"));
  record.segment_base_offset = arguments.natural(3, "segmentBaseOffset");
  record.position = arguments.natural(4, "position");
  record.length = arguments.natural(5, "length");
  record.last_offset = arguments.integer(6, "lastOffset");
  record.epoch = epoch_argument(arguments, 7);
  record.generation = arguments.natural(8, "generation");
  record.hw_floor = arguments.integer(9, "hwFloor");
  record.mode = mode_argument(arguments, 10);
  if (arguments.failed()) return nullptr;
  if (!segment->segment) {
    throw_failure(env, {FailureCode::closed, segment->path + " is closed"});
    return nullptr;
  }
  if (record.length == 0 || record.length > Journal::kMaxRecordBytes ||
      record.position + record.length > segment->segment->size()) {
    throw_argument(env, "appendStored: the bytes are not stored in the segment");
    return nullptr;
  }
  record.segment = SegmentRef(segment->segment);
  return submit(env, *handle->store, *journal, std::move(record));
}

// journalAppend(store, log, type, generation, epoch, payload, mode) → ticket
napi_value append_opaque(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  StoreHandle* handle = nullptr;
  Journal* journal = journal_argument(env, arguments, handle);
  if (journal == nullptr) return nullptr;
  PendingRecord record;
  record.log = log_argument(arguments, 1, *journal);
  const uint32_t type = arguments.u32(2, "type");
  record.generation = arguments.natural(3, "generation");
  record.epoch = epoch_argument(arguments, 4);
  const auto payload = arguments.bytes(5, "payload");
  record.mode = mode_argument(arguments, 6);
  if (arguments.failed()) return nullptr;
  if (type <= kStoredRecordType || type > UINT16_MAX) {
    throw_argument(env, "type must be from 2 to 65535");
    return nullptr;
  }
  if (payload.length > Journal::kMaxRecordBytes) {
    throw_argument(env, "payload must be at most 2 GiB long");
    return nullptr;
  }
  record.type = static_cast<uint16_t>(type);
  record.length = payload.length;
  record.payload = std::make_unique<uint8_t[]>(payload.length);
  std::copy_n(payload.data, payload.length, record.payload.get());
  return submit(env, *handle->store, *journal, std::move(record));
}

// journalFlush(store) → the ticket that is going to be durable
napi_value flush(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  StoreHandle* handle = nullptr;
  Journal* journal = journal_argument(env, arguments, handle);
  if (journal == nullptr) return nullptr;
  const uint64_t ticket = journal->request_flush();
  handle->store->await_ticket(ticket);
  return make_number(env, static_cast<double>(ticket));
}

// journalRecycle(store, fileNumber)
napi_value recycle(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  StoreHandle* handle = nullptr;
  Journal* journal = journal_argument(env, arguments, handle);
  if (journal == nullptr) return nullptr;
  const uint64_t number = arguments.natural(1, "fileNumber");
  if (arguments.failed()) return nullptr;
  if (number >= journal->current_file_number()) {
    throw_argument(env, "recycle: the file is in use or ahead of the one that is");
    return nullptr;
  }
  journal->recycle(number);
  return nullptr;
}

napi_value current_file_number(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  StoreHandle* handle = nullptr;
  Journal* journal = journal_argument(env, arguments, handle);
  if (journal == nullptr) return nullptr;
  return make_number(env, static_cast<double>(journal->current_file_number()));
}

// journalStats(store) → JournalStats
napi_value stats(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  StoreHandle* handle = nullptr;
  Journal* journal = journal_argument(env, arguments, handle);
  if (journal == nullptr) return nullptr;
  const JournalCounters counters = journal->counters();
  napi_value buckets = nullptr;
  check(napi_create_array_with_length(env, counters.sync_latency_buckets.size(), &buckets), "napi_create_array");
  for (uint32_t i = 0; i < counters.sync_latency_buckets.size(); i++) {
    const napi_value count = make_number(env, static_cast<double>(counters.sync_latency_buckets[i]));
    check(napi_set_element(env, buckets, i, count), "napi_set_element");
  }
  napi_value result = nullptr;
  check(napi_create_object(env, &result), "napi_create_object");
  const auto set = [&](const char* name, uint64_t value) {
    set_property(env, result, name, make_number(env, static_cast<double>(value)));
  };
  set("syncs", counters.syncs);
  set("directSyncs", counters.direct_syncs);
  set("directFlushes", counters.direct_flushes);
  set("directBytes", counters.direct_bytes);
  set("records", counters.records);
  set("payloadBytes", counters.payload_bytes);
  set("writtenBytes", counters.written_bytes);
  set("pendingBytes", counters.pending_bytes);
  set("fileRolls", counters.file_rolls);
  set_property(env, result, "syncMsTotal", make_number(env, counters.sync_ms_total));
  set_property(env, result, "syncLatencyBuckets", buckets);
  return result;
}

// journalStopWaiting(store): a full disk ends the journal instead of being waited out
napi_value stop_waiting(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  StoreHandle* handle = nullptr;
  Journal* journal = journal_argument(env, arguments, handle);
  if (journal != nullptr) journal->stop_waiting();
  return nullptr;
}

// journalStop(store): writes and syncs what is pending, then `progress` says stopped
napi_value stop(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  StoreHandle* handle = nullptr;
  if (journal_argument(env, arguments, handle) == nullptr) return nullptr;
  handle->store->stop_journal();
  return nullptr;
}

}  // namespace

void export_journal(napi_env env, napi_value exports) {
  set_function(env, exports, "openJournal", open_journal);
  set_function(env, exports, "registerLog", register_log);
  set_function(env, exports, "journalAppendStored", append_stored);
  set_function(env, exports, "journalAppend", append_opaque);
  set_function(env, exports, "journalFlush", flush);
  set_function(env, exports, "journalRecycle", recycle);
  set_function(env, exports, "journalCurrentFileNumber", current_file_number);
  set_function(env, exports, "journalStats", stats);
  set_function(env, exports, "journalStopWaiting", stop_waiting);
  set_function(env, exports, "journalStop", stop);
}

}  // namespace varve
