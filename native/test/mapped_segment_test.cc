#include "mapped_segment.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "temporary_directory.h"
#include "trace.h"

using namespace varve;

namespace {

// What mappings of files fail with on this thread; 0: they are made.
thread_local int mmap_error = 0;

}  // namespace

// The linker sends calls of mmap here (CMakeLists.txt).
extern "C" void* __real_mmap(void* address, size_t length, int protection, int flags, int fd, off_t offset);
extern "C" void* __wrap_mmap(void* address, size_t length, int protection, int flags, int fd, off_t offset) {
  if (mmap_error == 0 || fd < 0) return __real_mmap(address, length, protection, flags, fd, offset);
  errno = mmap_error;
  return MAP_FAILED;
}

namespace {

constexpr uint64_t kKiB = 1024;
constexpr uint64_t kMiB = 1024 * kKiB;

const auto kNoPause = [](std::chrono::nanoseconds) {};

std::shared_ptr<SegmentGround> healthy() { return std::make_shared<SegmentGround>(std::make_shared<Health>()); }

const uint8_t* view_of(const SegmentRef& segment) {
  const uint8_t* view = nullptr;
  const auto failure = segment->view(view);
  REQUIRE_MESSAGE(!failure, (failure ? failure->message : ""));
  return view;
}

SegmentRef create(const std::string& path, uint64_t reserve, std::shared_ptr<SegmentGround> ground = healthy()) {
  SegmentRef segment;
  const auto failure = MappedSegment::create(path, reserve, std::move(ground), segment);
  REQUIRE_MESSAGE(!failure, (failure ? failure->message : ""));
  return segment;
}

uint64_t append(const SegmentRef& segment, const std::vector<uint8_t>& bytes) {
  uint64_t position = 0;
  const auto failure = segment->append(bytes.data(), bytes.size(), position);
  REQUIRE_MESSAGE(!failure, (failure ? failure->message : ""));
  return position;
}

// The permissions of each area of this process's memory in which that file is mapped, sorted.
std::vector<std::string> areas_of(const std::string& path) {
  std::ifstream maps("/proc/self/maps");
  std::vector<std::string> areas;
  for (std::string line; std::getline(maps, line);) {
    if (line.find(path) == std::string::npos) continue;
    const size_t space = line.find(' ');
    areas.push_back(line.substr(space + 1, 4));
  }
  std::sort(areas.begin(), areas.end());
  return areas;
}

}  // namespace

TEST_CASE("a segment that could not be mapped leaves no file in the way of the next attempt") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("0.log");
  mmap_error = ENOMEM;
  SegmentRef segment;
  const auto failure = MappedSegment::create(path, kMiB, healthy(), segment);
  mmap_error = 0;
  REQUIRE(failure);
  CHECK(failure->code == FailureCode::disk_failed);
  CHECK(failure->message.find("vm.max_map_count") != std::string::npos);
  CHECK(!std::filesystem::exists(path));
  CHECK(append(create(path, kMiB), {1, 2, 3}) == 0);
}

TEST_CASE("a segment that is there already is refused, and stays") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("0.log");
  append(create(path, kMiB), {1, 2, 3});
  SegmentRef segment;
  CHECK(MappedSegment::create(path, kMiB, healthy(), segment));
  CHECK(std::filesystem::exists(path));
}

TEST_CASE("a segment grows by doubling chunks, and what was appended is in the file and in the mapping") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("0.log");
  std::vector<uint8_t> expected;
  {
    const auto segment = create(path, 8 * kMiB);
    CHECK(segment->allocated_bytes() == 0);
    uint64_t chunks = 0, allocated = 0;
    for (int i = 0; i < 1500; i++) {
      const std::vector<uint8_t> bytes(static_cast<size_t>(1000 + i), static_cast<uint8_t>(i));
      CHECK(append(segment, bytes) == expected.size());
      expected.insert(expected.end(), bytes.begin(), bytes.end());
      if (segment->allocated_bytes() != allocated) chunks++;
      allocated = segment->allocated_bytes();
    }
    CHECK(chunks == 6);  // 64 + 128 + … + 2048 KiB ≥ 2.5 MiB
    CHECK(segment->size() == expected.size());
    CHECK(std::memcmp(segment->base(), expected.data(), expected.size()) == 0);
  }
  auto stored = read_whole_file(path);
  REQUIRE(stored.size() >= expected.size());
  stored.resize(expected.size());
  CHECK(stored == expected);
}

TEST_CASE("a segment file is private to its owner, and an existing one is never taken for new") {
  const TemporaryDirectory directory;
  const auto segment = create(directory.file("0.log"), kMiB);
  struct stat status {};
  REQUIRE(stat(directory.file("0.log").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  SegmentRef second;
  const auto failure = MappedSegment::create(directory.file("0.log"), kMiB, healthy(), second);
  REQUIRE(failure);
  CHECK(failure->code == FailureCode::disk_failed);
  REQUIRE(symlink("elsewhere", directory.file("1.log").c_str()) == 0);
  CHECK(MappedSegment::create(directory.file("1.log"), kMiB, healthy(), second));
}

TEST_CASE("an append beyond the reservation is refused and changes nothing") {
  const TemporaryDirectory directory;
  const auto segment = create(directory.file("0.log"), 100);
  append(segment, std::vector<uint8_t>(60, 1));
  uint64_t position = 0;
  const std::vector<uint8_t> bytes(41, 2);
  const auto failure = segment->append(bytes.data(), bytes.size(), position);
  REQUIRE(failure);
  CHECK(failure->code == FailureCode::invariant_broken);
  CHECK(segment->size() == 60);
  CHECK(append(segment, std::vector<uint8_t>(40, 2)) == 60);
}

TEST_CASE("opening for writing trims the file, and appends go on where it was cut") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("0.log");
  append(create(path, kMiB), std::vector<uint8_t>(10000, 1));
  {
    SegmentRef segment;
    REQUIRE(!MappedSegment::open_writable(path, kMiB, 5001, healthy(), segment));
    CHECK(std::filesystem::file_size(path) == 5001);
    CHECK(append(segment, std::vector<uint8_t>(200000, 2)) == 5001);
    CHECK(segment->base()[5000] == 1);
    CHECK(segment->base()[5001] == 2);
  }
  const auto stored = read_whole_file(path);
  REQUIRE(stored.size() >= 205001);
  CHECK(stored[5000] == 1);
  CHECK(stored[5001] == 2);
  CHECK(stored[205000] == 2);
  CHECK((stored.size() == 205001 || stored[205001] == 0));
  SegmentRef longer;
  CHECK(MappedSegment::open_writable(path, 64 * kMiB, 32 * kMiB, healthy(), longer));
}

TEST_CASE("a file that may be mapped elsewhere keeps its length, and appends go on at the size given") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("0.log");
  append(create(path, kMiB), std::vector<uint8_t>(10000, 1));
  const auto length = std::filesystem::file_size(path);
  SegmentRef segment;
  REQUIRE(!MappedSegment::open_writable(path, kMiB, 5001, healthy(), segment, SegmentWriter::mapped,
                                        MappedSegment::Tail::keep));
  CHECK(std::filesystem::file_size(path) == length);
  CHECK(segment->size() == 5001);
  CHECK(append(segment, std::vector<uint8_t>(200000, 2)) == 5001);
  CHECK(segment->base()[5000] == 1);
  CHECK(segment->base()[205000] == 2);
}

TEST_CASE("opening read-only maps the file as long as it is, also when it is empty") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("0.log");
  { std::ofstream(path) << "hello"; }
  SegmentRef segment;
  REQUIRE(!MappedSegment::open_read_only(path, healthy(), segment));
  CHECK(segment->size() == 5);
  CHECK(std::memcmp(segment->base(), "hello", 5) == 0);
  uint64_t position = 0;
  CHECK(segment->append(segment->base(), 1, position));
  { std::ofstream(directory.file("1.log")); }
  SegmentRef empty;
  REQUIRE(!MappedSegment::open_read_only(directory.file("1.log"), healthy(), empty));
  CHECK(empty->size() == 0);
}

TEST_CASE("what views look at outlives the engine's use of a segment, and its file; the rest goes at once") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("0.log");
  const auto ground = healthy();
  std::unique_ptr<ViewRef> held;
  const uint8_t* view = nullptr;
  {
    const auto segment = create(path, kMiB, ground);
    append(segment, std::vector<uint8_t>(5000, 9));
    view = view_of(segment);
    held = std::make_unique<ViewRef>(segment);
    segment->close();
    uint64_t position = 0;
    const auto failure = segment->append(view, 1, position);
    REQUIRE(failure);
    CHECK(failure->code == FailureCode::closed);
    CHECK(ground->stats().open_files == 1);
    CHECK(areas_of(path).size() == 2);
  }
  CHECK(ground->stats().open_files == 0);
  CHECK(ground->stats().mapped_segments == 1);
  CHECK(ground->stats().held_mappings == 1);
  CHECK(areas_of(path) == std::vector<std::string>{"r--s"});
  std::filesystem::remove(path);
  CHECK(ground->stats().pinned_deleted_bytes == 0);
  ground->file_removed(path);
  CHECK(ground->stats().pinned_deleted_bytes == 64 * kKiB);
  CHECK(view[4999] == 9);
  held.reset();
  CHECK(areas_of(path).empty());
  const SegmentStats stats = ground->stats();
  CHECK(stats.mapped_segments + stats.mapped_bytes + stats.held_mappings + stats.pinned_deleted_bytes == 0);
}

TEST_CASE("the view is read-only, follows the file as it grows, and has zeros beyond it") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("0.log");
  const auto segment = create(path, 8 * kMiB);
  const uint8_t* const view = view_of(segment);
  CHECK(view[0] == 0);
  CHECK(view[8 * kMiB - 1] == 0);
  std::vector<uint8_t> expected;
  for (int i = 1; i < 1500; i++) {
    const std::vector<uint8_t> bytes(static_cast<size_t>(1000 + i), static_cast<uint8_t>(i));
    append(segment, bytes);
    expected.insert(expected.end(), bytes.begin(), bytes.end());
    REQUIRE(view[expected.size() - 1] == static_cast<uint8_t>(i));
    REQUIRE(view_of(segment) == view);
  }
  CHECK(std::memcmp(view, expected.data(), expected.size()) == 0);
  CHECK(view[segment->allocated_bytes()] == 0);
  CHECK(view[8 * kMiB - 1] == 0);
  // However often it grew: one writable area, one read-only one (and one for what lies beyond the file).
  CHECK(areas_of(path) == std::vector<std::string>{"r--s", "rw-s"});
  CHECK_FALSE(segment->poisoned());
}

TEST_CASE("a write through the view is fatal") {
  const TemporaryDirectory directory;
  const auto segment = create(directory.file("0.log"), kMiB);
  append(segment, {1, 2, 3});
  auto* const view = const_cast<uint8_t*>(view_of(segment));
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL);
    *static_cast<volatile uint8_t*>(view) = 9;
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGSEGV);
  CHECK(view[0] == 1);
}

TEST_CASE("preparing and syncing on another thread never disturbs appends") {
  const TemporaryDirectory directory;
  const auto segment = create(directory.file("0.log"), 64 * kMiB);
  std::atomic<bool> done{false};
  std::atomic<uint64_t> stored{0};
  std::thread background([&] {
    while (!done) {
      segment->prepare(stored);
      CHECK(!segment->sync(stored, kNoPause));
    }
  });
  for (int i = 0; i < 20000; i++) {
    (void)segment->request_prepare(4 * kMiB);
    append(segment, std::vector<uint8_t>(1000, static_cast<uint8_t>(i)));
    stored = segment->size();
  }
  done = true;
  background.join();
  for (size_t i = 0; i < 20000; i++) {
    REQUIRE(segment->base()[i * 1000] == static_cast<uint8_t>(i));
    REQUIRE(segment->base()[i * 1000 + 999] == static_cast<uint8_t>(i));
  }
}

TEST_CASE("touching makes pages resident, stops when it is told to, and never goes beyond what is allocated") {
  const TemporaryDirectory directory;
  { std::ofstream(directory.file("0.log")) << std::string(3 * kMiB, 'x'); }
  SegmentRef segment;
  REQUIRE(!MappedSegment::open_read_only(directory.file("0.log"), healthy(), segment));
  const uint8_t* const view = view_of(segment);
  int asked = 0;
  segment->touch(5000, 64 * kMiB, [&] { return ++asked > 2; });
  CHECK(asked == 3);
  segment->touch(0, 64 * kMiB, [] { return false; });
  std::vector<unsigned char> resident(3 * kMiB / 4096);
  REQUIRE(mincore(const_cast<uint8_t*>(view), 3 * kMiB, resident.data()) == 0);
  for (const unsigned char page : resident) REQUIRE((page & 1) == 1);
  CHECK_FALSE(segment->poisoned());
  REQUIRE(truncate(directory.file("0.log").c_str(), 4096) == 0);
  segment->touch(0, 64 * kMiB, [] { return false; });
  CHECK(segment->poisoned());
}

TEST_CASE("a large sync is paced: it pauses after each of its pieces, and only for what is new") {
  const TemporaryDirectory directory;
  const auto segment = create(directory.file("0.log"), 16 * kMiB);
  append(segment, std::vector<uint8_t>(5 * kMiB, 1));
  int pauses = 0;
  const auto count = [&](std::chrono::nanoseconds) { pauses++; };
  CHECK(!segment->sync(segment->size(), count));
  CHECK(pauses == 5);
  append(segment, std::vector<uint8_t>(1000, 1));
  CHECK(!segment->sync(segment->size(), count));
  CHECK(pauses == 5);
}

TEST_CASE("after a failure anywhere in the store, appends fail with the first one") {
  const TemporaryDirectory directory;
  const auto health = std::make_shared<Health>();
  const auto segment = create(directory.file("0.log"), kMiB, std::make_shared<SegmentGround>(health));
  append(segment, {1, 2, 3});
  health->fail({FailureCode::disk_failed, "first"});
  health->fail({FailureCode::disk_failed, "second"});
  uint64_t position = 0;
  const auto failure = segment->append(segment->base(), 1, position);
  REQUIRE(failure);
  CHECK(failure->message == "first");
  CHECK(segment->sync(3, kNoPause));
  CHECK(segment->size() == 3);
}

TEST_CASE("a page that can't be read becomes zeros and poisons its segment, and no other") {
  const TemporaryDirectory directory;
  const auto segment = create(directory.file("0.log"), kMiB);
  const auto other = create(directory.file("1.log"), kMiB);
  append(segment, std::vector<uint8_t>(100000, 7));
  append(other, std::vector<uint8_t>(100000, 7));
  REQUIRE(truncate(directory.file("0.log").c_str(), 4096) == 0);
  CHECK(segment->base()[4095] == 7);
  CHECK_FALSE(segment->poisoned());
  SUBCASE("under the engine") { CHECK(*static_cast<volatile uint8_t*>(segment->base() + 50000) == 0); }
  SUBCASE("under a reader") { CHECK(*static_cast<const volatile uint8_t*>(view_of(segment) + 50000) == 0); }
  CHECK(segment->poisoned());
  CHECK_FALSE(other->poisoned());
  uint64_t position = 0;
  const auto failure = segment->append(other->base(), 10, position);
  REQUIRE(failure);
  CHECK(failure->code == FailureCode::disk_failed);
}

TEST_CASE("descriptors are bounded: the file that was not used for longest is closed, and opened again when it must grow") {
  const TemporaryDirectory directory;
  const auto ground = std::make_shared<SegmentGround>(std::make_shared<Health>(), 3);
  std::vector<SegmentRef> segments;
  for (int i = 0; i < 10; i++) {
    segments.push_back(create(directory.file(std::to_string(i)), 4 * kMiB, ground));
    CHECK(ground->stats().open_files == std::min(i + 1, 3));
  }
  for (int round = 0; round < 4; round++) {
    for (const SegmentRef& segment : segments) {
      append(segment, std::vector<uint8_t>(100'000, static_cast<uint8_t>(round)));
      CHECK(!segment->sync(segment->size(), kNoPause));
      CHECK(ground->stats().open_files == 3);
    }
  }
  for (int i = 0; i < 10; i++) {
    const auto stored = read_whole_file(directory.file(std::to_string(i)));
    for (size_t at = 0; at < 400'000; at += 1000) REQUIRE(stored[at] == at / 100'000);
  }
  CHECK(ground->stats().mapped_segments == 10);
  segments.clear();
  CHECK(ground->stats().open_files == 0);
}

TEST_CASE("a file grows under its new name once the ground was told of it, and never one that took its old name") {
  const TemporaryDirectory directory;
  const auto ground = std::make_shared<SegmentGround>(std::make_shared<Health>(), 0);
  const std::string path = directory.file("0.log");
  const auto segment = create(path, 4 * kMiB, ground);
  append(segment, std::vector<uint8_t>(1000, 1));
  CHECK(ground->stats().open_files == 0);
  std::filesystem::rename(path, directory.file("1.log"));
  uint64_t position = 0;
  const std::vector<uint8_t> more(100'000, 2);

  auto failure = segment->append(more.data(), more.size(), position);
  REQUIRE(failure);
  CHECK(failure->code == FailureCode::disk_failed);

  { std::ofstream(path) << "a stranger"; }
  failure = segment->append(more.data(), more.size(), position);
  REQUIRE(failure);
  CHECK(failure->code == FailureCode::disk_failed);
  CHECK(failure->message.find("not the file") != std::string::npos);
  CHECK(std::filesystem::file_size(path) == 10);
  // What is stored can be synced all the same, and appended to where there is space.
  CHECK(!segment->sync(segment->size(), kNoPause));
  CHECK(append(segment, {3}) == 1000);

  ground->file_renamed(path, directory.file("1.log"));
  CHECK(append(segment, more) == 1001);
  CHECK(read_whole_file(directory.file("1.log"))[50'000] == 2);
}

TEST_CASE("files that are opened and closed by many threads at once are the right ones") {
  const TemporaryDirectory directory;
  const auto ground = std::make_shared<SegmentGround>(std::make_shared<Health>(), 2);
  std::vector<SegmentRef> segments;
  for (int i = 0; i < 8; i++) segments.push_back(create(directory.file(std::to_string(i)), 64 * kMiB, ground));
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; t++) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 100; round++) {
        for (size_t i = 0; i < segments.size(); i++) {
          const SegmentRef segment = segments[(i + t) % segments.size()];
          if (t == 0) {
            append(segment, std::vector<uint8_t>(20'000, static_cast<uint8_t>((i + t) % segments.size())));
            (void)segment->request_prepare(100'000);
          } else {
            segment->prepare(0);
          }
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(ground->stats().open_files == 2);
  for (size_t i = 0; i < segments.size(); i++) {
    const auto stored = read_whole_file(directory.file(std::to_string(i)));
    REQUIRE(stored.size() >= 2'000'000);
    for (size_t at = 0; at < 2'000'000; at += 1000) REQUIRE(stored[at] == i);
  }
}

TEST_CASE("a removed file that is mapped twice is counted once") {
  const TemporaryDirectory directory;
  const auto ground = healthy();
  const std::string path = directory.file("0.log");
  { std::ofstream(path) << std::string(10'000, 'x'); }
  SegmentRef first, second;
  REQUIRE(!MappedSegment::open_read_only(path, ground, first));
  REQUIRE(!MappedSegment::open_read_only(path, ground, second));
  CHECK(ground->stats().mapped_bytes == 20'000);
  CHECK(ground->stats().open_files == 0);
  std::filesystem::remove(path);
  ground->file_removed(path);
  CHECK(ground->stats().pinned_deleted_bytes == 10'000);
  first = SegmentRef();
  CHECK(ground->stats().pinned_deleted_bytes == 10'000);
  second = SegmentRef();
  CHECK(ground->stats().pinned_deleted_bytes == 0);
}

TEST_CASE("a segment that is written by system calls is read through its mappings") {
  const TemporaryDirectory directory;
  const auto health = std::make_shared<Health>();
  const auto ground = std::make_shared<SegmentGround>(health, 0);
  const std::string path = directory.file("0.log");
  SegmentRef segment;
  REQUIRE(!MappedSegment::create(path, 8 * kMiB, ground, segment, SegmentWriter::pwrite));
  const uint8_t* const view = view_of(segment);
  for (int i = 0; i < 200; i++) {
    append(segment, std::vector<uint8_t>(1000, static_cast<uint8_t>(i)));
    REQUIRE(view[i * 1000 + 999] == static_cast<uint8_t>(i));
    REQUIRE(segment->base()[i * 1000] == static_cast<uint8_t>(i));
  }
  CHECK(!segment->sync(segment->size(), kNoPause));
  // The descriptor that it would write through is that of another file.
  std::filesystem::rename(path, directory.file("1.log"));
  { std::ofstream(path) << "a stranger"; }
  uint64_t position = 0;
  const uint8_t byte = 1;
  CHECK(segment->append(&byte, 1, position));
  CHECK_FALSE(health->failed());
  CHECK(segment->size() == 200'000);
  CHECK(std::filesystem::file_size(path) == 10);
}

TEST_CASE("a write that fails is final: nothing is stored, and the store takes nothing more") {
  const TemporaryDirectory directory;
  const auto trace = std::make_shared<Trace>();
  REQUIRE(trace->attach(directory.path()));
  const auto health = std::make_shared<Health>(trace);
  SegmentRef segment;
  REQUIRE(!MappedSegment::create(directory.file("0.log"), kMiB, std::make_shared<SegmentGround>(health), segment,
                                 SegmentWriter::pwrite));
  append(segment, {1, 2, 3});
  TraceFault fault;
  fault.error = EIO;
  fault.call = 1;
  fault.kinds = 1u << static_cast<unsigned>(TraceKind::write);
  trace->set_fault(fault);
  uint64_t position = 0;
  const uint8_t byte = 1;
  const auto failure = segment->append(&byte, 1, position);
  REQUIRE(failure);
  CHECK(failure->code == FailureCode::disk_failed);
  CHECK(health->failed());
  CHECK(segment->size() == 3);
  CHECK(segment->append(&byte, 1, position));
  CHECK(segment->sync(3, kNoPause));
}

TEST_CASE("a sync of a mapping that fails is final, and is not tried again") {
  const TemporaryDirectory directory;
  const auto trace = std::make_shared<Trace>();
  REQUIRE(trace->attach(directory.path()));
  const auto health = std::make_shared<Health>(trace);
  const auto segment = create(directory.file("0.log"), kMiB, std::make_shared<SegmentGround>(health, 0));
  append(segment, {1, 2, 3});
  TraceFault fault;
  fault.error = EIO;
  fault.call = 1;
  fault.kinds = 1u << static_cast<unsigned>(TraceKind::sync_begin);
  trace->set_fault(fault);
  const auto failure = segment->sync(3, kNoPause);
  REQUIRE(failure);
  CHECK(failure->code == FailureCode::disk_failed);
  CHECK(health->failed());
  const uint64_t calls = trace->calls();
  CHECK(segment->sync(3, kNoPause));
  CHECK(trace->calls() == calls);
}
