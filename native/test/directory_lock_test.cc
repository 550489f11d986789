#include "directory_lock.h"

#include <unistd.h>

#include <doctest/doctest.h>

#include "temporary_directory.h"

using namespace varve;

TEST_CASE("a second opener is refused by name and pid, until the first lets go") {
  const TemporaryDirectory directory;
  DirectoryLock first, second;
  REQUIRE(!first.acquire(directory.path()));
  const auto failure = second.acquire(directory.path());
  REQUIRE(failure);
  CHECK(failure->code == FailureCode::directory_locked);
  CHECK(failure->message.find(directory.path()) != std::string::npos);
  CHECK(failure->message.find("process " + std::to_string(getpid()) + ";") != std::string::npos);
  first.release();
  CHECK(!second.acquire(directory.path()));
}
