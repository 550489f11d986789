#include "journal_files.h"

#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>

#include "journal_format.h"
#include "temporary_directory.h"

using namespace varve;

namespace {

constexpr uint64_t kFileBytes = uint64_t{64} << 10;

// While it lives, no file of this process grows beyond `bytes`.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  void (*const handler_)(int);
  rlimit before_{};
};

}  // namespace

// It has the new name by then, and with an older spare at hand that name was taken for a file in use.
TEST_CASE("a spare that could not be made longer is taken up again where it was left") {
  TemporaryDirectory directory;
  for (const uint64_t number : {1, 2}) std::ofstream(directory.file(journal_file_name(number))) << "short";
  Background background("varve-test");
  JournalFiles files(directory.path(), kFileBytes, {journal_file_name(1), journal_file_name(2)}, background,
                     std::make_shared<Health>(), [] {});
  REQUIRE_FALSE(files.open());
  JournalFile file;
  {
    const FileSizeLimit limit(4096);
    CHECK(files.take(7, file));
  }
  REQUIRE_FALSE(files.take(7, file));
  CHECK(file.path == directory.file(journal_file_name(7)));
  CHECK(std::filesystem::file_size(file.path) == kFileBytes);
  CHECK_FALSE(std::filesystem::exists(directory.file(journal_file_name(1))));
  CHECK(std::filesystem::exists(directory.file(journal_file_name(2))));
  background.stop();  // as the store does: a job that is just ending still uses the files' condition variable
}
