#pragma once
#include <cstddef>
#include <string>

#include "kernels/simt/scheduler.hpp"

/// The checked build's memory and its shadow. Kernels are compiled with -fsanitize=thread for the calls that it plants at every load and
/// store; checker.cpp answers those calls itself. Nothing here is called in other builds.
namespace simt::checker {

/// Device memory with guard zones on both sides; contents count as never written. Null when the arena is full.
std::byte* allocate(std::size_t bytes, const std::string& owner);
void release(std::byte* memory);
/// The host (a copy or a fill in a stream's order) wrote or reads device memory: writes make it initialised; reads of never-written bytes
/// and either out of bounds are reported.
void host_wrote(const void* memory, std::size_t bytes, std::vector<Report>& reports);
void host_reads(const void* memory, std::size_t bytes, std::vector<Report>& reports);

/// Launches, in the order of their start; what ran in an earlier launch happened before a later one on the same stream.
void launch_begins();
/// A block gets an arena of shared memory (guard zones between its pieces).
std::byte* take_arena();
void give_arena(std::byte* arena);
/// [address, address + bytes) of the block's arena is one piece of shared memory, never written.
void shared_allocated(std::byte* address, std::size_t bytes);
void block_ends(Block& block);

void barrier_passed(Block& block);
/// The running lane did an atomic access, a release or an acquire of a 4-byte word.
void atomic_access(const void* address, const void* site);
void released(const void* address, const void* site);
void acquired(const void* address, const void* site);

}  // namespace simt::checker
