#include "trace.h"

#include <fcntl.h>

#include <cerrno>
#include <memory>
#include <thread>

#include <doctest/doctest.h>

#include "mapped_segment.h"
#include "posix_file.h"
#include "temporary_directory.h"

using namespace varve;

namespace {

constexpr uint32_t bit(TraceKind kind) { return 1u << static_cast<unsigned>(kind); }

TraceFault fault(int error, uint64_t call, bool repeat, uint32_t kinds) {
  TraceFault result;
  result.error = error;
  result.call = call;
  result.repeat = repeat;
  result.kinds = kinds;
  return result;
}

int write_text(const FileDescriptor& file, std::string text, uint64_t position) {
  iovec piece{text.data(), text.size()};
  return write_all(file, &piece, 1, position);
}

}  // namespace

TEST_CASE("a file keeps its number when it is renamed, and another one of that name gets a new one") {
  TemporaryDirectory directory;
  Trace trace;
  REQUIRE(trace.attach(directory.path()));
  CHECK_FALSE(trace.attach(directory.path()));
  FileDescriptor first, second;
  REQUIRE(open_file(directory.path() + "/a", O_RDWR | O_CREAT | O_EXCL, &trace, first) == 0);
  REQUIRE(rename_file(directory.path() + "/a", directory.path() + "/b", &trace) == 0);
  REQUIRE(open_file(directory.path() + "/a", O_RDWR | O_CREAT | O_EXCL, &trace, second) == 0);
  REQUIRE(write_text(first, "x", 7) == 0);
  const auto events = trace.take();
  REQUIRE(events.size() == 4);
  CHECK(events[0].file == events[1].file);
  CHECK(events[2].file != events[0].file);
  CHECK(events[3].file == events[0].file);
  CHECK(events[3].path == "b");
  CHECK(events[3].position == 7);
}

TEST_CASE("interrupted and short writes are carried on until all is written") {
  TemporaryDirectory directory;
  Trace trace;
  REQUIRE(trace.attach(directory.path()));
  FileDescriptor file;
  REQUIRE(open_file(directory.path() + "/a", O_RDWR | O_CREAT | O_EXCL, &trace, file) == 0);
  trace.set_fault(fault(EINTR, 1, true, bit(TraceKind::write)));
  CHECK(write_text(file, "interrupted", 0) == 0);
  CHECK(trace.injected() == 1);
  trace.set_fault(fault(TraceFault::kShortWrite, 1, true, bit(TraceKind::write)));
  CHECK(write_text(file, "short", 11) == 0);
  CHECK(trace.injected() == 5);
  char text[17] = {};
  CHECK(pread(file.get(), text, 16, 0) == 16);
  CHECK(std::string(text) == "interruptedshort");
}

TEST_CASE("the Nth call fails, and every later one if asked to, and is not made") {
  TemporaryDirectory directory;
  Trace trace;
  REQUIRE(trace.attach(directory.path()));
  FileDescriptor file;
  REQUIRE(open_file(directory.path() + "/a", O_RDWR | O_CREAT | O_EXCL, &trace, file) == 0);
  trace.set_fault(fault(EIO, 2, false, bit(TraceKind::sync_begin)));
  CHECK(sync_data(file) == 0);
  CHECK(sync_data(file) == EIO);
  CHECK(sync_all(file) == 0);
  trace.set_fault(fault(ENOSPC, 1, true, bit(TraceKind::allocate) | bit(TraceKind::truncate)));
  CHECK(allocate(file, 0, 4096) == ENOSPC);
  CHECK(truncate_file(file, 10) == ENOSPC);
  uint64_t size = 1;
  CHECK(file_size(file, size) == 0);
  CHECK(size == 0);
}

TEST_CASE("a store that stands before the begin of a sync happened before it") {
  TemporaryDirectory directory;
  auto trace = std::make_shared<Trace>();
  REQUIRE(trace->attach(directory.path()));
  SegmentRef segment;
  const auto health = std::make_shared<Health>(trace);
  REQUIRE_FALSE(MappedSegment::create(directory.path() + "/0.log", uint64_t{1} << 20, std::make_shared<SegmentGround>(health), segment));
  std::thread syncing([&] {
    for (int i = 0; i < 50; i++) CHECK_FALSE(segment->sync(0, [](std::chrono::nanoseconds) {}));
  });
  const uint8_t byte = 1;
  for (int i = 0; i < 5000; i++) {
    uint64_t position = 0;
    REQUIRE_FALSE(segment->append(&byte, 1, position));
  }
  syncing.join();
  uint64_t stored = 0;
  int syncs = 0;
  bool ordered = true;
  for (const TraceEvent& event : trace->take()) {
    if (event.kind == TraceKind::store) ordered &= event.position == stored++;
    if (event.kind == TraceKind::sync_end) syncs++;
  }
  CHECK(ordered);
  CHECK(stored == 5000);
  CHECK(syncs == 50);
}
