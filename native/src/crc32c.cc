// The hardware instruction has a latency of three cycles and a throughput of one, so three stripes are computed side by
// side and then joined. To join, the CRC of an earlier stripe is moved over the stripes behind it, that is multiplied by
// x^(8 n) mod P: one carry-less multiplication by a constant; the CRC instruction itself does the reduction.
#include "crc32c.h"

#include <array>
#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <nmmintrin.h>
#include <wmmintrin.h>
#define VARVE_CRC_HARDWARE 1
#define VARVE_CRC_TARGET __attribute__((target("sse4.2,pclmul")))
#elif defined(__aarch64__) && defined(__linux__)
#include <arm_acle.h>
#include <arm_neon.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#define VARVE_CRC_HARDWARE 1
#if defined(__clang__)
#define VARVE_CRC_TARGET __attribute__((target("crc,aes")))
#else
#define VARVE_CRC_TARGET __attribute__((target("+crc+crypto")))
#endif
#endif

static_assert(std::endian::native == std::endian::little, "the file formats are read and written in place");

namespace varve {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // reflected: bit 31 is the coefficient of x^0

// ---- table ----

using Tables = std::array<std::array<uint32_t, 256>, 8>;

constexpr Tables make_tables() {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (size_t slice = 1; slice < 8; slice++) {
    for (size_t byte = 0; byte < 256; byte++) {
      const uint32_t before = tables[slice - 1][byte];
      tables[slice][byte] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

uint64_t load64(const uint8_t* bytes) {
  uint64_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

uint32_t compute_table(const void* data, size_t length, uint32_t seed) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  uint32_t crc = ~seed;
  for (; length >= 8; bytes += 8, length -= 8) {
    const uint64_t word = load64(bytes) ^ crc;
    crc = kTables[7][word & 0xff] ^ kTables[6][(word >> 8) & 0xff] ^ kTables[5][(word >> 16) & 0xff] ^
          kTables[4][(word >> 24) & 0xff] ^ kTables[3][(word >> 32) & 0xff] ^ kTables[2][(word >> 40) & 0xff] ^
          kTables[1][(word >> 48) & 0xff] ^ kTables[0][word >> 56];
  }
  for (; length > 0; bytes++, length--) crc = (crc >> 8) ^ kTables[0][(crc ^ *bytes) & 0xff];
  return ~crc;
}

// ---- hardware ----

#if defined(VARVE_CRC_HARDWARE)

// x^exponent mod P, reflected.
constexpr uint32_t power_of_x(uint64_t exponent) {
  uint32_t value = 0x80000000;
  for (; exponent > 0; exponent--) value = (value >> 1) ^ ((value & 1) != 0 ? kPolynomial : 0);
  return value;
}

// The constant that moves a CRC over `bytes` bytes. A carry-less product of two reflected 32-bit values read as a
// reflected 64-bit value is one power too high, and the CRC instruction multiplies by x^32: hence the 33.
constexpr uint32_t shift_constant(uint64_t bytes) { return power_of_x(8 * bytes - 33); }

#if defined(__x86_64__)

VARVE_CRC_TARGET inline uint64_t step64(uint64_t crc, uint64_t word) { return _mm_crc32_u64(crc, word); }
VARVE_CRC_TARGET inline uint32_t step8(uint32_t crc, uint8_t byte) { return _mm_crc32_u8(crc, byte); }

VARVE_CRC_TARGET inline uint64_t multiply(uint64_t crc, uint32_t constant) {
  const __m128i product =
      _mm_clmulepi64_si128(_mm_cvtsi64_si128(static_cast<int64_t>(crc)), _mm_cvtsi64_si128(constant), 0);
  return static_cast<uint64_t>(_mm_cvtsi128_si64(product));
}

constexpr const char* kHardwareName = "sse4.2";

bool hardware_present() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_SSE4_2) != 0 && (c & bit_PCLMUL) != 0;
}

#else

VARVE_CRC_TARGET inline uint64_t step64(uint64_t crc, uint64_t word) {
  return __crc32cd(static_cast<uint32_t>(crc), word);
}
VARVE_CRC_TARGET inline uint32_t step8(uint32_t crc, uint8_t byte) { return __crc32cb(crc, byte); }

VARVE_CRC_TARGET inline uint64_t multiply(uint64_t crc, uint32_t constant) {
  return static_cast<uint64_t>(vmull_p64(static_cast<poly64_t>(crc), static_cast<poly64_t>(constant)));
}

constexpr const char* kHardwareName = "armv8";

bool hardware_present() {
  const unsigned long capabilities = getauxval(AT_HWCAP);
  return (capabilities & HWCAP_CRC32) != 0 && (capabilities & HWCAP_PMULL) != 0;
}

#endif

// Three streams a page's fraction apart defeat the processor's own prefetching: asking for the lines ahead doubles the
// speed over bytes that are not in its caches (a scan of a mapped segment), and costs nothing over bytes that are. It may
// reach beyond the end: a prefetch never faults.
constexpr size_t kCacheLineBytes = 64;
constexpr size_t kPrefetchAheadBytes = 12 * 1024;
constexpr size_t kPrefetchFromStripe = 1024;

template <size_t kLines>
inline void prefetch_lines(const uint8_t* bytes) {
  for (size_t line = 0; line < kLines; line++) __builtin_prefetch(bytes + line * kCacheLineBytes);
}

template <size_t kStripe>
VARVE_CRC_TARGET inline uint64_t three_stripes(const uint8_t* bytes, uint64_t crc) {
  constexpr uint32_t kOver1 = shift_constant(kStripe);
  constexpr uint32_t kOver2 = shift_constant(2 * kStripe);
  uint64_t second = 0, third = 0;
  for (size_t at = 0; at < kStripe; at += 8) {
    if (kStripe >= kPrefetchFromStripe && at % kCacheLineBytes == 0) prefetch_lines<3>(bytes + kPrefetchAheadBytes + 3 * at);
    crc = step64(crc, load64(bytes + at));
    second = step64(second, load64(bytes + kStripe + at));
    third = step64(third, load64(bytes + 2 * kStripe + at));
  }
  // Both products are xored first: reduction is linear, so one reduction serves both.
  return step64(0, multiply(crc, kOver2) ^ multiply(second, kOver1)) ^ third;
}

VARVE_CRC_TARGET uint32_t compute_hardware(const void* data, size_t length, uint32_t seed) {
  constexpr size_t kLong = 1024;
  constexpr size_t kShort = 128;
  const auto* bytes = static_cast<const uint8_t*>(data);
  uint64_t crc = static_cast<uint32_t>(~seed);
  for (; length >= 3 * kLong; bytes += 3 * kLong, length -= 3 * kLong) crc = three_stripes<kLong>(bytes, crc);
  for (; length >= 3 * kShort; bytes += 3 * kShort, length -= 3 * kShort) crc = three_stripes<kShort>(bytes, crc);
  for (; length >= 8; bytes += 8, length -= 8) crc = step64(crc, load64(bytes));
  auto narrow = static_cast<uint32_t>(crc);
  for (; length > 0; bytes++, length--) narrow = step8(narrow, *bytes);
  return ~narrow;
}

#endif

// ---- choice ----

constexpr Crc32cImplementation kImplementations[] = {
    {"table", compute_table},
#if defined(VARVE_CRC_HARDWARE)
    {kHardwareName, compute_hardware},
#endif
};

size_t implementation_count() {
#if defined(VARVE_CRC_HARDWARE)
  return hardware_present() ? 2 : 1;
#else
  return 1;
#endif
}

}  // namespace

std::span<const Crc32cImplementation> crc32c_implementations() {
  static const size_t count = implementation_count();
  return {kImplementations, count};
}

const char* crc32c_implementation_name() { return crc32c_implementations().back().name; }

uint32_t crc32c(const void* data, size_t length, uint32_t seed) {
  static const auto compute = crc32c_implementations().back().compute;
  return compute(data, length, seed);
}

}  // namespace varve
