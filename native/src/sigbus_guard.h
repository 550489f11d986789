// Keeps the process alive when a page of a mapped file can't be read (an I/O error, or somebody shortened the file):
// zeros are mapped over the page and the mapping's mark is set, so that whoever reads it can fail instead.
//
// The handler is process-wide, runs in whatever thread faulted, and uses only tables of atomics, which are never freed, and
// mmap(2). It looks through all ranges: a fault that cannot be served is rare. Watching takes the same time however many
// ranges there are. Faults outside the watched ranges go to the handler that was there before.
#pragma once

#include <atomic>
#include <cstddef>

namespace varve::sigbus_guard {

constexpr size_t kMaxRanges = size_t{1} << 18;

// Watches [base, base + bytes), which is mapped for as long as it is watched. `mark` is set before anybody can see zeros
// in place of data. Returns a slot, or −1 when all are taken.
int watch(void* base, size_t bytes, bool writable, std::atomic<bool>* mark);
void unwatch(int slot);

}  // namespace varve::sigbus_guard
