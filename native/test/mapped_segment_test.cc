#include "mapped_segment.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "temporary_directory.h"

using namespace varve;

namespace {

constexpr uint64_t kKiB = 1024;
constexpr uint64_t kMiB = 1024 * kKiB;

const auto kNoPause = [](std::chrono::nanoseconds) {};

std::shared_ptr<Health> healthy() { return std::make_shared<Health>(); }

SegmentRef create(const std::string& path, uint64_t reserve, std::shared_ptr<Health> health = healthy()) {
  SegmentRef segment;
  const auto failure = MappedSegment::create(path, reserve, std::move(health), segment);
  REQUIRE_MESSAGE(!failure, (failure ? failure->message : ""));
  return segment;
}

uint64_t append(const SegmentRef& segment, const std::vector<uint8_t>& bytes) {
  uint64_t position = 0;
  const auto failure = segment->append(bytes.data(), bytes.size(), position);
  REQUIRE_MESSAGE(!failure, (failure ? failure->message : ""));
  return position;
}

}  // namespace

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

TEST_CASE("the mapping outlives close for as long as a reference is held") {
  const TemporaryDirectory directory;
  SegmentRef reader;
  {
    const auto segment = create(directory.file("0.log"), kMiB);
    append(segment, std::vector<uint8_t>(5000, 9));
    reader = SegmentRef(segment);
    segment->close();
    segment->close();
    uint64_t position = 0;
    const auto failure = segment->append(segment->base(), 1, position);
    REQUIRE(failure);
    CHECK(failure->code == FailureCode::closed);
    CHECK_FALSE(segment->enter_file());
  }
  std::filesystem::remove(directory.file("0.log"));
  CHECK(reader->base()[4999] == 9);
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
  int asked = 0;
  segment->touch(5000, 64 * kMiB, [&] { return ++asked > 2; });
  CHECK(asked == 3);
  segment->touch(0, 64 * kMiB, [] { return false; });
  std::vector<unsigned char> resident(3 * kMiB / 4096);
  REQUIRE(mincore(segment->base(), 3 * kMiB, resident.data()) == 0);
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
  const auto health = healthy();
  const auto segment = create(directory.file("0.log"), kMiB, health);
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
  CHECK(*static_cast<volatile uint8_t*>(segment->base() + 50000) == 0);
  CHECK(segment->poisoned());
  CHECK_FALSE(other->poisoned());
  uint64_t position = 0;
  const auto failure = segment->append(other->base(), 10, position);
  REQUIRE(failure);
  CHECK(failure->code == FailureCode::disk_failed);
}
