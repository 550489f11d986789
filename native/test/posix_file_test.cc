#include "posix_file.h"

#include <fcntl.h>

#include <algorithm>
#include <vector>

#include <doctest/doctest.h>

#include "aligned_buffer.h"
#include "temporary_directory.h"

using namespace varve;

TEST_CASE("blocks are written also where writes past the page cache need another alignment than they have") {
  constexpr size_t kBytes = 3 * AlignedBuffer::kAlignment;
  TemporaryDirectory directory;
  for (const size_t shift : {size_t{0}, size_t{1}}) {
    FileDescriptor file;
    const std::string path = directory.file(std::to_string(shift));
    REQUIRE(open_file(path, O_RDWR | O_CREAT, nullptr, file) == 0);
    write_past_cache(file);
    const bool is_direct = (fcntl(file.get(), F_GETFL) & O_DIRECT) != 0;
    AlignedBuffer buffer;
    uint8_t* const blocks = buffer.reserve(kBytes + shift) + shift;
    for (size_t i = 0; i < kBytes; i++) blocks[i] = static_cast<uint8_t>(i * 31);
    CHECK(write_blocks(file, blocks, kBytes, 0) == 0);
    CHECK(write_blocks(file, blocks, kBytes, kBytes) == 0);
    CHECK(sync_data(file) == 0);
    std::vector<uint8_t> expected(blocks, blocks + kBytes);
    expected.insert(expected.end(), blocks, blocks + kBytes);
    CHECK(read_whole_file(path) == expected);
    if (shift == 0) CHECK(((fcntl(file.get(), F_GETFL) & O_DIRECT) != 0) == is_direct);
  }
}

TEST_CASE("an aligned buffer begins at a block's boundary however it grows") {
  AlignedBuffer buffer;
  for (const size_t bytes : {size_t{1}, size_t{4096}, size_t{4097}, size_t{1} << 20}) {
    uint8_t* const data = buffer.reserve(bytes);
    CHECK(reinterpret_cast<uintptr_t>(data) % AlignedBuffer::kAlignment == 0);
    std::fill_n(data, bytes, uint8_t{1});
    CHECK(buffer.reserve(bytes) == data);
  }
}
