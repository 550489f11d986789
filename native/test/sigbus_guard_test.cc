#include "sigbus_guard.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <memory>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "posix_file.h"
#include "temporary_directory.h"

using namespace varve;

namespace {

// One page, mapped from a file that is empty: every access is a SIGBUS.
class LostPage {
 public:
  explicit LostPage(const FileDescriptor& empty, std::atomic<bool>* mark, bool writable = false)
      : address_(mmap(nullptr, kBytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, empty.get(), 0)),
        slot_(sigbus_guard::watch(address_, kBytes, writable, mark)) {
    REQUIRE(address_ != MAP_FAILED);
    REQUIRE(slot_ >= 0);
  }
  LostPage(const LostPage&) = delete;
  LostPage& operator=(const LostPage&) = delete;
  ~LostPage() {
    sigbus_guard::unwatch(slot_);
    munmap(address_, kBytes);
  }
  volatile uint8_t& byte() const { return *static_cast<volatile uint8_t*>(address_); }

 private:
  static constexpr size_t kBytes = 4096;
  void* const address_;
  const int slot_;
};

FileDescriptor empty_file(const TemporaryDirectory& directory) {
  FileDescriptor file;
  REQUIRE(open_file(directory.file("empty"), O_RDWR | O_CREAT, nullptr, file) == 0);
  return file;
}

}  // namespace

TEST_CASE("a lost page reads as zeros, can be written where its mapping can, and sets the mark of its range alone") {
  const TemporaryDirectory directory;
  const FileDescriptor file = empty_file(directory);
  std::atomic<bool> first{false}, second{false};
  const LostPage reading(file, &first);
  const LostPage writing(file, &second, true);
  CHECK(reading.byte() == 0);
  CHECK(first);
  CHECK_FALSE(second);
  writing.byte() = 7;
  CHECK(writing.byte() == 7);
  CHECK(second);
}

TEST_CASE("slots are taken again, and a fault finds its range among very many") {
  const TemporaryDirectory directory;
  const FileDescriptor file = empty_file(directory);
  std::atomic<bool> other{false}, mark{false};
  std::vector<char> bytes(200'000);
  std::vector<int> slots;
  for (char& byte : bytes) slots.push_back(sigbus_guard::watch(&byte, 1, false, &other));
  for (const int slot : slots) REQUIRE(slot >= 0);
  {
    const LostPage page(file, &mark);
    CHECK(page.byte() == 0);
    CHECK(mark);
    CHECK_FALSE(other);
  }
  const int last = slots.back();
  sigbus_guard::unwatch(last);
  slots.back() = sigbus_guard::watch(&bytes.back(), 1, false, &other);
  CHECK(slots.back() == last);
  for (const int slot : slots) sigbus_guard::unwatch(slot);
}

TEST_CASE("faults are served while other threads watch and unwatch") {
  const TemporaryDirectory directory;
  const FileDescriptor file = empty_file(directory);
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; t++) {
    threads.emplace_back([&] {
      std::atomic<bool> mark{false};
      char byte = 0;
      while (!done) sigbus_guard::unwatch(sigbus_guard::watch(&byte, 1, false, &mark));
      CHECK_FALSE(mark);
    });
  }
  for (int i = 0; i < 2000; i++) {
    std::atomic<bool> mark{false};
    const LostPage page(file, &mark);
    REQUIRE(page.byte() == 0);
    REQUIRE(mark);
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
}
