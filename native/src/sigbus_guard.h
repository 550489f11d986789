// Keeps the process alive when a page of a mapped file can't be read (an I/O error, or somebody shortened the file):
// zeros are mapped over the page and the mapping is marked poisoned, so that whoever reads it can fail instead.
//
// The handler is process-wide, runs in whatever thread faulted, and uses only a fixed table of atomics and mmap(2).
// Faults outside the watched ranges go to the handler that was there before.
#pragma once

#include <cstddef>

namespace varve::sigbus_guard {

constexpr size_t kMaxRanges = 16384;

// Watches [base, base + bytes). Returns a slot, or −1 when all are taken.
int watch(void* base, size_t bytes, bool writable);
void unwatch(int slot);
bool poisoned(int slot);

}  // namespace varve::sigbus_guard
